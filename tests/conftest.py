"""Fixtures that every part of the suite may use."""

import signal

import pytest

from labeling.models import Dataset, Membership, Person, Role
from labeling.queries.counts import KEEPER
from tests.builders import make_dataset

# A suite that a shell started in the background ignores interrupts, and so would everything that it starts and stops.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_REAL_PROCESSES = ("test_kill.py", "test_scoring_on_ray.py", "test_up.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What drives a browser, or kills real processes, is tried once more when it fails; the report counts that.

    On a machine that others use too, a second can pass between a key and its answer. A test that fails twice is wrong.
    """
    for item in items:
        if item.get_closest_marker("browser") or item.path.name in _REAL_PROCESSES:
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))


@pytest.fixture(autouse=True)
def everything_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any count is slow, and would be kept beyond what a test changes next."""
    KEEPER.forget()
    monkeypatch.setattr(KEEPER, "keeps", False)


@pytest.fixture
def dataset(db: None) -> Dataset:
    """Twelve ranked images of five classes in two splits; see `builders.make_dataset`."""
    return make_dataset(items=12, splits=("train", "train", "test"))


@pytest.fixture
def anna(dataset: Dataset) -> Person:
    """An annotator of the dataset."""
    return member(dataset, "anna", Role.ANNOTATOR)


@pytest.fixture
def ben(dataset: Dataset) -> Person:
    """Another annotator of the dataset."""
    return member(dataset, "ben", Role.ANNOTATOR)


def member(dataset: Dataset, name: str, role: Role) -> Person:
    person, _ = Person.objects.get_or_create(username=name)
    Membership.objects.create(dataset=dataset, person=person, role=role)
    return person
