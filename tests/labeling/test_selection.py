"""Selections: many images decided, sent to a second person or put first in the queue, each as one act."""

from uuid import uuid4

import pytest
from django.db.models import QuerySet

from labeling.actions import bulk
from labeling.actions.bulk import decide_selection, revert_bulk_action, settle_page
from labeling.actions.claims import hold_claims
from labeling.actions.put_first import put_back, put_first
from labeling.errors import Conflict, NothingToDo, WrongUsage
from labeling.models import (
    BulkAction,
    BulkKind,
    Claim,
    Dataset,
    Image,
    ItemState,
    Person,
    QueueOrder,
    ReviewItem,
    Verdict,
    VerdictKind,
)
from labeling.pipeline.ordering import reorder
from labeling.queries.integrity import differences
from labeling.queue_filter import QueueFilter
from tests.builders import add_images, class_list, make_dataset


def first_images(dataset: Dataset, count: int) -> QuerySet[Image]:
    return Image.objects.filter(pk__in=list(dataset.images.order_by("pk").values_list("pk", flat=True)[:count]))


def queue(dataset: Dataset, person: Person) -> list[int]:
    return [claim.item_id for claim in hold_claims(dataset=dataset, reviewer=person, filters=QueueFilter(), hold=12)]


def test_a_selection_is_relabelled_as_one_act_and_comes_back_as_one(dataset: Dataset, anna: Person) -> None:
    sexy = class_list(dataset)[4]
    act = decide_selection(
        dataset=dataset,
        images=first_images(dataset, 5),
        person=anna,
        kind=VerdictKind.RELABEL,
        label=sexy,
        key=uuid4(),
    )
    assert (act.kind, act.summary) == (BulkKind.EXPLORER, "5 images of a selection relabelled to sexy")
    assert Image.objects.filter(current_class=sexy).count() == 4 + 2
    assert revert_bulk_action(action=act, person=anna, key=uuid4()).verdicts == 5
    assert not list(differences())
    assert ReviewItem.objects.filter(state=ItemState.OPEN).count() == 12


def test_it_goes_to_a_second_person_and_not_to_the_one_who_sent_it(dataset: Dataset, anna: Person, ben: Person) -> None:
    images = first_images(dataset, 2)
    decide_selection(dataset=dataset, images=images, person=anna, kind=VerdictKind.EXCLUDE, label=None, key=uuid4())
    act = decide_selection(
        dataset=dataset, images=images, person=anna, kind=VerdictKind.UNSURE, label=None, key=uuid4()
    )
    assert "sent to a second person" in act.summary
    sent = set(ReviewItem.objects.filter(state=ItemState.UNSURE).values_list("pk", flat=True))
    assert len(sent) == 2
    assert not sent & set(queue(dataset, anna))
    hold_claims(dataset=dataset, reviewer=anna, filters=QueueFilter(), hold=0)
    Claim.objects.all().delete()
    assert sent <= set(queue(dataset, ben))
    assert not list(differences())


def test_keeping_brings_an_excluded_image_back(dataset: Dataset, anna: Person) -> None:
    images = first_images(dataset, 3)
    for kind in (VerdictKind.EXCLUDE, VerdictKind.KEEP):
        decide_selection(dataset=dataset, images=images, person=anna, kind=kind, label=None, key=uuid4())
    assert not Image.objects.filter(excluded=True).exists()


def test_the_same_request_twice_is_one_act(dataset: Dataset, anna: Person) -> None:
    key = uuid4()
    for _ in range(2):
        decide_selection(
            dataset=dataset,
            images=first_images(dataset, 3),
            person=anna,
            kind=VerdictKind.KEEP,
            label=None,
            key=key,
        )
    assert (BulkAction.objects.count(), Verdict.objects.count()) == (1, 3)


def test_more_images_than_were_shown_or_than_one_act_may_hold_change_nothing(
    dataset: Dataset, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(expected: int | None) -> None:
        decide_selection(
            dataset=dataset,
            images=Image.objects.all(),
            person=anna,
            kind=VerdictKind.EXCLUDE,
            label=None,
            key=uuid4(),
            expected=expected,
        )

    with pytest.raises(Conflict, match="12 images match by now, not the 7 you saw"):
        decide(7)
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", 11)
    with pytest.raises(WrongUsage, match="at most 11"):
        decide(None)
    assert not Verdict.objects.exists()


def test_a_selection_never_reaches_into_another_dataset(dataset: Dataset, anna: Person) -> None:
    other = make_dataset("other", items=3)
    with pytest.raises(NothingToDo):
        decide_selection(
            dataset=dataset,
            images=Image.objects.filter(dataset=other),
            person=anna,
            kind=VerdictKind.EXCLUDE,
            label=None,
            key=uuid4(),
        )


def test_what_is_put_first_is_shown_first_to_everybody_and_goes_back(dataset: Dataset, anna: Person) -> None:
    before = queue(dataset, anna)
    last = ReviewItem.objects.order_by("-priority")[:2]
    ReviewItem.objects.filter(pk=last[0].pk).update(suspected=False)
    images = Image.objects.filter(item__in=list(last))
    assert put_first(dataset=dataset, images=images) == 2
    assert put_first(dataset=dataset, images=images) == 0
    assert queue(dataset, anna)[:2] == sorted(item.pk for item in last)
    assert put_back(dataset=dataset, images=images) == 2
    assert not ReviewItem.objects.get(pk=last[0].pk).suspected
    assert queue(dataset, anna) == before[:-1]


def test_it_stays_first_when_the_queue_is_ordered_anew(dataset: Dataset, anna: Person) -> None:
    last = ReviewItem.objects.order_by("-priority")[0]
    ReviewItem.objects.filter(pk=last.pk).update(suspected=False)
    put_first(dataset=dataset, images=Image.objects.filter(item=last))
    reorder(dataset, QueueOrder.LABEL_QUALITY)
    assert queue(dataset, anna)[0] == last.pk
    assert put_back(dataset=dataset, images=Image.objects.filter(item=last)) == 1
    last.refresh_from_db()
    assert (last.suspected, round(last.priority, 6)) == (False, round(last.label_quality, 6))


def test_its_representative_is_put_first_in_its_place(dataset: Dataset, anna: Person) -> None:
    items = list(ReviewItem.objects.order_by("priority"))
    ReviewItem.objects.filter(pk=items[-1].pk).update(represented_by=items[-2])
    put_first(dataset=dataset, images=Image.objects.filter(item=items[-1]))
    assert queue(dataset, anna)[0] == items[-2].pk


def test_what_is_reviewed_or_unranked_cannot_be_put_first(dataset: Dataset) -> None:
    add_images(dataset, 2, start=500)
    with pytest.raises(NothingToDo, match="reviewed, or not ranked"):
        put_first(dataset=dataset, images=Image.objects.filter(item__isnull=True))


# ---- a page of the grid -----------------------------------------------------------------------------------------

PAIR = QueueFilter(given="drawings", suggested="hentai", everything=True)


def hold_page(dataset: Dataset, person: Person) -> list[int]:
    return [claim.item_id for claim in hold_claims(dataset=dataset, reviewer=person, filters=PAIR, hold=24)]


def test_a_page_settles_what_stayed_selected_and_leaves_the_rest_open(dataset: Dataset, anna: Person) -> None:
    hentai, shown = class_list(dataset)[1], hold_page(dataset, anna)
    assert len(shown) == 3
    done = settle_page(dataset=dataset, reviewer=anna, shown=shown, selected=shown[1:], label=hentai, key=uuid4())
    assert done.act is not None
    assert (done.settled, done.lost, done.act.kind, done.act.summary) == (
        2,
        0,
        BulkKind.GRID,
        "2 images settled as hentai",
    )
    assert [ReviewItem.objects.get(pk=pk).state for pk in shown] == ["open", "settled", "settled"]
    assert set(Image.objects.filter(item__in=shown[1:]).values_list("current_class__name", flat=True)) == {"hentai"}
    assert not Claim.objects.filter(item__in=shown).exists()
    assert not list(differences())
    revert_bulk_action(action=done.act, person=anna, key=uuid4())
    assert ReviewItem.objects.filter(state=ItemState.OPEN).count() == 12


def test_what_others_hold_or_settled_meanwhile_is_left_alone_and_told(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    hentai, shown = class_list(dataset)[1], hold_page(dataset, anna)
    Claim.objects.filter(item=shown[0]).update(reviewer=ben)
    ReviewItem.objects.filter(pk=shown[1]).update(state=ItemState.SETTLED)
    done = settle_page(dataset=dataset, reviewer=anna, shown=shown, selected=shown, label=hentai, key=uuid4())
    assert (done.settled, done.lost) == (1, 2)
    assert Claim.objects.get(item=shown[0]).reviewer == ben


def test_a_repeated_page_is_one_act(dataset: Dataset, anna: Person) -> None:
    hentai, shown, key = class_list(dataset)[1], hold_page(dataset, anna), uuid4()
    both = [
        settle_page(dataset=dataset, reviewer=anna, shown=shown, selected=shown, label=hentai, key=key)
        for _ in range(2)
    ]
    assert both[0].act == both[1].act
    assert both[0].settled == both[1].settled == 3
    assert Verdict.objects.count() == 3


def test_near_duplicates_of_what_is_settled_are_settled_too(dataset: Dataset, anna: Person) -> None:
    hentai = class_list(dataset)[1]
    shown = hold_page(dataset, anna)
    near = ReviewItem.objects.exclude(pk__in=shown).order_by("pk")[0]
    ReviewItem.objects.filter(pk=near.pk).update(represented_by=shown[0])
    done = settle_page(dataset=dataset, reviewer=anna, shown=shown, selected=shown[:1], label=hentai, key=uuid4())
    assert done.act is not None
    assert done.act.summary == "1 image and 1 near duplicate settled as hentai"
    near.refresh_from_db()
    assert near.state == ItemState.SETTLED
    assert not list(differences())


def test_a_page_with_nothing_selected_only_gives_back(dataset: Dataset, anna: Person) -> None:
    shown = hold_page(dataset, anna)
    done = settle_page(
        dataset=dataset, reviewer=anna, shown=shown, selected=[], label=class_list(dataset)[1], key=uuid4()
    )
    assert (done.act, done.settled) == (None, 0)
    assert not Claim.objects.exists()


def test_a_class_of_another_taxonomy_settles_nothing(dataset: Dataset, anna: Person) -> None:
    foreign = make_dataset("other", taxonomy="binary").taxonomy.classes.get(name="nsfw")
    with pytest.raises(WrongUsage, match="not a class of this dataset"):
        settle_page(
            dataset=dataset, reviewer=anna, shown=[], selected=hold_page(dataset, anna), label=foreign, key=uuid4()
        )
