"""Triage: the unknown band as a queue, and what was decided before is not asked again."""

from datetime import timedelta
from uuid import uuid4

import numpy as np
import pytest
from django.utils import timezone

from labeling.actions.bulk import revert_bulk_action
from labeling.actions.claims import claimable_items, hold_claims
from labeling.actions.triage import set_triage_within, settle_known
from labeling.actions.verdicts import record_verdict
from labeling.errors import WrongUsage
from labeling.models import BulkAction, BulkKind, Claim, Dataset, Image, ItemState, Person, ReviewItem, VerdictKind
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.policies import apply_policy, default_definition, model_for_policy, save_policy
from labeling.queries.alike import decided_before, groups_are_behind
from labeling.queries.triage import UNKNOWN, triage_state
from labeling.queue_filter import QueueFilter
from labeling.tasks import group_arrivals
from tests.builders import add_images, make_dataset
from tests.scored import a_model, adult_scores, score_images

SCORES = (0.3, 0.7, 0.5, 0.01, 0.99)


@pytest.fixture
def triaged(db: None) -> Dataset:
    """`incoming`: three unknown images with adult scores of .3, .7 and .5, a safe and an adult one."""
    dataset = make_dataset("incoming")
    score_images(dataset, add_images(dataset, len(SCORES)), adult_scores(*SCORES), a_model(dataset))
    model = model_for_policy(dataset)
    save_policy(dataset, default_definition(model), model, expected=0)
    apply_policy(dataset)
    return dataset


def decide(dataset: Dataset, person: Person, image: Image, kind: VerdictKind, label: str = "") -> None:
    hold_claims(dataset=dataset, reviewer=person, filters=UNKNOWN, hold=5)
    wanted = dataset.taxonomy.classes.get(name=label) if label else None
    item = ReviewItem.objects.get(image=image)
    record_verdict(item=item, reviewer=person, kind=kind, label=wanted, key=uuid4(), seconds=2)
    Claim.objects.filter(reviewer=person).delete()


def arrive(dataset: Dataset, like: Image, score: float = 0.5) -> Image:
    """The file of an image comes in once more, under another name, and is scored."""
    again = Image.objects.get(pk=like.pk)
    again.pk, again.path = None, f"again_{uuid4().hex}.jpg"
    again.current_class, again.excluded, again.imported_at = again.given_class, False, timezone.now()
    again.save(force_insert=True)
    score_images(dataset, [again], adult_scores(score), model_for_policy(dataset))
    return again


def state_of(image: Image) -> str:
    return str(ReviewItem.objects.get(image=image).state)


@pytest.mark.parametrize(("order", "scores"), [("riskiest", [0.7, 0.5, 0.3]), ("oldest", [0.3, 0.7, 0.5])])
def test_the_unknown_band_is_a_queue_in_either_order(
    order: str, scores: list[float], triaged: Dataset, anna: Person
) -> None:
    held = hold_claims(dataset=triaged, reviewer=anna, filters=QueueFilter(band="unknown", order=order), hold=6)
    assert [round(claim.item.image.banding.unsafe, 2) for claim in held] == scores


def test_a_file_that_was_decided_before_is_settled_the_same_way(triaged: Dataset, anna: Person) -> None:
    first = triaged.images.order_by("pk")[0]
    decide(triaged, anna, first, VerdictKind.RELABEL, "porn")
    again = arrive(triaged, first)
    again.refresh_from_db()
    assert (state_of(again), again.current_class.name) == (ItemState.SETTLED, "porn")
    act = BulkAction.objects.get(kind=BulkKind.KNOWN)
    assert (act.person, act.summary) == (anna, "1 image settled as anna had decided the same file")


def test_an_excluded_file_is_excluded_again(triaged: Dataset, anna: Person) -> None:
    first = triaged.images.order_by("pk")[0]
    decide(triaged, anna, first, VerdictKind.EXCLUDE)
    again = arrive(triaged, first)
    again.refresh_from_db()
    assert again.excluded


def test_what_was_settled_without_asking_is_taken_back_as_one_and_then_left_to_people(
    triaged: Dataset, anna: Person
) -> None:
    first = triaged.images.order_by("pk")[0]
    decide(triaged, anna, first, VerdictKind.KEEP)
    again = arrive(triaged, first)
    revert_bulk_action(action=BulkAction.objects.get(kind=BulkKind.KNOWN), person=anna, key=uuid4())
    assert state_of(again) == ItemState.OPEN
    assert settle_known(dataset=triaged) == 0
    assert state_of(again) == ItemState.OPEN


def test_files_on_which_people_decided_differently_are_asked_again(triaged: Dataset, anna: Person) -> None:
    first = triaged.images.order_by("pk")[0]
    second = arrive(triaged, first)
    decide(triaged, anna, first, VerdictKind.RELABEL, "porn")
    decide(triaged, anna, second, VerdictKind.EXCLUDE)
    assert state_of(arrive(triaged, first)) == ItemState.OPEN


def test_an_unsure_answer_and_one_that_was_taken_back_settle_nothing(triaged: Dataset, anna: Person) -> None:
    first = triaged.images.order_by("pk")[0]
    decide(triaged, anna, first, VerdictKind.UNSURE)
    assert state_of(arrive(triaged, first)) == ItemState.OPEN


def test_what_somebody_holds_is_theirs(triaged: Dataset, anna: Person, ben: Person) -> None:
    first = triaged.images.order_by("pk")[0]
    second = arrive(triaged, first)
    [held] = hold_claims(dataset=triaged, reviewer=ben, filters=QueueFilter(band="unknown", order="oldest"), hold=1)
    Claim.objects.filter(pk=held.pk).update(item=ReviewItem.objects.get(image=second))
    hold_claims(dataset=triaged, reviewer=anna, filters=QueueFilter(band="unknown", order="oldest"), hold=1)
    item = ReviewItem.objects.get(image=first)
    record_verdict(item=item, reviewer=anna, kind=VerdictKind.KEEP, label=None, key=uuid4(), seconds=1)
    assert settle_known(dataset=triaged) == 0
    assert state_of(second) == ItemState.OPEN


def test_several_independent_verdicts_are_never_given_by_one_decision(triaged: Dataset, anna: Person) -> None:
    first = triaged.images.order_by("pk")[0]
    decide(triaged, anna, first, VerdictKind.KEEP)
    Dataset.objects.filter(pk=triaged.pk).update(verdicts_wanted=2)
    triaged.refresh_from_db()
    assert state_of(arrive(triaged, first)) == ItemState.OPEN


def test_what_people_decided_on_a_near_duplicate_is_told(triaged: Dataset, anna: Person) -> None:
    first, second, third = triaged.images.order_by("pk")[:3]
    decide(triaged, anna, first, VerdictKind.RELABEL, "hentai")
    Image.objects.filter(pk__in=[first.pk, second.pk]).update(duplicate_group=first)
    told = decided_before(list(Image.objects.filter(pk__in=[second.pk, third.pk])))
    assert set(told) == {second.pk}
    before = told[second.pk]
    assert before.label is not None
    assert (before.label.name, before.by, before.same_file, before.others) == ("hentai", "anna", False, 0)


def test_it_says_how_much_waits_and_how_much_of_it_for_too_long(triaged: Dataset, anna: Person) -> None:
    assert (triage_state(triaged).waiting, triage_state(triaged).overdue) == (3, 0)
    old = triaged.images.order_by("pk")[0]
    Image.objects.filter(pk=old.pk).update(imported_at=timezone.now() - timedelta(hours=25))
    state = triage_state(triaged)
    assert (state.overdue, state.oldest) == (1, Image.objects.get(pk=old.pk).imported_at)
    set_triage_within(dataset=triaged, hours=48)
    assert triage_state(triaged).overdue == 0
    decide(triaged, anna, old, VerdictKind.KEEP)
    assert (triage_state(triaged).waiting, triage_state(triaged).decided) == (2, 1)


@pytest.mark.parametrize("hours", [0, -1, 10_000])
def test_hours_that_are_none_are_refused(hours: int, triaged: Dataset) -> None:
    with pytest.raises(WrongUsage, match="Expected 1 to"):
        set_triage_within(dataset=triaged, hours=hours)


def test_near_duplicates_among_arrivals_are_settled_together(triaged: Dataset, anna: Person) -> None:
    first = triaged.images.order_by("pk")[0]
    EmbeddingFile(triaged, model_for_policy(triaged)).append(np.eye(8, 4, dtype=np.float16))
    again = arrive(triaged, first)
    assert groups_are_behind(triaged)
    assert group_arrivals.call(triaged.pk) == "1 groups"
    assert not groups_are_behind(triaged)
    assert group_arrivals.call(triaged.pk) == "nothing new"
    waiting = {item.image_id for item in claimable_items(triaged, anna, UNKNOWN)}
    assert len(waiting & {first.pk, again.pk}) == 1
    decide(triaged, anna, Image.objects.get(pk=(waiting & {first.pk, again.pk}).pop()), VerdictKind.EXCLUDE)
    assert {state_of(first), state_of(again)} == {ItemState.SETTLED}
