"""Promoting a model, rolling back, and who judges labels when the current model has learned from them."""

import numpy as np
import pytest
from django.db import DatabaseError, transaction

from labeling.actions.datasets import register_taxonomy
from labeling.actions.promotions import record_promotion
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import Dataset, EnsembleMember, ModelVersion, Person, Promotion, Role, Run, RunKind
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.finding import rerank
from labeling.pipeline.judging import impartial_judges, load_scored, opinion_where_never_seen, without_in_sample
from labeling.pipeline.model_versions import STARTER, current_model, reference_to
from labeling.pipeline.promoting import promote, roll_back
from labeling.queries.integrity import differences
from labeling.queries.promotions import promoted_model, promotion_history
from labeling.taxonomies import ClassSpec, TaxonomySpec
from tests.builders import add_images, class_list, make_dataset
from tests.conftest import member
from tests.labeling.test_finding import register, score_with

pytestmark = pytest.mark.django_db
IMAGES = 120


def true_classes() -> np.ndarray:
    """Of `set`: every tenth given label is wrong."""
    true = np.arange(IMAGES) % 5
    true[::10] = (true[::10] + 2) % 5
    return true


@pytest.fixture
def dataset(db: None) -> Dataset:
    """120 images in three splits, scored by the starter model."""
    dataset = make_dataset("set")
    images = add_images(dataset, IMAGES, splits=("train", "train", "validation", "test"))
    score_with(register(STARTER, dataset), dataset, images, true_classes())
    return dataset


def another(dataset: Dataset, name: str, *, trained_on: str = "unknown", backbone: str = "") -> ModelVersion:
    """A model that has scored the dataset; with `backbone`, a head on that one's frozen embeddings."""
    model = register(name, dataset, trained_on=trained_on)
    score_with(model, dataset, list(dataset.images.order_by("pk")), true_classes(), seed=1)
    if backbone:
        model.trained_by = Run.objects.create(dataset=dataset, kind=RunKind.TRAIN, summary={"backbone": backbone})
        model.save()
    return model


def members_of(dataset: Dataset) -> set[str]:
    run = dataset.runs.filter(kind__in=[RunKind.FIND_ISSUES, RunKind.RERANK]).order_by("-id").first()
    return set(EnsembleMember.objects.filter(run=run).values_list("name", flat=True))


# ---- promoting, and back


def test_a_promoted_model_is_what_the_dataset_works_with_and_issues_are_found_with_it(dataset: Dataset) -> None:
    model = another(dataset, "better")
    summary = promote(model, dataset, reason="it is better")
    assert (summary.model, summary.replaced, summary.scored) == ("better v1", "", 0)
    assert current_model(None, dataset) == promoted_model(dataset) == model
    assert current_model() == ModelVersion.objects.get(name=STARTER)
    assert any("better v1" in name for name in members_of(dataset))
    assert Promotion.objects.get().reason == "it is better"
    assert list(differences()) == []


def test_promoting_what_is_current_adds_no_event(dataset: Dataset) -> None:
    model = another(dataset, "better")
    promote(model, dataset)
    promote(model, dataset)
    assert Promotion.objects.count() == 1


def test_a_rollback_returns_to_the_model_before_and_can_itself_be_reversed(dataset: Dataset) -> None:
    person = member(dataset, "mira", Role.ML)
    first, second = another(dataset, "first"), another(dataset, "second")
    for model in (first, second):
        record_promotion(dataset=dataset, model_version=model, person=person)
    event = roll_back(dataset, person=person)
    assert (event.model_version, event.replaced, event.takes_back) == (first, second, Promotion.objects.all()[1])
    assert promoted_model(dataset) == first
    assert roll_back(dataset).model_version is None
    assert promoted_model(dataset) is None
    assert current_model(None, dataset).name == STARTER
    with pytest.raises(NothingToDo, match="could be rolled back"):
        roll_back(dataset)
    record_promotion(dataset=dataset, model_version=second, person=person)
    assert promoted_model(dataset) == second
    assert len(promotion_history(dataset).events) == 5
    assert list(differences()) == []


def test_promotions_are_append_only_and_a_changed_one_is_reported(dataset: Dataset) -> None:
    model = another(dataset, "better")
    record_promotion(dataset=dataset, model_version=model, person=None)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Promotion.objects.update(reason="another")
    Promotion.objects.create(dataset=dataset, model_version=model, replaced=None)
    [difference] = differences()
    assert difference.where.startswith("promotion ")


def test_a_version_is_named_with_its_number(dataset: Dataset) -> None:
    starter = current_model()
    assert current_model(reference_to(starter)) == current_model(f"{STARTER}@1") == starter
    with pytest.raises(WrongUsage, match=r"no version '7' .*there is nsfwjs-mobilenet-v2@1"):
        current_model(f"{STARTER}@7")


def test_a_model_whose_classes_mean_nothing_here_is_not_promoted(dataset: Dataset) -> None:
    shapes = TaxonomySpec("shapes", "Shapes", (ClassSpec("round", "round"), ClassSpec("square", "square")))
    model = ModelVersion.objects.create(
        name="shapes",
        taxonomy=register_taxonomy(shapes),
        folder="shapes",
        sha256="0" * 64,
        profile="nsfwjs",
        embedding_size=4,
        sidecar={},
    )
    with pytest.raises(WrongUsage, match="not all mean a class or a group of five"):
        promote(model, dataset)
    assert not Promotion.objects.exists()


# ---- who judges


def test_a_head_on_frozen_embeddings_judges_with_these_and_speaks_only_where_it_never_learned(dataset: Dataset) -> None:
    cut_release(dataset)
    model = another(dataset, "head", trained_on="set 1.0", backbone=f"{STARTER} v1")
    assert impartial_judges(dataset, model, STARTER).models == (model,)
    promote(model, dataset)
    found = members_of(dataset)
    assert any("head v1" in name for name in found)
    # Its opinion on what it learned from was silenced, so it could not confirm the wrong labels of train.
    assert rerank(dataset).ranked == IMAGES


def test_a_model_trained_throughout_leaves_the_embeddings_to_one_that_never_saw_the_labels(dataset: Dataset) -> None:
    cut_release(dataset)
    model = another(dataset, "tuned", trained_on="set 1.0")
    judges = impartial_judges(dataset, model, STARTER)
    assert ([one.name for one in judges.models], judges.learned) == ([STARTER], model)
    promote(model, dataset)
    found = members_of(dataset)
    assert any(STARTER in name for name in found)
    assert not any("linear" in name and "tuned" in name for name in found)
    assert promoted_model(dataset) == model


def test_where_no_other_model_has_scored_the_dataset_it_says_how_to_get_one(db: None) -> None:
    dataset = make_dataset("set")
    add_images(dataset, 10, splits=("train", "test"))
    cut_release(dataset)
    model = another_for(dataset)
    with pytest.raises(NothingToDo, match=r"manage\.py score set --model nsfwjs-mobilenet-v2"):
        promote(model, dataset)
    assert not Promotion.objects.exists()


def another_for(dataset: Dataset) -> ModelVersion:
    model = register("tuned", dataset, trained_on="set 1.0")
    score_with(model, dataset, list(dataset.images.order_by("pk")), np.arange(10) % 5)
    return model


def test_what_a_model_says_about_images_that_it_learned_from_is_silenced(dataset: Dataset) -> None:
    release = cut_release(dataset)
    parrot = another(dataset, "parrot", trained_on=f"set {release.version}")
    classes = class_list(dataset)
    scored = load_scored(dataset, [parrot], classes)
    learned = np.array(scored.splits) == "train"
    opinion = opinion_where_never_seen(dataset, parrot, classes, scored)
    assert opinion is not None
    for said in (opinion.probabilities, without_in_sample(dataset, [parrot], scored).opinions[0]):
        assert np.array_equal(np.isnan(said).all(axis=1), learned)


def test_a_person_who_promotes_is_named(dataset: Dataset) -> None:
    person: Person = member(dataset, "mira", Role.ML)
    promote(another(dataset, "better"), dataset, person=person)
    assert Promotion.objects.get().person == person
