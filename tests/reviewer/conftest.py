"""A dataset with real image files, and the three people of every access test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from inference.models.sidecar import ModelFolder
from labeling.actions.claims import hold_claims
from labeling.actions.tokens import CallCounter, make_token
from labeling.models import Claim, Dataset, Image, ImageRoot, ModelVersion, Person, Role, Scope
from labeling.pipeline import serving as served_pipeline
from labeling.pipeline.model_versions import register_folder
from labeling.queue_filter import QueueFilter
from reviewer.api import auth
from tests.builders import add_images, make_dataset, rank_images, write_picture
from tests.conftest import member
from tests.starter import NAME, starter_model_folder


@pytest.fixture(scope="session", autouse=True)
def static_root() -> None:
    """WhiteNoise warns about a folder that `collectstatic` has not made yet, and warnings are errors here."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)


@pytest.fixture
def pictures(db: None, tmp_path: Path) -> Dataset:
    """`looks`: ten ranked images of five classes whose files lie in a folder of the test."""
    dataset = make_dataset()
    ImageRoot.objects.create(dataset=dataset, path=str(tmp_path))
    images = add_images(dataset, 10, splits=("train", "train", "test"))
    for image in images:
        write_picture(tmp_path / image.path, seed=image.pk)
    Image.objects.filter(dataset=dataset).update(root=ImageRoot.objects.get(path=str(tmp_path)))
    rank_images(dataset, images)
    return dataset


@pytest.fixture
def owner(pictures: Dataset) -> Person:
    return member(pictures, "owner", Role.ML)


@pytest.fixture
def teammate(pictures: Dataset) -> Person:
    return member(pictures, "teammate", Role.ANNOTATOR)


@pytest.fixture
def outsider(db: None) -> Person:
    return Person.objects.create(username="outsider")


@pytest.fixture
def browse() -> Callable[[Person], Client]:
    """A signed-in browser of a person."""

    def signed_in(person: Person) -> Client:
        client = Client()
        client.force_login(person)
        return client

    return signed_in


@pytest.fixture
def as_owner(owner: Person, browse: Callable[[Person], Client]) -> Client:
    return browse(owner)


@pytest.fixture
def as_teammate(teammate: Person, browse: Callable[[Person], Client]) -> Client:
    return browse(teammate)


@pytest.fixture
def as_outsider(outsider: Person, browse: Callable[[Person], Client]) -> Client:
    return browse(outsider)


def first_claim(dataset: Dataset, person: Person, **filters: Any) -> Claim:
    """What the person is shown first after asking for work."""
    return hold_claims(dataset=dataset, reviewer=person, filters=QueueFilter(**filters))[0]


def text(response: Any) -> str:
    """The page with every run of white space as one space."""
    return " ".join(response.content.decode().split())


@pytest.fixture
def no_model_is_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a database of its own, and the predictor looks only every few seconds."""
    monkeypatch.setattr(served_pipeline, "_LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(auth, "_calls", CallCounter())
    yield
    for predictor in served_pipeline._predictors._open.values():
        predictor.close()
    served_pipeline._predictors._open.clear()
    served_pipeline._predictors._named.clear()
    served_pipeline._predictors._versions.clear()


@pytest.fixture
def model(db: None, no_model_is_remembered: None) -> ModelVersion:
    """The starter model, in the home of the tests."""
    home = settings.MODELS_ROOT / NAME
    if not home.exists():
        settings.MODELS_ROOT.mkdir(parents=True, exist_ok=True)
        home.symlink_to(starter_model_folder())
    return register_folder(ModelFolder.open(home))


@pytest.fixture
def anonymous(no_model_is_remembered: None) -> Iterator[Client]:
    with override_settings(API_ANONYMOUS=True):
        yield Client()


@pytest.fixture
def looks(db: None) -> Dataset:
    return make_dataset()


@pytest.fixture
def with_token(looks: Dataset) -> Callable[..., Client]:
    def client(*scopes: Scope, **options: Any) -> Client:
        _, text = make_token(dataset=looks, name="a product", scopes=scopes or tuple(Scope), **options)
        return Client(headers={"Authorization": f"Bearer {text}"})

    return client
