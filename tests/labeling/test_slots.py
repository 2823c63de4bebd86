"""Several people judge an image: slots, the rules by which their verdicts become one, and reviewing again."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from labeling.actions.bulk import (
    decide_group,
    decide_source,
    revert_bulk_action,
    revert_work,
    send_again,
    set_review_rule,
)
from labeling.actions.claims import claimable_items, held_claims, hold_claims, release_claim
from labeling.actions.people import set_senior
from labeling.actions.verdicts import adjudicate, record_verdict, redo_last, undo_last
from labeling.errors import ClaimLost, Conflict, NotAllowed, NothingToDo, WrongUsage
from labeling.models import (
    Claim,
    Consensus,
    Dataset,
    FilledSlot,
    Image,
    ItemState,
    Person,
    ReviewerSkill,
    ReviewItem,
    Role,
    Source,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)
from labeling.pipeline.cutting import cut_release
from labeling.queries.integrity import differences
from labeling.queries.team import out_of_reach, to_adjudicate
from labeling.queue_filter import QueueFilter
from tests.builders import class_list, make_dataset
from tests.conftest import member

ALL = QueueFilter()
KEEP, RELABEL, EXCLUDE, UNSURE = VerdictKind.KEEP, VerdictKind.RELABEL, VerdictKind.EXCLUDE, VerdictKind.UNSURE


@pytest.fixture
def lea(dataset: Dataset) -> Person:
    """An ML engineer of the dataset."""
    return member(dataset, "lea", Role.ML)


@pytest.fixture
def carl(dataset: Dataset) -> Person:
    return member(dataset, "carl", Role.ANNOTATOR)


def want(dataset: Dataset, verdicts: int, consensus: Consensus = Consensus.MAJORITY) -> None:
    person = Person.objects.get_or_create(username="rule-maker")[0]
    set_review_rule(dataset=dataset, verdicts_wanted=verdicts, consensus=consensus, person=person, key=uuid4())


def first(dataset: Dataset) -> ReviewItem:
    items = ReviewItem.objects.filter(dataset=dataset).select_related("image__given_class", "dataset__taxonomy")
    return items.order_by("priority")[0]


def decide(item: ReviewItem, person: Person, kind: VerdictKind, label: TaxonomyClass | None = None) -> Verdict:
    item.dataset.refresh_from_db()
    return record_verdict(item=item, reviewer=person, kind=kind, label=label, key=uuid4(), seconds=1.0)


def state(item: ReviewItem) -> tuple[str, int | None, str]:
    stored = ReviewItem.objects.select_related("image__current_class").get(pk=item.pk)
    label = "excluded" if stored.image.excluded else stored.image.current_class.name
    return stored.state, stored.missing, label


def test_an_item_with_two_slots_is_held_by_two_people_and_by_no_third(
    dataset: Dataset, anna: Person, ben: Person, carl: Person
) -> None:
    want(dataset, 2)
    item = first(dataset)
    for person in (anna, ben):
        assert hold_claims(dataset=dataset, reviewer=person, filters=ALL, hold=1)[0].item == item
    assert sorted(Claim.objects.filter(item=item).values_list("slot", flat=True)) == [0, 1]
    assert hold_claims(dataset=dataset, reviewer=carl, filters=ALL, hold=1)[0].item != item


def test_it_settles_only_when_the_second_person_agrees(dataset: Dataset, anna: Person, ben: Person) -> None:
    want(dataset, 2)
    item, wanted = first(dataset), class_list(dataset)[3]
    decide(item, anna, RELABEL, wanted)
    assert state(item) == (ItemState.OPEN, 1, "drawings")
    decide(item, ben, RELABEL, wanted)
    assert state(item) == (ItemState.SETTLED, 0, "porn")
    assert not FilledSlot.objects.exists()
    assert not list(differences())


def test_nobody_gets_two_slots_of_one_item(dataset: Dataset, anna: Person, ben: Person) -> None:
    want(dataset, 2)
    item = first(dataset)
    decide(item, anna, KEEP)
    assert item not in claimable_items(dataset, anna, ALL)
    assert item in claimable_items(dataset, ben, ALL)
    with pytest.raises(ClaimLost, match="You have given your verdict"):
        decide(item, anna, EXCLUDE)
    verdict = Verdict.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        FilledSlot.objects.create(item=item, slot=1, reviewer=anna, verdict=verdict)


def test_a_third_verdict_is_refused_when_both_slots_are_filled_or_held(
    dataset: Dataset, anna: Person, ben: Person, carl: Person
) -> None:
    want(dataset, 2)
    item = first(dataset)
    decide(item, anna, KEEP)
    hold_claims(dataset=dataset, reviewer=ben, filters=ALL, hold=1)
    with pytest.raises(ClaimLost, match="Somebody else has taken"):
        decide(item, carl, KEEP)
    decide(item, ben, KEEP)
    with pytest.raises(ClaimLost, match="settled in the meantime"):
        decide(item, carl, KEEP)


def test_disagreement_waits_for_a_lead_whose_one_verdict_settles_it(
    dataset: Dataset, anna: Person, ben: Person, carl: Person, lea: Person
) -> None:
    want(dataset, 2)
    item = first(dataset)
    decide(item, anna, KEEP)
    decide(item, ben, EXCLUDE)
    assert state(item) == (ItemState.DISPUTED, 0, "drawings")
    assert item not in claimable_items(dataset, carl, ALL)
    with pytest.raises(ClaimLost, match="waits for a lead"):
        decide(item, carl, KEEP)
    assert list(to_adjudicate(dataset)) == [item]
    adjudicate(item=item, person=lea, kind=EXCLUDE, label=None, key=uuid4())
    assert state(item) == (ItemState.SETTLED, 0, "excluded")
    with pytest.raises(Conflict, match="settled in the meantime"):
        adjudicate(item=item, person=lea, kind=KEEP, label=None, key=uuid4())
    undo_last(dataset=dataset, reviewer=lea, key=uuid4())
    assert state(item) == (ItemState.DISPUTED, 0, "drawings")
    assert not list(differences())


def test_an_unsure_verdict_is_no_adjudication(dataset: Dataset, anna: Person, lea: Person) -> None:
    item = first(dataset)
    decide(item, anna, UNSURE)
    with pytest.raises(WrongUsage, match="settles nothing"):
        adjudicate(item=item, person=lea, kind=UNSURE, label=None, key=uuid4())


@pytest.mark.parametrize(
    ("consensus", "said", "expected"),
    [
        (Consensus.MAJORITY, [KEEP, EXCLUDE, KEEP], ItemState.SETTLED),
        (Consensus.UNANIMOUS, [KEEP, EXCLUDE, KEEP], ItemState.DISPUTED),
        (Consensus.UNANIMOUS, [KEEP, KEEP, KEEP], ItemState.SETTLED),
        (Consensus.SENIOR, [KEEP, EXCLUDE, KEEP], ItemState.DISPUTED),
        (Consensus.DAWID_SKENE, [KEEP, KEEP, KEEP], ItemState.SETTLED),
        (Consensus.DAWID_SKENE, [KEEP, EXCLUDE, RELABEL], ItemState.DISPUTED),
    ],
)
def test_three_verdicts_become_one_by_the_rule(
    consensus: Consensus,
    said: list[VerdictKind],
    expected: ItemState,
    dataset: Dataset,
    anna: Person,
    ben: Person,
    carl: Person,
) -> None:
    want(dataset, 3, consensus)
    item = first(dataset)
    for person, kind in zip((anna, ben, carl), said, strict=True):
        decide(item, person, kind, class_list(dataset)[4] if kind == RELABEL else None)
    assert state(item)[0] == expected
    assert not list(differences())


def test_a_senior_decides_and_counts_as_one_for_good(dataset: Dataset, anna: Person, ben: Person) -> None:
    want(dataset, 2, Consensus.SENIOR)
    set_senior(dataset=dataset, person=ben, senior=True)
    item = first(dataset)
    decide(item, ben, EXCLUDE)
    set_senior(dataset=dataset, person=ben, senior=False)
    decide(item, anna, KEEP)
    assert state(item) == (ItemState.SETTLED, 0, "excluded")
    assert not list(differences())


def test_dawid_skene_believes_whoever_was_reliable(dataset: Dataset, anna: Person, ben: Person, carl: Person) -> None:
    want(dataset, 3, Consensus.DAWID_SKENE)
    keys = ["0", *(str(known.pk) for known in class_list(dataset))]

    def skill(person: Person, right: float) -> None:
        off = (1 - right) / (len(keys) - 1)
        confusion = {one: {other: right if one == other else off for other in keys} for one in keys}
        ReviewerSkill.objects.create(dataset=dataset, person=person, confusion=confusion, newest_verdict=0)

    skill(anna, 0.99)
    skill(ben, 0.3)
    skill(carl, 0.3)
    item = first(dataset)
    decide(item, anna, EXCLUDE)
    decide(item, ben, KEEP)
    decide(item, carl, KEEP)
    assert state(item) == (ItemState.SETTLED, 0, "excluded")
    ReviewerSkill.objects.all().delete()
    assert not list(differences()), "what was known of them then stands on their verdicts"


def test_undoing_one_of_two_independent_verdicts_leaves_the_other(dataset: Dataset, anna: Person, ben: Person) -> None:
    want(dataset, 2)
    item = first(dataset)
    decide(item, anna, EXCLUDE)
    decide(item, ben, EXCLUDE)
    undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert state(item) == (ItemState.OPEN, 1, "drawings")
    assert [claim.item for claim in held_claims(dataset=dataset, reviewer=anna, filters=ALL)] == [item]
    assert FilledSlot.objects.get().reviewer == ben
    assert not list(differences())


def test_undo_is_a_conflict_while_others_hold_every_slot_that_it_would_free(
    dataset: Dataset, anna: Person, ben: Person, carl: Person
) -> None:
    item = first(dataset)
    decide(item, anna, EXCLUDE)
    send_again(dataset=dataset, items=ReviewItem.objects.filter(pk=item.pk), person=ben, reopen=True, key=uuid4())
    assert hold_claims(dataset=dataset, reviewer=carl, filters=ALL, hold=1)[0].item == item
    with pytest.raises(Conflict, match="carl holds this image"):
        undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert Verdict.objects.count() == 2


def test_redo_puts_back_one_undo_at_a_time_and_nothing_after_a_new_verdict(dataset: Dataset, anna: Person) -> None:
    items = list(ReviewItem.objects.select_related("image", "dataset").order_by("priority")[:3])
    for item in items[:2]:
        decide(item, anna, EXCLUDE)
    for _ in range(2):
        undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    key = uuid4()
    once = redo_last(dataset=dataset, reviewer=anna, key=key)
    assert redo_last(dataset=dataset, reviewer=anna, key=key) == once
    assert [state(item)[2] for item in items[:2]] == ["excluded", "hentai"]
    assert not Claim.objects.filter(item=items[0]).exists(), "what is settled again is nobody's to decide"
    redo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert [state(item)[2] for item in items[:2]] == ["excluded", "excluded"]
    assert redo_last(dataset=dataset, reviewer=anna, key=uuid4()) is None
    undo_last(dataset=dataset, reviewer=anna, key=uuid4())
    assert state(items[1])[2] == "hentai", "what was put back can be undone again"
    decide(items[2], anna, KEEP)
    assert redo_last(dataset=dataset, reviewer=anna, key=uuid4()) is None
    assert not list(differences())


def test_a_persons_work_since_a_moment_is_taken_back_as_one_act_and_brought_again(
    dataset: Dataset, anna: Person, ben: Person, lea: Person
) -> None:
    items = list(ReviewItem.objects.select_related("image", "dataset").order_by("priority")[:4])
    decide(items[0], ben, EXCLUDE)
    for item in items[1:]:
        decide(item, anna, EXCLUDE)
    hour = timezone.now() - timedelta(hours=1)
    key = uuid4()
    done = revert_work(dataset=dataset, of=anna, since=hour, person=lea, key=key)
    assert (done.verdicts, done.left) == (3, 0)
    assert revert_work(dataset=dataset, of=anna, since=hour, person=lea, key=key).action == done.action
    assert Image.objects.filter(excluded=True).count() == 1
    assert done.action.summary.startswith("took back 3 verdicts of anna since")
    revert_bulk_action(action=done.action, person=lea, key=uuid4())
    assert Image.objects.filter(excluded=True).count() == 4
    with pytest.raises(NothingToDo, match="No verdict of anna"):
        revert_work(dataset=dataset, of=anna, since=timezone.now(), person=lea, key=uuid4())
    again = revert_work(dataset=dataset, of=anna, since=hour, person=lea, key=uuid4())
    assert again.verdicts == 3, "what was brought again can be taken back again"
    assert not list(differences())


def test_a_persons_work_leaves_what_others_decided_since(
    dataset: Dataset, anna: Person, ben: Person, lea: Person
) -> None:
    item = first(dataset)
    decide(item, anna, UNSURE)
    decide(item, ben, EXCLUDE)
    with pytest.raises(NothingToDo):
        revert_work(dataset=dataset, of=anna, since=timezone.now() - timedelta(days=1), person=lea, key=uuid4())
    assert state(item)[2] == "excluded"


def test_a_reopened_image_can_be_decided_by_anybody_and_keeps_its_label_until_then(
    dataset: Dataset, anna: Person, lea: Person
) -> None:
    item = first(dataset)
    decide(item, anna, RELABEL, class_list(dataset)[3])
    everything = ReviewItem.objects.filter(dataset=dataset)
    act = send_again(dataset=dataset, items=everything, person=lea, reopen=True, key=uuid4())
    assert act.summary == "reopened 1 image"
    assert state(item) == (ItemState.OPEN, None, "porn")
    decide(item, anna, KEEP)
    assert state(item) == (ItemState.SETTLED, 0, "drawings")
    with pytest.raises(Conflict, match="Nothing of this stands"):
        revert_bulk_action(action=act, person=lea, key=uuid4())
    assert not list(differences())


def test_a_second_person_confirms_or_disputes_what_was_settled(
    dataset: Dataset, anna: Person, ben: Person, lea: Person
) -> None:
    item, other = ReviewItem.objects.select_related("image", "dataset").order_by("priority")[:2]
    decide(item, anna, EXCLUDE)
    decide(other, anna, EXCLUDE)
    send_again(dataset=dataset, items=ReviewItem.objects.all(), person=lea, reopen=False, key=uuid4())
    assert state(item) == (ItemState.OPEN, 1, "excluded")
    assert item not in claimable_items(dataset, anna, ALL)
    decide(item, ben, EXCLUDE)
    decide(other, ben, KEEP)
    assert state(item) == (ItemState.SETTLED, 0, "excluded")
    assert state(other) == (ItemState.DISPUTED, 0, "excluded")
    assert not list(differences())


def test_sending_again_is_taken_back_as_one_act(dataset: Dataset, anna: Person, lea: Person) -> None:
    decide(first(dataset), anna, EXCLUDE)
    act = send_again(dataset=dataset, items=ReviewItem.objects.all(), person=lea, reopen=False, key=uuid4())
    revert_bulk_action(action=act, person=lea, key=uuid4())
    assert state(first(dataset)) == (ItemState.SETTLED, 0, "excluded")
    untouched = ReviewItem.objects.filter(state=ItemState.OPEN)
    with pytest.raises(NothingToDo, match="None of these images is settled"):
        send_again(dataset=dataset, items=untouched, person=lea, reopen=True, key=uuid4())


def test_a_lower_number_settles_what_has_enough_verdicts_and_leaves_the_settled_alone(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    want(dataset, 3)
    waiting, done = ReviewItem.objects.select_related("image", "dataset").order_by("priority")[:2]
    decide(waiting, anna, EXCLUDE)
    want(dataset, 1)
    assert state(waiting) == (ItemState.SETTLED, 0, "excluded")
    decide(done, ben, KEEP)
    want(dataset, 2)
    assert state(done)[0] == ItemState.SETTLED
    with pytest.raises(WrongUsage, match="received 0"):
        want(dataset, 0)
    assert not list(differences())


def test_what_everybody_has_judged_and_still_waits_is_not_hidden(dataset: Dataset, anna: Person, ben: Person) -> None:
    want(dataset, 3)
    item = first(dataset)
    decide(item, anna, KEEP)
    assert not out_of_reach(dataset).exists()
    decide(item, ben, KEEP)
    assert list(out_of_reach(dataset)) == [item]
    assert item in to_adjudicate(dataset)


def test_a_decision_about_a_source_settles_whatever_number_is_wanted(dataset: Dataset, lea: Person) -> None:
    want(dataset, 3)
    source = Source.objects.create(dataset=dataset, name="example.org")
    Image.objects.filter(dataset=dataset).update(source=source)
    decide_source(source=source, person=lea, kind=EXCLUDE, label=None, key=uuid4())
    assert set(ReviewItem.objects.values_list("state", "missing")) == {(ItemState.SETTLED, 0)}
    assert not list(differences())


def test_one_annotator_does_not_decide_a_group_where_several_people_are_wanted(
    dataset: Dataset, anna: Person, lea: Person
) -> None:
    want(dataset, 2)
    centre = Image.objects.select_related("dataset").filter(dataset=dataset)[0]
    Image.objects.filter(pk=centre.pk).update(duplicate_group=centre)
    centre.dataset.refresh_from_db()
    with pytest.raises(NotAllowed, match="only a lead or a senior"):
        decide_group(centre=centre, person=anna, kind=KEEP, label=None, key=uuid4())
    decide_group(centre=centre, person=lea, kind=KEEP, label=None, key=uuid4())


def test_a_released_claim_goes_to_others_and_its_late_verdict_counts_while_nobody_took_it(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    claim = hold_claims(dataset=dataset, reviewer=anna, filters=ALL, hold=1)[0]
    release_claim(claim=claim)
    assert claim.item in claimable_items(dataset, ben, ALL)
    decide(first(dataset), anna, EXCLUDE)
    assert state(claim.item)[2] == "excluded"


def test_a_disputed_image_stays_out_of_a_release_and_is_counted(dataset: Dataset, anna: Person, ben: Person) -> None:
    want(dataset, 2)
    item = first(dataset)
    decide(item, anna, KEEP)
    decide(item, ben, EXCLUDE)
    summary = cut_release(dataset, ratios=(80, 10, 10))
    assert summary.left_out == {"disputed, waits for adjudication": 1}


@pytest.mark.django_db(transaction=True)
def test_six_threads_fill_two_slots_of_each_item_and_no_third() -> None:
    dataset = make_dataset(items=8)
    Dataset.objects.filter(pk=dataset.pk).update(verdicts_wanted=2)
    dataset.refresh_from_db()
    people = [member(dataset, f"reviewer{number}", Role.ANNOTATOR) for number in range(6)]
    errors: list[BaseException] = []
    start = threading.Barrier(len(people))

    def review_until_nothing_is_left(person: Person) -> None:
        try:
            start.wait()
            while claims := hold_claims(dataset=dataset, reviewer=person, filters=ALL, hold=2):
                for claim in claims:
                    record_verdict(item=claim.item, reviewer=person, kind=KEEP, label=None, key=uuid4())
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=review_until_nothing_is_left, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
    assert [item.image.verdicts.count() for item in ReviewItem.objects.all()] == [2] * 8
    assert all(item.image.verdicts.values("reviewer").distinct().count() == 2 for item in ReviewItem.objects.all())
    assert set(ReviewItem.objects.values_list("state", flat=True)) == {ItemState.SETTLED}
    assert not list(differences())
