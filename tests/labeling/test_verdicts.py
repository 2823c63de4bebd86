"""Verdicts: what people decide, and how it is taken back."""

from uuid import UUID, uuid4

import pytest

from labeling.actions.claims import held_claims, hold_claims
from labeling.actions.verdicts import Shown, record_verdict, undo_last, undo_verdict
from labeling.errors import ClaimLost, Conflict, WrongUsage
from labeling.models import Claim, Dataset, Image, ItemState, Person, ReviewItem, TaxonomyClass, Verdict, VerdictKind
from labeling.queries.integrity import differences
from labeling.queue_filter import QueueFilter
from tests.builders import make_dataset

ALL = QueueFilter()


def take(dataset: Dataset, person: Person) -> ReviewItem:
    return hold_claims(dataset=dataset, reviewer=person, filters=ALL, hold=1)[0].item


def decide(
    item: ReviewItem, person: Person, kind: VerdictKind, label: TaxonomyClass | None = None, key: UUID | None = None
) -> Verdict:
    return record_verdict(item=item, reviewer=person, kind=kind, label=label, key=key or uuid4(), seconds=2.5)


def stored(item: ReviewItem) -> tuple[str, bool, str]:
    image = Image.objects.select_related("current_class").get(pk=item.image_id)
    return image.current_class.name, image.excluded, ReviewItem.objects.get(pk=item.pk).state


def test_a_relabel_sets_the_current_label_and_never_the_given_one(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    decide(item, anna, VerdictKind.RELABEL, item.suggested_class)
    assert stored(item) == (item.suggested_class.name, False, ItemState.SETTLED)
    assert Image.objects.get(pk=item.image_id).given_class == item.image.given_class


def test_a_verdict_keeps_what_the_reviewer_was_shown(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    verdict = decide(item, anna, VerdictKind.KEEP)
    assert verdict.shown_suggestion == item.suggested_class
    assert verdict.shown_quality == item.label_quality
    assert verdict.seconds == 2.5


def test_a_relabel_to_the_given_label_is_a_keep(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    assert decide(item, anna, VerdictKind.RELABEL, item.image.given_class).kind == VerdictKind.KEEP


def test_exclude_takes_the_image_out_and_keeps_its_label(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    decide(item, anna, VerdictKind.EXCLUDE)
    assert stored(item) == (item.image.given_class.name, True, ItemState.SETTLED)


def test_unsure_passes_the_item_to_a_second_person_only(dataset: Dataset, anna: Person, ben: Person) -> None:
    item = take(dataset, anna)
    decide(item, anna, VerdictKind.UNSURE)
    assert stored(item)[2] == ItemState.UNSURE
    assert take(dataset, anna) != item
    assert take(dataset, ben) == item


def test_the_same_key_again_returns_the_first_verdict(dataset: Dataset, anna: Person) -> None:
    item, key = take(dataset, anna), uuid4()
    first = decide(item, anna, VerdictKind.KEEP, key=key)
    assert decide(item, anna, VerdictKind.KEEP, key=key) == first
    assert Verdict.objects.count() == 1


def test_a_key_of_another_decision_is_a_conflict(dataset: Dataset, anna: Person) -> None:
    item, key = take(dataset, anna), uuid4()
    decide(item, anna, VerdictKind.KEEP, key=key)
    with pytest.raises(Conflict, match="already used"):
        decide(item, anna, VerdictKind.EXCLUDE, key=key)


def expire_claims() -> None:
    Claim.objects.update(lease_expires_at="2020-01-01T00:00:00Z")


def test_a_late_verdict_counts_while_nobody_else_has_taken_the_item(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    expire_claims()
    decide(item, anna, VerdictKind.EXCLUDE)
    assert stored(item)[1:] == (True, ItemState.SETTLED)


def test_a_late_verdict_is_refused_when_somebody_else_holds_or_settled_the_item(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    item = take(dataset, anna)
    expire_claims()
    assert take(dataset, ben) == item
    with pytest.raises(ClaimLost, match="Somebody else has taken"):
        decide(item, anna, VerdictKind.KEEP)
    decide(item, ben, VerdictKind.KEEP)
    with pytest.raises(ClaimLost, match="settled in the meantime"):
        decide(item, anna, VerdictKind.EXCLUDE)
    assert Verdict.objects.count() == 1


def test_nobody_gives_the_second_opinion_on_their_own_doubt(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    decide(item, anna, VerdictKind.UNSURE)
    with pytest.raises(ClaimLost, match="waits for a second person"):
        decide(item, anna, VerdictKind.KEEP)


def test_a_verdict_keeps_what_was_shown_although_a_ranking_came_since(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    seen = Shown(suggestion_id=item.image.given_class_id, quality=0.125)
    verdict = record_verdict(
        item=item, reviewer=anna, kind=VerdictKind.KEEP, label=None, key=uuid4(), seconds=1.0, shown=seen
    )
    assert (verdict.shown_suggestion_id, verdict.shown_quality) == (item.image.given_class_id, 0.125)


def test_a_class_of_another_taxonomy_is_refused(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    foreign = make_dataset("other", taxonomy="binary").taxonomy.classes.get(name="nsfw")
    with pytest.raises(WrongUsage, match="not a class of this dataset"):
        decide(item, anna, VerdictKind.RELABEL, foreign)
    with pytest.raises(WrongUsage, match="names the class"):
        decide(item, anna, VerdictKind.RELABEL, None)


def test_undo_brings_the_item_back_to_the_reviewer_first(dataset: Dataset, anna: Person) -> None:
    first = take(dataset, anna)
    decide(first, anna, VerdictKind.RELABEL, first.suggested_class)
    hold_claims(dataset=dataset, reviewer=anna, filters=ALL, hold=3)
    undo = undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert undo is not None
    assert stored(first) == (first.image.given_class.name, False, ItemState.OPEN)
    assert held_claims(dataset=dataset, reviewer=anna, filters=ALL)[0].item == first


def test_undo_walks_back_one_verdict_at_a_time(dataset: Dataset, anna: Person) -> None:
    items = []
    for _ in range(3):
        items.append(take(dataset, anna))
        decide(items[-1], anna, VerdictKind.EXCLUDE)
    for item in reversed(items):
        undo_last(dataset=dataset, reviewer=anna, key=uuid4())
        assert stored(item)[2] == ItemState.OPEN
    assert undo_last(dataset=dataset, reviewer=anna, key=uuid4()) is None
    assert Verdict.objects.count() == 6


def test_an_undo_can_be_undone(dataset: Dataset, anna: Person) -> None:
    item = take(dataset, anna)
    decide(item, anna, VerdictKind.EXCLUDE)
    undo = undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert undo is not None
    undo_verdict(verdict=undo, reviewer=anna, key=uuid4())
    assert stored(item) == (item.image.given_class.name, True, ItemState.SETTLED)


def test_undoing_an_unsure_after_a_second_verdict_leaves_the_second_verdict(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    item = take(dataset, anna)
    decide(item, anna, VerdictKind.UNSURE)
    decide(take(dataset, ben), ben, VerdictKind.EXCLUDE)
    with pytest.raises(Conflict, match="ben decided this image after you"):
        undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert stored(item)[1:] == (True, ItemState.SETTLED)


def test_the_log_explains_every_stored_state(dataset: Dataset, anna: Person, ben: Person) -> None:
    kinds = [VerdictKind.KEEP, VerdictKind.EXCLUDE, VerdictKind.UNSURE, VerdictKind.RELABEL]
    for number in range(8):
        person = (anna, ben)[number % 2]
        item, kind = take(dataset, person), kinds[number % 4]
        decide(item, person, kind, item.suggested_class if kind == VerdictKind.RELABEL else None)
        if number % 3 == 0:
            undo_last(dataset=dataset, reviewer=person, key=uuid4())
    assert list(differences()) == []


def test_the_integrity_check_finds_a_label_that_no_verdict_explains(dataset: Dataset) -> None:
    image = dataset.images.first()
    assert image is not None
    ReviewItem.objects.filter(image=image).update(state=ItemState.SETTLED)
    Image.objects.filter(pk=image.pk).update(excluded=True)
    assert [one.where.split()[0] for one in differences()] == ["image", "review"]
