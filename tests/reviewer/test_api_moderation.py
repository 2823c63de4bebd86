"""Moderating over the API: a dataset's policy decides, and what is asked to be kept is filed once."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings
from PIL import Image as Picture

from inference.bands import Action, ClassRule, PolicyDefinition
from labeling.actions.tokens import make_token
from labeling.models import Dataset, Image, ImageBand, ModelVersion, Prediction, ReviewItem, Scope
from labeling.pipeline import filing
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.filing import file_picture
from labeling.pipeline.policies import apply_policy, band_differences, save_policy
from labeling.pipeline.scoring import score
from labeling.pipeline.serving import Busy, predict
from tests.reviewer.api_parts import CHINA, picture, problem

pytestmark = pytest.mark.django_db
FLOWER = (Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg").read_bytes()
SAFE = ("drawings", "neutral")
ADULT = ("hentai", "porn", "sexy")
KEYS = {"band", "action", "scores", "reasons", "probabilities", "model", "policy", "dataset", "image"}


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> Any:
    filing._embeddings.cache_clear()
    places = {"MEDIA_ROOT": "media", "THUMBNAILS_ROOT": "thumbnails", "EMBEDDINGS_ROOT": "embeddings"}
    with override_settings(**{name: tmp_path / folder for name, folder in places.items()}):
        yield


def in_force(dataset: Dataset, model: ModelVersion, definition: PolicyDefinition) -> None:
    save_policy(dataset, definition, model, expected=dataset.policies.count())
    apply_policy(dataset)


def all_unknown() -> PolicyDefinition:
    return PolicyDefinition(SAFE, ADULT, 0.0, 1.0)


def all_safe() -> PolicyDefinition:
    return PolicyDefinition(SAFE, ADULT, 0.5, 0.9)


@pytest.fixture
def caller(model: ModelVersion, with_token: Callable[..., Client]) -> Client:
    return with_token(Scope.MODERATE, Scope.SUBMIT)


# ---- one picture


def test_without_a_policy_the_first_thresholds_decide_and_say_so(anonymous: Client, model: ModelVersion) -> None:
    said = anonymous.post("/moderate", {"image": picture()}).json()
    assert set(said) == KEYS
    assert (said["band"], said["action"], said["policy"], said["dataset"]) == ("safe", "allow", None, None)
    assert said["probabilities"]["neutral"] == pytest.approx(0.99652, abs=1e-4)


def test_the_tokens_dataset_has_its_own_policy(caller: Client, looks: Dataset, model: ModelVersion) -> None:
    rule = ClassRule("neutral", 0.5, Action.BLUR)
    in_force(looks, model, PolicyDefinition(SAFE, ADULT, 0.5, 0.9, (rule,)))
    said = caller.post("/moderate?dataset=looks", {"image": picture()}).json()
    assert (said["band"], said["action"], said["policy"], said["dataset"]) == ("safe", "blur", 1, "looks")
    in_force(looks, model, all_unknown())
    said = caller.post("/moderate", {"image": picture()}).json()
    assert (said["band"], said["action"], said["policy"]) == ("unknown", "review", 2)


def test_another_dataset_is_unknown_whether_it_is_there_or_not(caller: Client, looks: Dataset) -> None:
    Dataset.objects.create(slug="other", title="Other", taxonomy=looks.taxonomy)
    for slug in ("other", "nowhere", "%00"):
        problem(caller.post(f"/moderate?dataset={slug}", {"image": picture()}), 404, "unknown_dataset")


def test_without_a_token_no_dataset_is_touched(anonymous: Client, looks: Dataset, model: ModelVersion) -> None:
    problem(anonymous.post("/moderate?dataset=looks", {"image": picture()}), 401, "token_missing")
    problem(anonymous.post("/moderate?keep=all", {"image": picture()}), 401, "token_missing")
    problem(anonymous.post("/batch", {"images": picture()}), 401, "token_missing")


def test_a_word_that_is_none_of_the_choices_is_422(anonymous: Client) -> None:
    problem(anonymous.post("/moderate?keep=some", {"image": picture()}), 422, "invalid")
    problem(anonymous.post("/moderate?render=sharp", {"image": picture()}), 422, "invalid")


def test_the_blurred_picture_shows_nothing_of_it(anonymous: Client, model: ModelVersion) -> None:
    answer = anonymous.post("/moderate?render=blur", {"image": picture()})
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert (answer.headers["X-Winnow-Band"], answer.headers["X-Winnow-Action"]) == ("safe", "allow")
    with Picture.open(io.BytesIO(answer.content)) as soft, Picture.open(io.BytesIO(CHINA)) as sharp:
        assert soft.size == sharp.size
        assert not soft.getexif()
        steps = np.abs(np.diff(np.asarray(soft.convert("L"), dtype=float), axis=1)).max()
    assert steps < 12


# ---- keeping


def test_what_is_kept_has_its_bytes_its_prediction_and_its_band(
    caller: Client, looks: Dataset, model: ModelVersion
) -> None:
    in_force(looks, model, all_unknown())
    said = caller.post("/moderate?keep=all", {"image": picture()}).json()
    image = Image.objects.get(pk=said["image"])
    assert (Path(image.root.path) / image.path).read_bytes() == CHINA
    assert image.path.endswith(f"{image.sha256}.jpg")
    assert image.given_class.name == "neutral"
    assert image.source is not None
    assert image.source.name == "API: a product"
    prediction = Prediction.objects.get(image=image)
    stored = np.frombuffer(prediction.probabilities, dtype="<f4")
    assert stored.tolist() == pytest.approx(list(said["probabilities"].values()))
    row = EmbeddingFile(looks, model).rows(np.array([prediction.embedding_row]))
    assert np.abs(row).sum() > 0
    assert ImageBand.objects.get(image=image).band == "unknown"
    assert "unknown band" in ReviewItem.objects.get(image=image).reason
    assert list(band_differences()) == []


def test_keeping_the_unknown_leaves_the_others(caller: Client, looks: Dataset, model: ModelVersion) -> None:
    in_force(looks, model, all_safe())
    assert caller.post("/moderate?keep=unknown", {"image": picture()}).json()["image"] is None
    assert not Image.objects.exists()
    assert not list((settings.MEDIA_ROOT).rglob("*.jpg"))
    in_force(looks, model, all_unknown())
    assert caller.post("/moderate?keep=unknown", {"image": picture()}).json()["image"] is not None


def test_the_same_bytes_are_filed_once(caller: Client, looks: Dataset, model: ModelVersion) -> None:
    in_force(looks, model, all_unknown())
    first = caller.post("/moderate?keep=all", {"image": picture()}).json()["image"]
    second = caller.post("/moderate?keep=all", {"image": picture(name="b.jpg")}).json()["image"]
    assert first == second
    assert Image.objects.count() == Prediction.objects.count() == ReviewItem.objects.count() == 1


def test_a_label_that_came_with_it_is_its_given_label(caller: Client, looks: Dataset, model: ModelVersion) -> None:
    said = caller.post("/moderate?keep=all&label=Drawing", {"image": picture()}).json()
    assert Image.objects.get(pk=said["image"]).given_class.name == "drawings"
    answer = caller.post("/moderate?keep=all&label=cat", {"image": picture(FLOWER)})
    assert "drawings" in problem(answer, 422, "refused")
    assert Image.objects.count() == 1


def test_to_keep_takes_a_scope_of_its_own(with_token: Callable[..., Client], model: ModelVersion) -> None:
    weak = with_token(Scope.MODERATE)
    assert "submit" in problem(weak.post("/moderate?keep=all", {"image": picture()}), 403, "scope_missing")


def test_scoring_goes_on_behind_what_the_api_filed(caller: Client, looks: Dataset, model: ModelVersion) -> None:
    caller.post("/moderate?keep=all", {"image": picture()})
    caller.post("/moderate?keep=all", {"image": picture(FLOWER)})
    Prediction.objects.filter(image__sha256__gt="").order_by("pk")[0].delete()
    assert score(looks).scored == 1
    caller.post("/moderate?keep=all", {"image": picture(CHINA + b"more")})
    rows = list(Prediction.objects.order_by("embedding_row").values_list("embedding_row", flat=True))
    assert len(set(rows)) == 3


@pytest.mark.django_db(transaction=True)
def test_two_requests_with_the_same_bytes_file_one_image(looks: Dataset, model: ModelVersion) -> None:
    predicted = predict(CHINA)
    filed: list[tuple[int, bool]] = []
    together = threading.Barrier(4)

    def file() -> None:
        together.wait(10)
        done = file_picture(looks, CHINA, predicted, source="API: a product")
        assert done.image is not None
        filed.append((done.image.pk, done.new))
        connection.close()

    threads = [threading.Thread(target=file) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({pk for pk, _ in filed}) == 1
    assert sum(new for _, new in filed) == 1
    assert len(filed) == 4
    assert Image.objects.count() == Prediction.objects.count() == 1
    assert not list(settings.MEDIA_ROOT.rglob("*.partial"))


# ---- many pictures


def lines(response: Any) -> list[dict[str, Any]]:
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


def test_a_batch_answers_each_in_its_place_and_goes_on_after_a_bad_one(caller: Client, looks: Dataset) -> None:
    sent = [picture(), picture(b"no image"), picture(FLOWER), picture(b"")]
    said = lines(caller.post("/batch?keep=all", {"images": sent}))
    assert [line["index"] for line in said] == [0, 1, 2, 3]
    assert [line.get("code") for line in said] == [None, "image_not_an_image", None, "image_empty"]
    assert set(said[0]) == KEYS | {"index"}
    assert set(said[1]) == {"index", "code", "message"}
    assert [line.get("image") is not None for line in said] == [True, False, True, False]


def test_a_batch_of_urls_is_fetched_by_the_same_rule(caller: Client) -> None:
    urls = {"urls": ["http://127.0.0.1/a.jpg", "file:///etc/passwd"]}
    said = lines(caller.post("/batch", urls, content_type="application/json"))
    assert [line["code"] for line in said] == ["fetch_off", "fetch_off"] or said[1]["code"] == "url_invalid"


def test_a_batch_waits_for_its_place_instead_of_breaking_off(
    caller: Client, looks: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = iter([True, True, False])
    real = predict

    def busy_at_first(*arguments: Any) -> Any:
        if next(refusals, False):
            raise Busy("full", 0.01)
        return real(*arguments)

    monkeypatch.setattr("labeling.pipeline.moderating.predict", busy_at_first)
    assert "code" not in lines(caller.post("/batch", {"images": picture()}))[0]


def test_an_empty_a_wrong_and_a_huge_batch_are_refused_whole(caller: Client, looks: Dataset) -> None:
    problem(caller.post("/batch", {"images": []}), 400, "no_image")
    problem(caller.post("/batch", {"image": picture()}), 400, "no_image")
    problem(caller.post("/batch", {"urls": []}, content_type="application/json"), 422, "invalid")
    problem(caller.post("/batch", b"{", content_type="application/json"), 422, "invalid")
    problem(caller.post("/batch", [1], content_type="application/json"), 422, "invalid")
    many = {"urls": ["http://a.example/"] * 257}
    problem(caller.post("/batch", many, content_type="application/json"), 413, "too_many_images")


def test_a_token_of_one_dataset_keeps_nothing_in_another(looks: Dataset, model: ModelVersion) -> None:
    other = Dataset.objects.create(slug="other", title="Other", taxonomy=looks.taxonomy)
    _, text = make_token(dataset=other, name="b", scopes=[Scope.MODERATE, Scope.SUBMIT])
    Client(headers={"Authorization": f"Bearer {text}"}).post("/moderate?keep=all", {"image": picture()})
    assert (looks.images.count(), other.images.count()) == (0, 1)


def test_an_image_that_is_escalated_while_it_is_filed_is_answered_as_not_kept(
    caller: Client, looks: Dataset, model: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the manager answers once the image is in quarantine.
    monkeypatch.setattr(filing, "_visible", lambda *_: None)
    assert caller.post("/moderate?keep=all", {"image": picture()}).json()["image"] is None
    assert not Prediction.objects.exists()
    assert not list(settings.THUMBNAILS_ROOT.rglob("*.jpg"))


def test_more_than_a_hundred_files_are_a_batch_too(caller: Client, looks: Dataset) -> None:
    sent = [picture(b"no image", f"{number}.jpg") for number in range(120)]
    assert len(lines(caller.post("/batch", {"images": sent}))) == 120
    problem(caller.post("/batch", {"images": [*sent, *sent, *sent]}), 413, "body_too_large")
