"""Bulk actions: a near-duplicate group, a source, and taking them back."""

from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, transaction

from labeling.actions.bulk import decide_group, decide_source, revert_bulk_action
from labeling.actions.claims import claimable_items, hold_claims
from labeling.actions.verdicts import record_verdict, review_separately, undo_last
from labeling.errors import ClaimLost, Conflict, NothingToDo, WrongUsage
from labeling.models import (
    BulkAction,
    BulkKind,
    Claim,
    Dataset,
    Image,
    ItemState,
    Person,
    ReviewItem,
    Source,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)
from labeling.pipeline.ordering import represent
from labeling.queries.integrity import differences
from labeling.queries.queue_part import filtered_items
from labeling.queue_filter import QueueFilter
from tests.builders import class_list, make_dataset


def group(dataset: Dataset, size: int = 3) -> list[ReviewItem]:
    """The first `size` items as one near-duplicate group, represented by the first of the queue."""
    items = list(ReviewItem.objects.filter(dataset=dataset).order_by("priority", "id")[:size])
    Image.objects.filter(pk__in=[item.image_id for item in items]).update(duplicate_group_id=items[0].image_id)
    represent(dataset)
    return list(ReviewItem.objects.filter(pk__in=[item.pk for item in items]).order_by("priority", "id"))


def take(dataset: Dataset, person: Person, item: ReviewItem) -> ReviewItem:
    hold_claims(dataset=dataset, reviewer=person, filters=QueueFilter())
    return ReviewItem.objects.select_related("image", "dataset").get(pk=item.pk)


def decide(
    item: ReviewItem, person: Person, kind: VerdictKind, label: TaxonomyClass | None = None, key: UUID | None = None
) -> Verdict:
    return record_verdict(item=item, reviewer=person, kind=kind, label=label, key=key or uuid4())


def labels(items: list[ReviewItem]) -> list[str]:
    return [Image.objects.get(pk=item.image_id).current_class.name for item in items]


def states(items: list[ReviewItem]) -> set[str]:
    return set(ReviewItem.objects.filter(pk__in=[item.pk for item in items]).values_list("state", flat=True))


def test_a_near_duplicate_group_is_one_item_of_the_queue(dataset: Dataset, anna: Person) -> None:
    first, *others = group(dataset)
    shown = filtered_items(dataset, QueueFilter())
    assert first in shown
    assert not shown.filter(pk__in=[item.pk for item in others]).exists()
    assert shown.count() == 10
    assert claimable_items(dataset, anna, QueueFilter()).first() == first


def test_its_verdict_settles_the_whole_group_and_each_image_by_its_own_row(dataset: Dataset, anna: Person) -> None:
    items = group(dataset)
    wanted = class_list(dataset)[4]
    saved = decide(take(dataset, anna, items[0]), anna, VerdictKind.RELABEL, wanted)
    assert labels(items) == ["sexy"] * 3
    assert states(items) == {ItemState.SETTLED}
    assert saved.bulk is not None
    assert saved.bulk.kind == BulkKind.GROUP
    assert saved.bulk.verdicts.count() == 3
    assert not list(differences())


def test_keeping_the_shown_label_gives_it_to_near_duplicates_with_another(dataset: Dataset, anna: Person) -> None:
    items = group(dataset)
    assert labels(items) == ["drawings", "hentai", "neutral"]
    decide(take(dataset, anna, items[0]), anna, VerdictKind.KEEP)
    assert labels(items) == ["drawings"] * 3
    assert [verdict.kind for verdict in Verdict.objects.order_by("image_id")] == ["keep", "relabel", "relabel"]


def test_one_undo_takes_the_whole_group_back(dataset: Dataset, anna: Person) -> None:
    items = group(dataset)
    decide(take(dataset, anna, items[0]), anna, VerdictKind.EXCLUDE)
    assert undo_last(dataset=dataset, reviewer=anna, key=uuid4()) is not None
    assert labels(items) == ["drawings", "hentai", "neutral"]
    assert states(items) == {ItemState.OPEN}
    assert not Image.objects.filter(excluded=True).exists()
    assert not list(differences())


def test_the_same_request_twice_settles_the_group_once(dataset: Dataset, anna: Person) -> None:
    items = group(dataset)
    key = uuid4()
    item = take(dataset, anna, items[0])
    first = decide(item, anna, VerdictKind.EXCLUDE, key=key)
    assert decide(item, anna, VerdictKind.EXCLUDE, key=key) == first
    assert Verdict.objects.count() == 3


def test_unsure_is_about_the_one_image(dataset: Dataset, anna: Person) -> None:
    items = group(dataset)
    decide(take(dataset, anna, items[0]), anna, VerdictKind.UNSURE)
    assert Verdict.objects.count() == 1
    assert states(items[1:]) == {ItemState.OPEN}


def test_a_blind_verdict_is_about_the_one_image_and_says_that_nothing_was_shown(dataset: Dataset, anna: Person) -> None:
    items = group(dataset)
    item = take(dataset, anna, items[0])
    saved = record_verdict(
        item=item, reviewer=anna, kind=VerdictKind.RELABEL, label=class_list(dataset)[3], key=uuid4(), blind=True
    )
    assert (saved.blind, saved.shown_suggestion, saved.shown_quality, saved.bulk) == (True, None, None, None)
    assert states(items[1:]) == {ItemState.OPEN}


def test_images_that_are_not_alike_are_reviewed_one_by_one_and_stay_apart(dataset: Dataset, anna: Person) -> None:
    items = group(dataset)
    assert review_separately(item=items[0]) == 2
    assert represent(dataset) == 0
    assert filtered_items(dataset, QueueFilter()).count() == 12
    decide(take(dataset, anna, items[0]), anna, VerdictKind.KEEP)
    assert Verdict.objects.count() == 1


def test_what_people_settled_is_represented_by_nobody(dataset: Dataset, anna: Person) -> None:
    decided = ReviewItem.objects.order_by("priority")[2]
    ReviewItem.objects.filter(pk__in=ReviewItem.objects.order_by("priority")[:2].values("pk")).update(priority=0.9)
    decide(take(dataset, anna, decided), anna, VerdictKind.KEEP)
    items = group(dataset)
    assert ReviewItem.objects.get(pk=decided.pk).represented_by is None
    assert sum(ReviewItem.objects.get(pk=item.pk).represented_by_id is not None for item in items) <= 2


def of_source(dataset: Dataset, name: str, count: int) -> Source:
    source = Source.objects.create(dataset=dataset, name=name)
    Image.objects.filter(pk__in=dataset.images.order_by("pk")[:count].values("pk")).update(source=source)
    return source


def test_a_source_is_excluded_as_one_act_and_comes_back_as_one(dataset: Dataset, anna: Person) -> None:
    source = of_source(dataset, "example.org", 6)
    act = decide_source(source=source, person=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    assert act.summary == "6 images of example.org excluded"
    assert Image.objects.filter(excluded=True).count() == 6
    reverted = revert_bulk_action(action=act, person=anna, key=uuid4())
    assert (reverted.verdicts, reverted.left) == (6, 0)
    assert not Image.objects.filter(excluded=True).exists()
    assert ReviewItem.objects.filter(state=ItemState.OPEN).count() == 12
    assert not list(differences())


def test_a_revert_can_itself_be_taken_back(dataset: Dataset, anna: Person) -> None:
    source = of_source(dataset, "example.org", 6)
    act = decide_source(source=source, person=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    revert = revert_bulk_action(action=act, person=anna, key=uuid4()).action
    revert_bulk_action(action=revert, person=anna, key=uuid4())
    assert Image.objects.filter(excluded=True).count() == 6
    assert not list(differences())


def test_taking_back_leaves_what_was_decided_since(dataset: Dataset, anna: Person, ben: Person) -> None:
    source = of_source(dataset, "example.org", 6)
    sexy = class_list(dataset)[4]
    act = decide_source(source=source, person=anna, kind=VerdictKind.RELABEL, label=sexy, key=uuid4())
    centre = dataset.images.order_by("pk").first()
    assert centre is not None
    Image.objects.filter(pk=centre.pk).update(duplicate_group=centre)
    decide_group(centre=centre, person=ben, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    reverted = revert_bulk_action(action=act, person=anna, key=uuid4())
    assert (reverted.verdicts, reverted.left) == (5, 1)
    assert Image.objects.get(pk=centre.pk).excluded
    assert not list(differences())


def test_it_is_not_taken_back_twice_but_a_repeated_request_is_harmless(dataset: Dataset, anna: Person) -> None:
    act = decide_source(source=of_source(dataset, "a", 3), person=anna, kind=VerdictKind.KEEP, label=None, key=uuid4())
    key = uuid4()
    first = revert_bulk_action(action=act, person=anna, key=key)
    assert revert_bulk_action(action=act, person=anna, key=key).action == first.action
    with pytest.raises(Conflict, match="taken back already"):
        revert_bulk_action(action=act, person=anna, key=uuid4())


def test_a_source_decision_passes_over_what_people_decided(dataset: Dataset, anna: Person) -> None:
    source = of_source(dataset, "example.org", 6)
    item = ReviewItem.objects.select_related("image", "dataset").order_by("priority")[0]
    decide(take(dataset, anna, item), anna, VerdictKind.RELABEL, class_list(dataset)[3])
    act = decide_source(source=source, person=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    assert act.verdicts.count() == 5
    assert not Image.objects.get(pk=item.image_id).excluded


def test_who_was_looking_at_one_of_them_is_told_that_it_was_settled(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    source = of_source(dataset, "example.org", 6)
    item = take(dataset, ben, ReviewItem.objects.order_by("priority")[0])
    decide_source(source=source, person=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    assert not Claim.objects.filter(item=item).exists()
    with pytest.raises(ClaimLost, match="settled in the meantime"):
        decide(item, ben, VerdictKind.KEEP)


def test_a_source_with_nothing_left_or_a_foreign_class_is_refused(dataset: Dataset, anna: Person) -> None:
    source = of_source(dataset, "example.org", 2)
    foreign = make_dataset("other", taxonomy="binary").taxonomy.classes.get(name="nsfw")
    with pytest.raises(WrongUsage, match="not a class of this dataset"):
        decide_source(source=source, person=anna, kind=VerdictKind.RELABEL, label=foreign, key=uuid4())
    with pytest.raises(WrongUsage, match="Expected keep, relabel or exclude"):
        decide_source(source=source, person=anna, kind=VerdictKind.UNSURE, label=None, key=uuid4())
    decide_source(source=source, person=anna, kind=VerdictKind.KEEP, label=None, key=uuid4())
    with pytest.raises(NothingToDo, match="people have decided all of them"):
        decide_source(source=source, person=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    assert BulkAction.objects.count() == 1


def test_the_database_refuses_to_change_a_bulk_action(dataset: Dataset, anna: Person) -> None:
    act = decide_source(source=of_source(dataset, "a", 3), person=anna, kind=VerdictKind.KEEP, label=None, key=uuid4())
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        BulkAction.objects.filter(pk=act.pk).update(summary="something else")
