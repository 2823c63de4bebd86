"""Evaluating models on releases: figures, in-sample marks, other taxonomies, comparisons, and what is kept."""

from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.db import DatabaseError, transaction

from labeling.actions.bulk import decide_selection
from labeling.actions.datasets import register_taxonomy
from labeling.actions.predictions import register_model_version
from labeling.errors import NothingToDo, UnknownSplit, WrongUsage
from labeling.models import (
    Dataset,
    Evaluation,
    Image,
    LabelsUsed,
    ModelVersion,
    Person,
    Prediction,
    Release,
    Role,
    RunKind,
    VerdictKind,
)
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.evaluating import answers_of, compare, evaluate
from labeling.taxonomies import load_taxonomy
from tests.builders import add_images, class_list, make_dataset, rank_images
from tests.conftest import member
from tests.scored import score_images

pytestmark = pytest.mark.django_db

COUNT = 20
DRAWINGS, HENTAI, NEUTRAL, PORN, SEXY = range(5)


@pytest.fixture
def looks(db: None) -> Dataset:
    """Twenty images of five classes, four each in order, all in test."""
    dataset = make_dataset()
    rank_images(dataset, add_images(dataset, COUNT, splits=("test",)))
    return dataset


def model_of(taxonomy: str = "five", name: str = "made-up", trained_on: str = "unknown") -> ModelVersion:
    return register_model_version(
        name=name,
        taxonomy=register_taxonomy(load_taxonomy(taxonomy)),
        folder="nowhere",
        sha256="0" * 64,
        profile="nsfwjs",
        embedding_size=4,
        sidecar={"trained_on": trained_on},
    )


def answers(dataset: Dataset, classes: int = 5, **wrong: int) -> np.ndarray:
    """Rows that say the given label with .9, but for the images (`img_3=…`) that are said to be something else."""
    rows = np.full((COUNT, classes), 0.1 / (classes - 1))
    for place, image in enumerate(dataset.images.order_by("pk")):
        rows[place, wrong.get(f"img_{place}", class_list(dataset).index(image.given_class))] = 0.9
    return rows


def scored(dataset: Dataset, model: ModelVersion, rows: np.ndarray) -> ModelVersion:
    score_images(dataset, list(dataset.images.order_by("pk")), rows, model)
    return model


def relabel(dataset: Dataset, person: Person, path: str, label: str) -> None:
    decide_selection(
        dataset=dataset,
        images=Image.objects.filter(dataset=dataset, path=path),
        person=person,
        kind=VerdictKind.RELABEL,
        label=dataset.taxonomy.classes.get(name=label),
        key=uuid4(),
    )


def level(evaluation: Evaluation, name: str = "class") -> dict[str, Any]:
    found: dict[str, Any] = evaluation.figures[name]
    return found


def test_a_model_is_measured_by_class_and_by_group(looks: Dataset) -> None:
    # A hentai taken for porn is wrong by class and right by group; a porn taken for neutral is missed harm.
    model = scored(looks, model_of(), answers(looks, img_1=PORN, img_3=NEUTRAL))
    found = evaluate(model, cut_release(looks))
    assert (found.images, found.in_sample, found.unscored, found.hidden, found.level) == (20, 0, 0, 0, "class")
    assert level(found)["accuracy"]["point"] == pytest.approx(18 / 20)
    assert level(found, "group")["accuracy"]["point"] == pytest.approx(19 / 20)
    assert level(found, "group")["names"] == ["safe", "adult"]
    assert level(found)["missed_images"] == level(found, "group")["missed_images"] == 1
    assert level(found)["confusion"][HENTAI][PORN] == 1
    assert found.run.kind == RunKind.EVALUATE
    assert found.run.summary["accuracy"] == pytest.approx(0.9)


def test_the_labels_before_cleaning_are_those_that_the_very_same_images_came_with(looks: Dataset) -> None:
    model = scored(looks, model_of(), answers(looks, img_0=NEUTRAL))
    relabel(looks, member(looks, "mira", Role.ML), "img_0000.jpg", "neutral")
    release = cut_release(looks)
    cleaned = evaluate(model, release)
    before = evaluate(model, release, labels=LabelsUsed.GIVEN)
    assert level(cleaned)["accuracy"]["point"] == 1
    assert level(before)["accuracy"]["point"] == pytest.approx(19 / 20)
    found = compare(cleaned, before)
    assert (found.images, found.relabelled) == (20, 1)
    assert found.test.difference.point == pytest.approx(1 / 20)


def test_images_that_a_model_learned_from_are_counted_with_their_near_duplicates(looks: Dataset) -> None:
    add_images(looks, 5, splits=("train",), start=COUNT)
    release = cut_release(looks)
    model = model_of(trained_on="looks 1.0")
    score_images(looks, list(looks.images.order_by("pk")), np.full((25, 5), 0.2), model)
    assert evaluate(model, release, split="train").in_sample == 5
    assert evaluate(model, release).in_sample == 0
    # An image of test that was found to be like one of train after the release was cut.
    train, test = looks.images.get(path="img_0020.jpg"), looks.images.get(path="img_0000.jpg")
    Image.objects.filter(pk__in=[train.pk, test.pk]).update(duplicate_group=train)
    assert evaluate(model, release).in_sample == 1


def test_a_model_that_learned_from_a_dataset_without_a_known_release_has_seen_all_of_it(looks: Dataset) -> None:
    model = scored(looks, model_of(trained_on="something, looks"), answers(looks))
    assert evaluate(model, cut_release(looks)).in_sample == COUNT


def test_a_model_of_five_classes_answers_a_dataset_of_two_by_the_sums_of_its_classes() -> None:
    dataset = make_dataset("pair", taxonomy="binary")
    rank_images(dataset, add_images(dataset, 4, splits=("test",)))
    rows = np.zeros((4, 5))
    # sfw, nsfw, sfw, nsfw: neutral wins the third row, and yet the adult classes have more of it together.
    rows[0, NEUTRAL], rows[1, PORN] = 1, 1
    rows[2, [NEUTRAL, PORN, SEXY]] = 0.4, 0.3, 0.3
    rows[3, SEXY] = 1
    model = model_of("five")
    score_images(dataset, list(dataset.images.order_by("pk")), rows, model)
    found = evaluate(model, cut_release(dataset))
    assert level(found)["names"] == ["sfw", "nsfw"]
    assert level(found)["accuracy"]["point"] == pytest.approx(3 / 4)


def test_a_model_of_two_classes_is_judged_by_group_on_a_dataset_of_five(looks: Dataset) -> None:
    rows = np.zeros((COUNT, 2))
    adult = [image.given_class.group == "adult" for image in looks.images.order_by("pk")]
    rows[np.arange(COUNT), np.array(adult, dtype=int)] = 1
    rows[0] = [0, 1]
    found = evaluate(scored(looks, model_of("binary"), rows), cut_release(looks))
    assert found.level == "group"
    assert set(found.figures) == {"group"}
    assert level(found, "group")["accuracy"]["point"] == pytest.approx(19 / 20)
    with pytest.raises(WrongUsage, match="knows the groups"):
        answers_of(found, "class")  # type: ignore[arg-type]


def test_two_models_are_compared_at_the_level_that_both_reach(looks: Dataset) -> None:
    release = cut_release(looks)
    five = evaluate(scored(looks, model_of(), answers(looks, img_1=PORN)), release)
    better = evaluate(scored(looks, model_of(name="better"), answers(looks)), release)
    by_class = compare(five, better)
    assert (by_class.level, by_class.test.only_first, by_class.test.only_second) == ("class", 0, 1)
    two = evaluate(scored(looks, model_of("binary", name="two"), np.tile([1.0, 0.0], (COUNT, 1))), release)
    by_group = compare(five, two)
    assert (by_group.level, by_group.test.only_first, by_group.test.only_second) == ("group", 12, 0)


def test_evaluating_again_adds_nothing_until_something_changed(looks: Dataset) -> None:
    model = scored(looks, model_of(), answers(looks))
    release = cut_release(looks)
    first = evaluate(model, release)
    assert evaluate(model, release) == first
    Prediction.objects.filter(model_version=model, image__path="img_0000.jpg").delete()
    score_images(looks, [looks.images.get(path="img_0000.jpg")], np.eye(5)[[SEXY]], model)
    assert evaluate(model, release) != first
    assert Evaluation.objects.count() == 2


def test_an_evaluation_is_never_changed(looks: Dataset) -> None:
    found = evaluate(scored(looks, model_of(), answers(looks)), cut_release(looks))
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Evaluation.objects.filter(pk=found.pk).update(images=1)


def test_the_cells_of_the_matrix_are_the_images_themselves_and_the_worst_come_first(looks: Dataset) -> None:
    model = scored(looks, model_of(), answers(looks, img_0=SEXY, img_1=PORN, img_3=NEUTRAL, img_8=DRAWINGS))
    said = answers_of(evaluate(model, cut_release(looks)))
    path_of = dict(looks.images.values_list("pk", "path"))
    assert [path_of[said.pks[row]] for row in said.rows_of("porn", "neutral")] == ["img_0003.jpg"]
    # Missed harm first, then the rest in the order of the images, as the model is equally sure of all.
    assert [path_of[said.pks[row]] for row in said.wrong_first] == [
        "img_0003.jpg",
        "img_0008.jpg",
        "img_0000.jpg",
        "img_0001.jpg",
    ]


def test_what_cannot_be_measured_is_refused_before_a_run_begins(looks: Dataset) -> None:
    release = cut_release(looks)
    model = model_of()
    with pytest.raises(NothingToDo, match=r"no image in validation \(there is test\)"):
        evaluate(model, release, split="validation")
    with pytest.raises(UnknownSplit, match="Did you mean test"):
        evaluate(model, release, split="tst")
    with pytest.raises(WrongUsage, match="has no class 'cats'"):
        evaluate(model, release, class_map={"porn": "cats"})
    assert not looks.runs.filter(kind=RunKind.EVALUATE).exists()


def test_evaluations_of_different_images_are_not_compared(looks: Dataset) -> None:
    add_images(looks, 5, splits=("train",), start=COUNT)
    release: Release = cut_release(looks)
    model = model_of()
    score_images(looks, list(looks.images.order_by("pk")), np.full((25, 5), 0.2), model)
    with pytest.raises(WrongUsage, match="on the same images"):
        compare(evaluate(model, release), evaluate(model, release, split="train"))
