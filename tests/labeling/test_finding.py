"""Finding issues: members, models of other taxonomies, the loop guard, re-ranking, outliers and image quality."""

from uuid import uuid4

import numpy as np
import pytest

from labeling.actions.claims import hold_claims
from labeling.actions.verdicts import record_verdict
from labeling.errors import NothingToDo, UnknownClass, WrongUsage
from labeling.models import (
    Dataset,
    EnsembleMember,
    FoldPrediction,
    Image,
    IssueKind,
    LabelIssue,
    ModelVersion,
    Prediction,
    ReviewItem,
    Role,
    Run,
    RunKind,
    RunState,
    VerdictKind,
)
from labeling.pipeline import shapes
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.finding import HowToFind, find_issues, rerank
from labeling.pipeline.importing import thumbnail_path
from labeling.pipeline.quality_limits import change_quality_limits, limits_of
from labeling.queries.integrity import differences
from labeling.queries.overview import overview
from labeling.queries.queue_part import filtered_items
from labeling.queries.ranking import ranking, ranking_is_behind
from labeling.queue_filter import QueueFilter
from labeling.taxonomies import load_taxonomy
from labeling.taxonomies.class_maps import map_classes
from tests.builders import add_images, class_list, make_dataset, write_picture
from tests.conftest import member

pytestmark = pytest.mark.django_db
SIZE = 16
IMAGES = 240


def register(name: str, taxonomy: Dataset, *, trained_on: str = "unknown") -> ModelVersion:
    return ModelVersion.objects.create(
        name=name,
        taxonomy=taxonomy.taxonomy,
        folder=name,
        sha256="0" * 64,
        profile="nsfwjs",
        embedding_size=SIZE,
        sidecar={"trained_on": trained_on, "embedding_layer": "pool"},
    )


def score_with(
    model: ModelVersion, dataset: Dataset, images: list[Image], true: np.ndarray, *, seed: int = 0, blur: float = 1.0
) -> None:
    """What a model would have written: embeddings around one centre a true class, and its own opinion."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(8, SIZE)) * 2
    embeddings = (centres[true] + chance.normal(size=(len(images), SIZE)) * blur).astype(np.float16)
    classes = model.taxonomy.classes.count()
    said = np.full((len(images), classes), 0.1 / max(1, classes - 1), dtype="<f4")
    said[np.arange(len(images)), true % classes] = 0.9
    run = Run.objects.create(dataset=dataset, kind=RunKind.SCORE, state=RunState.DONE)
    first = EmbeddingFile(dataset, model).append(embeddings)
    Prediction.objects.bulk_create(
        Prediction(
            image=image,
            model_version=model,
            run=run,
            profile=model.profile,
            probabilities=(said[row] / said[row].sum()).astype("<f4").tobytes(),
            predicted_index=int(said[row].argmax()),
            confidence=0.9,
            embedding_row=first + row,
        )
        for row, image in enumerate(images)
    )


@pytest.fixture
def scored() -> tuple[Dataset, ModelVersion, set[int]]:
    """240 images, every tenth given the wrong one of five classes, scored by a model of the same classes."""
    dataset = make_dataset("set")
    images = add_images(dataset, IMAGES, splits=("train", "train", "validation", "test"))
    true = np.array([number % 5 for number in range(IMAGES)])
    wrong = {images[number].pk for number in range(0, IMAGES, 10)}
    for number in range(0, IMAGES, 10):
        true[number] = (true[number] + 2) % 5
    model = register("nsfwjs-mobilenet-v2", dataset)
    score_with(model, dataset, images, true)
    return dataset, model, wrong


def worst(dataset: Dataset, count: int) -> set[int]:
    return set(
        ReviewItem.objects.filter(dataset=dataset)
        .order_by("label_quality", "id")
        .values_list("image_id", flat=True)[:count]
    )


def test_wrong_labels_come_first_and_the_members_are_kept_with_the_run(
    scored: tuple[Dataset, ModelVersion, set[int]],
) -> None:
    dataset, model, wrong = scored
    summary = find_issues(dataset)
    assert len(worst(dataset, 24) & wrong) >= 23
    members = EnsembleMember.objects.filter(run_id=summary.run)
    assert members.count() == len(summary.members) >= 3
    assert sum(one.weight for one in members) == pytest.approx(1, abs=1e-6)
    assert {one.model_version_id for one in members} == {model.pk}
    assert FoldPrediction.objects.filter(run_id=summary.run).count() == IMAGES


def test_the_queue_shows_suspected_validation_and_test_images_before_train(
    scored: tuple[Dataset, ModelVersion, set[int]],
) -> None:
    dataset, _, _ = scored
    find_issues(dataset)
    queue = ReviewItem.objects.filter(suspected=True).order_by("priority", "id")
    splits = list(queue.values_list("image__split", flat=True))
    evaluation = sum(split != "train" for split in splits)
    assert 0 < evaluation < len(splits)
    assert "train" not in splits[:evaluation]


def test_systematic_confusions_are_named_with_an_interval(scored: tuple[Dataset, ModelVersion, set[int]]) -> None:
    dataset, _, _ = scored
    summary = find_issues(dataset)
    pairs = {(row.given, row.true) for row in summary.confusions}
    assert ("drawings", "neutral") in pairs
    assert all(0 <= row.low <= row.share <= row.high <= 1 for row in summary.confusions)
    assert {row["given"] for row in overview(dataset).confusions} == {given for given, _ in pairs}


def test_several_models_are_joined_and_images_that_one_has_not_seen_are_ranked_all_the_same(
    scored: tuple[Dataset, ModelVersion, set[int]],
) -> None:
    dataset, _, wrong = scored
    images = list(dataset.images.order_by("pk"))
    second = register("second", dataset)
    classes = class_list(dataset)
    true = np.array([(classes.index(one.given_class) + 2 * (one.pk in wrong)) % 5 for one in images])
    score_with(second, dataset, images[:200], true[:200], seed=1, blur=3.0)
    summary = find_issues(dataset, HowToFind(models=("nsfwjs-mobilenet-v2", "second")))
    assert summary.ranked == IMAGES
    assert summary.model == "nsfwjs-mobilenet-v2 v1 and second v1"
    assert len(worst(dataset, 24) & wrong) >= 20


def test_a_model_that_learned_from_these_labels_is_refused(scored: tuple[Dataset, ModelVersion, set[int]]) -> None:
    dataset, _, _ = scored
    images = list(dataset.images.order_by("pk"))
    learned = register("learned", dataset, trained_on="set 1.0")
    score_with(learned, dataset, images, np.zeros(IMAGES, dtype=int))
    with pytest.raises(WrongUsage, match=r"learned v1 was trained on set 1\.0.*confirm"):
        find_issues(dataset, HowToFind(models=("learned",)))
    assert not ReviewItem.objects.exists()
    assert register("other", dataset, trained_on="settle 1.0").sidecar  # A longer name is another dataset.


def test_a_model_of_five_classes_judges_two_by_adding_up_its_groups() -> None:
    dataset = make_dataset("two", taxonomy="binary")
    images = add_images(dataset, 120)
    five = make_dataset("five")
    model = register("nsfwjs-mobilenet-v2", five)
    true_of_five = np.array([(0, 3)[number % 2] for number in range(120)])
    for number in range(0, 120, 12):
        true_of_five[number] = 3 - true_of_five[number]
    score_with(model, dataset, images, true_of_five)
    summary = find_issues(dataset)
    assert any("itself" in one for one in summary.members)
    assert {images[number].pk for number in range(0, 120, 12)} <= worst(dataset, 14)


def test_against_seven_classes_disagreement_is_judged_by_group_and_said_so() -> None:
    dataset = make_dataset("seven", taxonomy="seven")
    images = add_images(dataset, 210)
    five = make_dataset("five")
    model = register("nsfwjs-mobilenet-v2", five)
    # Of seven: 0 to 3 are nsfw, the others safe; of five: porn is adult, neutral is safe.
    groups = np.array([3 if number % 7 < 4 else 2 for number in range(210)])
    wrong = list(range(0, 210, 21))
    groups[wrong] = 2
    score_with(model, dataset, images, groups)
    summary = find_issues(dataset)
    assert any("judged by group" in note for note in summary.notes)
    assert any("by group" in one for one in summary.members)
    reason = ReviewItem.objects.get(image=images[0]).reason
    assert "nsfwjs-mobilenet-v2 v1 says safe (by group)" in reason
    assert "by group" not in ReviewItem.objects.get(image=images[1]).reason


def test_class_maps_go_by_name_alias_group_and_by_what_is_said() -> None:
    five, binary, seven = (list(load_taxonomy(name).classes) for name in ("five", "binary", "seven"))
    assert map_classes(five, binary).classes == (0, 1, 0, 1, 1)
    to_seven = map_classes(five, seven)
    assert not to_seven.by_class
    assert to_seven.groups == ("safe", "nsfw", "safe", "nsfw", "nsfw")
    said = map_classes(five, seven, {"Porn": "nsfw_porn"})
    assert said.classes[3] == 2
    assert map_classes(binary, five).by_group
    with pytest.raises(UnknownClass, match="no class 'cat'"):
        map_classes(five, seven, {"porn": "cat"})


def test_reranking_moves_open_images_and_leaves_what_people_settled(
    scored: tuple[Dataset, ModelVersion, set[int]],
) -> None:
    dataset, _, wrong = scored
    find_issues(dataset)
    anna = member(dataset, "anna", Role.ANNOTATOR)
    truth = class_list(dataset)
    settled: dict[int, float] = {}
    for claim in hold_claims(dataset=dataset, reviewer=anna, filters=QueueFilter(), hold=12):
        image = claim.item.image
        right = truth[(truth.index(image.given_class) + 2) % 5] if image.pk in wrong else image.given_class
        record_verdict(item=claim.item, reviewer=anna, kind=VerdictKind.RELABEL, label=right, key=uuid4())
        settled[claim.item_id] = claim.item.label_quality
    before = dict(ReviewItem.objects.values_list("pk", "label_quality"))
    summary = rerank(dataset)
    assert summary.ranked == IMAGES - len(settled)
    after = dict(ReviewItem.objects.values_list("pk", "label_quality"))
    assert {pk: after[pk] for pk in settled} == settled
    assert sum(before[pk] != after[pk] for pk in after) > 100
    assert FoldPrediction.objects.count() == IMAGES
    assert LabelIssue.objects.filter(kind=IssueKind.GIVEN_LABEL).values("run").distinct().count() == 1
    assert not list(differences())


def test_a_ranking_is_behind_after_fifty_verdicts_and_not_while_one_is_under_way(
    scored: tuple[Dataset, ModelVersion, set[int]],
) -> None:
    dataset, _, _ = scored
    assert not ranking_is_behind(dataset)
    find_issues(dataset)
    anna = member(dataset, "anna", Role.ANNOTATOR)
    for claim in hold_claims(dataset=dataset, reviewer=anna, filters=QueueFilter(everything=True), hold=50):
        record_verdict(item=claim.item, reviewer=anna, kind=VerdictKind.KEEP, label=None, key=uuid4())
    assert ranking_is_behind(dataset)
    waiting = Run.objects.create(dataset=dataset, kind=RunKind.RERANK, state=RunState.QUEUED)
    assert not ranking_is_behind(dataset)
    waiting.delete()
    rerank(dataset)
    assert not ranking_is_behind(dataset)


def test_reranking_before_a_ranking_says_what_to_do(scored: tuple[Dataset, ModelVersion, set[int]]) -> None:
    with pytest.raises(NothingToDo, match="find_issues set"):
        rerank(scored[0])


def test_poor_image_quality_is_an_issue_with_its_reason_and_thresholds_can_be_changed(
    scored: tuple[Dataset, ModelVersion, set[int]],
) -> None:
    dataset, _, _ = scored
    dark = dataset.images.order_by("pk")[7]
    Image.objects.filter(pk=dark.pk).update(brightness=0.01, contrast=0.04)
    assert find_issues(dataset).poor_quality == 1
    issue = LabelIssue.objects.get(kind=IssueKind.IMAGE_QUALITY)
    assert issue.image_id == dark.pk
    assert "dark" in issue.reason
    assert issue.reason in ReviewItem.objects.get(image=dark).reason
    assert filtered_items(dataset, QueueFilter(issue="image_quality")).get().image_id == dark.pk
    change_quality_limits(dataset, {"dark": 0.0})
    assert next(limit for limit in limits_of(dataset) if limit.name == "dark").value == 0
    assert find_issues(dataset).poor_quality == 0
    with pytest.raises(WrongUsage, match="Not a threshold"):
        change_quality_limits(dataset, {"aspect_ratio": 0.5})
    with pytest.raises(WrongUsage, match="Expected thresholds among"):
        change_quality_limits(dataset, {"darkness": 1})


def test_an_image_unlike_all_others_is_an_outlier(scored: tuple[Dataset, ModelVersion, set[int]]) -> None:
    dataset, model, _ = scored
    [stray] = add_images(dataset, 1, start=IMAGES)
    far = np.zeros((1, SIZE), dtype=np.float16)
    far[0, 3] = 40
    row = EmbeddingFile(dataset, model).append(far)
    run = Run.objects.filter(kind=RunKind.SCORE).latest("id")
    Prediction.objects.create(
        image=stray,
        model_version=model,
        run=run,
        profile="nsfwjs",
        probabilities=np.full(5, 0.2, dtype="<f4").tobytes(),
        predicted_index=0,
        confidence=0.2,
        embedding_row=row,
    )
    find_issues(dataset)
    assert LabelIssue.objects.filter(kind=IssueKind.OUTLIER, image=stray).exists()
    assert "off-topic?" in next(row for row in ranking(dataset) if row.path == stray.path).reasons[-1]


def test_another_method_is_kept_for_the_next_reranking(scored: tuple[Dataset, ModelVersion, set[int]]) -> None:
    dataset, _, _ = scored
    assert find_issues(dataset, HowToFind(method="normalized_margin", adjusted=True)).method.endswith("class-adjusted")
    assert rerank(dataset).method == "normalized_margin, class-adjusted"
    with pytest.raises(WrongUsage, match="Expected a method of"):
        find_issues(dataset, HowToFind(method="gut feeling"))
    with pytest.raises(WrongUsage, match="can be class-adjusted"):
        find_issues(dataset, HowToFind(method="confidence_weighted_entropy", adjusted=True))
    with pytest.raises(WrongUsage, match="Each model is named once"):
        find_issues(dataset, HowToFind(models=("nsfwjs-mobilenet-v2",) * 2))


def test_images_that_are_all_the_same_cannot_be_judged_and_the_run_says_why() -> None:
    dataset = make_dataset("set")
    images = add_images(dataset, 40)
    same = images[0]
    dataset.images.update(phash=same.phash, dhash=same.dhash, pixel_sha256="a" * 64)
    score_with(register("nsfwjs-mobilenet-v2", dataset), dataset, images, np.zeros(40, dtype=int), blur=0.0)
    with pytest.raises(WrongUsage, match="near-duplicate groups"):
        find_issues(dataset)
    run = Run.objects.get(kind=RunKind.FIND_ISSUES)
    assert run.state == RunState.FAILED
    assert "cannot be judged" in run.error


def test_a_class_with_fewer_images_than_folds_is_judged_and_noted() -> None:
    dataset = make_dataset("set")
    images = add_images(dataset, 62)
    classes = class_list(dataset)
    # Two images of the last class, sixty of two others; the given label of an image never changes, so they are deleted.
    rare = [one for one in images if one.given_class == classes[4]]
    Image.objects.filter(pk__in=[one.pk for one in rare[2:]]).delete()
    kept = list(dataset.images.order_by("pk"))
    true = np.array([classes.index(one.given_class) for one in kept])
    score_with(register("nsfwjs-mobilenet-v2", dataset), dataset, kept, true)
    summary = find_issues(dataset)
    assert summary.ranked == len(kept)
    assert summary.folds == 5


def test_shapes_are_described_once_and_again_only_what_is_new(
    scored: tuple[Dataset, ModelVersion, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _, _ = scored
    described: list[str] = []
    for image in dataset.images.order_by("pk")[:200]:
        path = thumbnail_path(image.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, seed=image.pk)
    real = shapes._describe

    def counting(digest: str) -> shapes.Halves:
        described.append(digest)
        return real(digest)

    monkeypatch.setattr(shapes, "_describe", counting)
    assert any("shapes" in one for one in find_issues(dataset).members)
    assert len(described) == IMAGES
    rerank(dataset)
    # Forty have no thumbnail, and are asked again: it may have come.
    assert len(described) == IMAGES + 40
    file = next((EmbeddingFile(dataset, scored[1]).path.parent).glob("shapes.npz"))
    file.write_bytes(file.read_bytes()[:100])
    assert find_issues(dataset).ranked == IMAGES
    assert not any("shapes" in one for one in find_issues(dataset, HowToFind(shapes="never")).members)
