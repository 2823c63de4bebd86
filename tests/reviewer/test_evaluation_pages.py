"""The pages of evaluations: the list, starting one, the matrix with its cells, the picture, and two side by side."""

import json
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from django.test import Client
from PIL import Image as Picture

from labeling.actions.escalations import escalate
from labeling.models import Dataset, Evaluation, Image, LabelsUsed, ModelVersion, Person, Release, Run, RunKind
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.evaluating import evaluate
from labeling.pipeline.foreign_predictions import import_predictions
from tests.builders import class_list
from tests.reviewer.conftest import text
from tests.scored import a_model, score_images

PAGE = "/d/looks/evaluations/"


@pytest.fixture
def release(pictures: Dataset) -> Release:
    """`looks` 1.0; of its ten images those at places 2, 5 and 8 are in test."""
    return cut_release(pictures)


def evaluated(dataset: Dataset, release: Release, name: str = "made-up", *, shift: int = 0) -> Evaluation:
    """By a model that gives every image the class `shift` places on; image 2 is taken for drawings."""
    images = list(Image.objects.filter(dataset=dataset).order_by("pk"))
    places = [(class_list(dataset).index(image.given_class) + shift) % 5 for image in images]
    places[8] = 0
    model = a_model(dataset, name)
    score_images(dataset, images, 0.05 + 0.75 * np.eye(5)[places], model)
    return evaluate(model, release)


def test_it_says_what_to_do_before_there_is_a_release(pictures: Dataset, as_owner: Client) -> None:
    page = text(as_owner.get(PAGE))
    assert "Cut a release first" in page
    assert "Evaluate a model" not in page


def test_an_evaluation_is_queued_for_the_worker_and_only_by_an_engineer(
    release: Release, as_owner: Client, as_teammate: Client
) -> None:
    model = a_model(release.dataset)
    asked = {"model": model.pk, "release": release.pk, "split": "test", "labels": "given"}
    assert as_teammate.post(PAGE + "start/", asked).status_code == 403
    assert "Waits for a worker" in text(as_owner.post(PAGE + "start/", asked, follow=True))
    run = Run.objects.get(kind=RunKind.EVALUATE)
    assert run.parameters == {**asked, "class_map": {}}


def test_what_cannot_be_measured_is_said_on_the_page(release: Release, as_owner: Client) -> None:
    model = a_model(release.dataset)
    asked = {"model": model.pk, "release": release.pk, "split": "validation", "labels": "release"}
    assert "no image in validation" in text(as_owner.post(PAGE + "start/", asked, follow=True))
    asked["split"] = "everything"
    assert "Nothing was started. Split" in text(as_owner.post(PAGE + "start/", asked, follow=True))
    assert not Run.objects.filter(kind=RunKind.EVALUATE).exists()


def test_the_list_shows_the_newest_evaluation_of_each_question(release: Release, as_owner: Client) -> None:
    found = evaluated(release.dataset, release)
    page = text(as_owner.get(PAGE))
    assert f'href="/d/looks/evaluations/{found.pk}/"' in page
    assert "<b>66.7 %</b>" in page


def test_a_cell_of_the_matrix_leads_to_its_images(release: Release, as_owner: Client) -> None:
    found = evaluated(release.dataset, release)
    page = text(as_owner.get(f"{PAGE}{found.pk}/"))
    # Images 2 (neutral), 5 (drawings) and 8 (porn, taken for drawings) are in test.
    assert '<th scope="row">porn</th>' in page
    assert "label=porn&amp;said=drawings#images" in page
    assert 'Worst first <span class="count">1</span>' in page
    cell = text(as_owner.get(f"{PAGE}{found.pk}/?level=class&label=drawings&said=drawings"))
    image = Image.objects.get(path="img_0005.jpg")
    assert 'Labelled drawings, answered drawings <span class="count">1</span>' in cell
    assert f'href="/d/looks/images/{image.pk}/"' in cell
    assert 'aria-current="true" title="1 labelled drawings, answered drawings' in cell


def test_the_picture_of_the_matrix_is_a_png(release: Release, as_owner: Client) -> None:
    found = evaluated(release.dataset, release)
    answer = as_owner.get(f"{PAGE}{found.pk}/matrix.png?level=group")
    assert answer.headers["Content-Type"] == "image/png"
    assert "attachment" in answer.headers["Content-Disposition"]
    with Picture.open(BytesIO(answer.content)) as picture:
        assert picture.width > 300
    assert as_owner.get(f"{PAGE}{found.pk}/matrix.png?level=none").status_code == 404


def test_two_models_are_shown_side_by_side_with_mcnemars_test(release: Release, as_owner: Client) -> None:
    found = evaluated(release.dataset, release)
    other = evaluated(release.dataset, release, "worse", shift=1)
    page = text(as_owner.get(f"{PAGE}{found.pk}/?with={other.pk}"))
    assert "<b>+66.7</b> points" in page
    assert "It may be chance: McNemar’s exact test, p = .500." in page


def test_the_same_model_is_shown_before_and_after_cleaning(release: Release, as_owner: Client) -> None:
    found = evaluated(release.dataset, release)
    before = evaluate(found.model_version, release, labels=LabelsUsed.GIVEN)
    page = text(as_owner.get(f"{PAGE}{found.pk}/?with={before.pk}"))
    assert "cleaning changed 0 labels of the split" in page
    assert "Measure on the labels before cleaning" in page


def test_an_image_in_quarantine_is_not_among_those_of_an_evaluation(
    release: Release, owner: Person, as_owner: Client
) -> None:
    found = evaluated(release.dataset, release)
    image = Image.objects.get(path="img_0008.jpg")
    assert f"/images/{image.pk}/" in text(as_owner.get(f"{PAGE}{found.pk}/"))
    escalate(dataset=release.dataset, images=[image.pk], person=owner, key=uuid4())
    assert f"/images/{image.pk}/" not in text(as_owner.get(f"{PAGE}{found.pk}/"))


def test_an_evaluation_of_another_dataset_is_not_found(release: Release, as_outsider: Client, as_owner: Client) -> None:
    found = evaluated(release.dataset, release)
    assert as_outsider.get(f"{PAGE}{found.pk}/").status_code == 404
    assert as_owner.get(f"{PAGE}{found.pk + 1}/").status_code == 404


def test_a_model_that_is_a_file_of_answers_is_listed_evaluated_and_shown_like_any_other(
    release: Release, as_owner: Client, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps({image.path: {"neutral": 1} for image in Image.objects.all()}))
    import_predictions(release.dataset, path, name="theirs", taxonomy="five")
    model = ModelVersion.objects.get(name="theirs")
    found = evaluate(model, release)
    for page in ("models/", f"models/{model.pk}/", "evaluations/", f"evaluations/{found.pk}/", "loop/", "images/"):
        answer = as_owner.get(f"/d/looks/{page}")
        assert answer.status_code == 200, page
    assert "theirs v1" in text(as_owner.get("/d/looks/models/"))
    page = text(as_owner.get(f"/d/looks/models/{model.pk}/"))
    assert 'What it is worth <span class="count">1</span>' in page
    assert "Make it this dataset’s model" in page
    assert 'Files <span class="count">0</span>' in page
