"""Any interleaving of what people do leaves a log that explains everything stored, and nobody asked twice."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from labeling.actions.bulk import (
    decide_group,
    decide_source,
    newest_undos,
    revert_bulk_action,
    revert_work,
    send_again,
    set_review_rule,
)
from labeling.actions.claims import hold_claims, release_claims, skip_item
from labeling.actions.datasets import set_shares
from labeling.actions.golden import set_golden
from labeling.actions.people import set_senior
from labeling.actions.verdicts import adjudicate, record_verdict, redo_last, undo_last
from labeling.errors import LabelingError
from labeling.models import (
    NO_DECISIONS,
    BulkAction,
    Claim,
    Consensus,
    Dataset,
    FilledSlot,
    GoldenAnswer,
    Image,
    ItemState,
    Person,
    ReviewItem,
    Role,
    Source,
    Verdict,
    VerdictKind,
)
from labeling.pipeline.ordering import represent
from labeling.queries.integrity import differences
from labeling.queue_filter import QueueFilter
from tests.builders import class_list, make_dataset
from tests.conftest import member

ALL = QueueFilter()
PEOPLE = st.integers(0, 3)
DECISIONS = [VerdictKind.KEEP, VerdictKind.EXCLUDE, VerdictKind.UNSURE, VerdictKind.RELABEL]
FIRST = datetime.fromisoformat("2026-11-20T00:00:00+00:00")


class Reviewing(RuleBasedStateMachine):
    """Four people, the last one a lead, and a dataset of eight images, three of which are near duplicates."""

    dataset: Dataset
    people: list[Person]
    source: Source

    def __init__(self) -> None:
        super().__init__()
        self.acts = 0
        self.undo_all = transaction.atomic()
        self.undo_all.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undo_all.__exit__(None, None, None)

    @initialize(wanted=st.integers(1, 3), consensus=st.sampled_from(Consensus), golden=st.sampled_from([0.0, 0.5]))
    def start(self, wanted: int, consensus: Consensus, golden: float) -> None:
        self.dataset = make_dataset("interleaved", items=8)
        names = ["anna", "ben", "carl", "lea"]
        self.people = [member(self.dataset, name, Role.ML if name == "lea" else Role.ANNOTATOR) for name in names]
        set_senior(dataset=self.dataset, person=self.people[1], senior=True)
        images = list(Image.objects.filter(dataset=self.dataset).order_by("pk"))
        Image.objects.filter(pk__in=[image.pk for image in images[:3]]).update(duplicate_group=images[0])
        represent(self.dataset)
        self.source = Source.objects.create(dataset=self.dataset, name="example.org")
        Image.objects.filter(pk__in=[image.pk for image in images[2:5]]).update(source=self.source)
        set_golden(dataset=self.dataset, labels={image.path: "neutral" for image in images[5:7]}, person=None)
        set_shares(dataset=self.dataset, blind_share=0.3, golden_rate=golden)
        self.attempt(set_review_rule, verdicts_wanted=wanted, consensus=consensus, person=self.people[3])

    def attempt(self, act: Callable[..., Any], **arguments: Any) -> Any:
        """Do it with a key of its own, then once more with the same key; a refusal is fine, a difference is not."""
        self.acts += 1
        key = UUID(int=self.acts, version=4)
        if "item" not in arguments and "action" not in arguments and "source" not in arguments:
            arguments.setdefault("dataset", self.dataset)
        try:
            with transaction.atomic():
                done = act(key=key, **arguments)
        except LabelingError:
            return None
        rows = (Verdict.objects.count(), GoldenAnswer.objects.count(), BulkAction.objects.count())
        with transaction.atomic():
            act(key=key, **arguments)
        assert rows == (Verdict.objects.count(), GoldenAnswer.objects.count(), BulkAction.objects.count())
        return done

    def items(self) -> list[ReviewItem]:
        items = ReviewItem.objects.filter(dataset=self.dataset).select_related("image", "dataset__taxonomy")
        return list(items.order_by("pk"))

    @rule(who=PEOPLE, hold=st.integers(1, 3))
    def claim(self, who: int, hold: int) -> None:
        claims = hold_claims(dataset=self.dataset, reviewer=self.people[who], filters=ALL, hold=hold)
        for one in claims:
            assert one.golden or one.item.state in {ItemState.OPEN, ItemState.UNSURE}
            assert one.golden or not FilledSlot.objects.filter(item=one.item, reviewer=self.people[who]).exists()

    @rule(who=PEOPLE, kind=st.sampled_from(DECISIONS), label=st.integers(0, 1), any_item=st.none() | st.integers(0, 7))
    def decide(self, who: int, kind: VerdictKind, label: int, any_item: int | None) -> None:
        """What they hold, or any item at all, as a late request would."""
        held = Claim.objects.filter(reviewer=self.people[who]).order_by("pk").first()
        if any_item is None and held is None:
            return
        item = self.items()[any_item] if any_item is not None else None
        item = item or next(one for one in self.items() if held is not None and one.pk == held.item_id)
        self.attempt(
            record_verdict,
            item=item,
            reviewer=self.people[who],
            kind=kind,
            label=class_list(self.dataset)[label] if kind == VerdictKind.RELABEL else None,
        )

    @rule(who=PEOPLE)
    def undo(self, who: int) -> None:
        self.attempt(undo_last, reviewer=self.people[who])

    @rule(who=PEOPLE)
    def redo(self, who: int) -> None:
        self.attempt(redo_last, reviewer=self.people[who])

    @rule(who=PEOPLE)
    def undo_and_redo(self, who: int) -> None:
        def labels() -> list[Any]:
            return list(
                Image.objects.order_by("pk").values_list("current_class", "excluded", "item__state", "item__missing")
            )

        before = labels()
        if self.attempt(undo_last, reviewer=self.people[who]) is not None:
            assert self.attempt(redo_last, reviewer=self.people[who]) is not None
            assert labels() == before
            # What was put back is undone like any other verdict.
            assert self.attempt(undo_last, reviewer=self.people[who]) is not None
            assert self.attempt(redo_last, reviewer=self.people[who]) is not None
            assert labels() == before

    @rule(who=PEOPLE)
    def leave(self, who: int) -> None:
        release_claims(dataset=self.dataset, reviewer=self.people[who])

    @rule(who=PEOPLE, item=st.integers(0, 7))
    def skip(self, who: int, item: int) -> None:
        skip_item(item=self.items()[item], reviewer=self.people[who])

    @rule()
    def expire(self) -> None:
        Claim.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    @rule(item=st.integers(0, 7), kind=st.sampled_from([VerdictKind.KEEP, VerdictKind.EXCLUDE]))
    def settle(self, item: int, kind: VerdictKind) -> None:
        self.attempt(adjudicate, item=self.items()[item], person=self.people[3], kind=kind, label=None)

    @rule(kind=st.sampled_from([VerdictKind.KEEP, VerdictKind.EXCLUDE]), of_source=st.booleans())
    def decide_many(self, kind: VerdictKind, of_source: bool) -> None:
        if of_source:
            self.attempt(decide_source, source=self.source, person=self.people[3], kind=kind, label=None)
            return
        centre = Image.objects.get(pk=self.items()[0].image_id)

        def decide(key: UUID, dataset: Dataset) -> BulkAction:
            return decide_group(centre=centre, person=self.people[3], kind=kind, label=None, key=key)

        self.attempt(decide)

    @rule(reopen=st.booleans(), items=st.sets(st.integers(0, 7), min_size=1))
    def again(self, reopen: bool, items: set[int]) -> None:
        chosen = ReviewItem.objects.filter(pk__in=[self.items()[place].pk for place in items])
        self.attempt(send_again, items=chosen, person=self.people[3], reopen=reopen)

    @rule(wanted=st.integers(1, 3), consensus=st.sampled_from(Consensus))
    def change_the_rule(self, wanted: int, consensus: Consensus) -> None:
        self.attempt(set_review_rule, verdicts_wanted=wanted, consensus=consensus, person=self.people[3])

    @rule(who=PEOPLE)
    def revert_a_person(self, who: int) -> None:
        self.attempt(revert_work, of=self.people[who], since=FIRST, person=self.people[3])

    @precondition(lambda self: BulkAction.objects.exists())
    @rule(chance=st.randoms(use_true_random=False))
    def revert_an_act(self, chance: Any) -> None:
        action = chance.choice(list(BulkAction.objects.order_by("pk")))
        self.attempt(revert_bulk_action, action=action, person=self.people[3])

    @invariant()
    def the_log_explains_everything(self) -> None:
        assert list(differences()) == []

    @invariant()
    def nobody_is_asked_twice_and_no_item_too_often(self) -> None:
        claims: dict[int, list[int]] = defaultdict(list)
        live = Claim.objects.filter(golden=False, lease_expires_at__gt=timezone.now())
        for item_id, reviewer_id in live.values_list("item_id", "reviewer_id"):
            claims[item_id].append(reviewer_id)
        slots: dict[int, list[FilledSlot]] = defaultdict(list)
        for one in FilledSlot.objects.all():
            slots[one.item_id].append(one)
        for item in ReviewItem.objects.all():
            assert len(set(claims[item.pk])) == len(claims[item.pk])
            assert len({one.reviewer_id for one in slots[item.pk]}) == len(slots[item.pk])
            numbers = sorted(one.slot for one in slots[item.pk] if one.slot is not None)
            assert numbers == list(range(len(numbers)))
            if item.state in {ItemState.OPEN, ItemState.UNSURE}:
                assert item.missing is None or item.missing >= 1
            else:
                assert item.missing == 0

    @invariant()
    def each_verdict_is_taken_back_once_at_most_and_counts_agree(self) -> None:
        decisions = list(Verdict.objects.exclude(kind__in=NO_DECISIONS))
        undos = Verdict.objects.filter(kind=VerdictKind.UNDO).count()
        events = list(Verdict.objects.filter(kind__in=[VerdictKind.ASK, VerdictKind.REOPEN]))
        assert sum(chain.undos for chain in newest_undos([*decisions, *events])) == undos
        standing = {chain.verdict.image_id for chain in newest_undos([*decisions, *events]) if chain.stands}
        for item in ReviewItem.objects.filter(state=ItemState.SETTLED):
            assert item.image_id in standing


def interleave(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Reviewing,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )


@pytest.mark.django_db
def test_any_interleaving_leaves_a_log_that_explains_what_is_stored() -> None:
    interleave(examples=6, steps=20)


@pytest.mark.slow
@pytest.mark.django_db
def test_any_long_interleaving_does_too() -> None:
    interleave(examples=25, steps=40)
