"""The audit: a blind random sample, and what it tells of the errors that remain."""

from uuid import uuid4

import numpy as np
import pytest

from labeling.actions.bulk import decide_source
from labeling.actions.claims import hold_claims, matching_items
from labeling.actions.verdicts import record_verdict
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import AuditSample, Dataset, Image, Person, ReviewItem, Role, Source, TaxonomyClass, VerdictKind
from labeling.pipeline.auditing import draw_audit, estimate_remaining
from labeling.queries.audits import audit_state, estimate_is_behind
from labeling.queue_filter import QueueFilter
from tests.builders import add_images, class_list, make_dataset, rank_images
from tests.conftest import member

AUDIT = QueueFilter(audit=True)


@pytest.fixture
def noisy(db: None) -> tuple[Dataset, set[int]]:
    """300 images, about 25 of them wrong, most of those where the label quality is low."""
    dataset = make_dataset(items=300, splits=("train", "train", "test"))
    items = list(ReviewItem.objects.filter(dataset=dataset).order_by("label_quality"))
    chance = np.random.default_rng(5).random(300) < np.linspace(0.3, 0.0, 300) ** 1.5
    for number, item in enumerate(items):
        item.priority = (number / 300) ** 0.5
        item.risk = 1 - item.priority
    ReviewItem.objects.bulk_update(items, ["risk", "priority"])
    return dataset, {item.image_id for item, wrong in zip(items, chance, strict=True) if wrong}


def judge(dataset: Dataset, person: Person, wrong: set[int], *, filters: QueueFilter = AUDIT, limit: int = 9999) -> int:
    """Answer this part of the queue truthfully; how many were answered."""
    answered = 0
    while answered < limit:
        claims = hold_claims(dataset=dataset, reviewer=person, filters=filters, hold=20)
        if not claims:
            break
        for claim in claims[: limit - answered]:
            image = claim.item.image
            kind = VerdictKind.RELABEL if image.pk in wrong else VerdictKind.KEEP
            record_verdict(
                item=claim.item,
                reviewer=person,
                kind=kind,
                label=other_class(image) if kind == VerdictKind.RELABEL else None,
                key=uuid4(),
                blind=filters.audit,
            )
            answered += 1
    return answered


def other_class(image: Image) -> TaxonomyClass:
    return next(label for label in class_list(image.dataset) if label.pk != image.given_class_id)


def test_the_sample_is_large_enough_for_the_width_and_smaller_than_the_dataset(noisy: tuple[Dataset, set[int]]) -> None:
    dataset, _ = noisy
    summary = draw_audit(dataset, half_width=0.03)
    assert 30 < summary.drawn < 280
    assert summary.expected_half_width <= 0.03
    assert summary.population == 300
    assert draw_audit(dataset, half_width=0.02).drawn > summary.drawn


def test_it_is_judged_in_random_order_and_not_by_risk(noisy: tuple[Dataset, set[int]]) -> None:
    dataset, _ = noisy
    drawn = draw_audit(dataset, half_width=0.03).drawn
    order = list(matching_items(dataset, AUDIT).values_list("label_quality", flat=True))
    assert len(order) == drawn
    assert abs(float(np.corrcoef(order, np.arange(drawn))[0, 1])) < 0.3


def test_the_estimate_holds_the_truth_before_and_after_the_queue_was_reviewed(
    noisy: tuple[Dataset, set[int]],
) -> None:
    dataset, wrong = noisy
    anna = member(dataset, "anna", Role.ANNOTATOR)
    draw_audit(dataset, half_width=0.02)
    judge(dataset, anna, wrong)
    before = estimate_remaining(dataset)
    remaining = len(wrong) - before.found
    assert before.remaining.low <= remaining <= before.remaining.high
    assert before.audited == AuditSample.objects.get().images.filter(place__isnull=False).count()
    assert sum(part.images for part in before.splits) == 300
    judge(dataset, anna, wrong, filters=QueueFilter(everything=True), limit=80)
    after = estimate_remaining(dataset)
    assert after.found > before.found
    assert after.remaining.low <= len(wrong) - after.found <= after.remaining.high
    assert after.precision is not None
    assert after.reviewed == 80


def test_judging_everything_leaves_nothing_to_guess(noisy: tuple[Dataset, set[int]]) -> None:
    dataset, wrong = noisy
    anna = member(dataset, "anna", Role.ANNOTATOR)
    draw_audit(dataset, half_width=0.05)
    judge(dataset, anna, wrong)
    judge(dataset, anna, wrong, filters=QueueFilter(everything=True))
    done = estimate_remaining(dataset)
    assert (done.remaining.point, done.remaining.high, done.found) == (0, 0, len(wrong))
    assert (done.advice, done.reviews) == ("stop", 0)


def test_an_extension_keeps_what_was_drawn_and_covers_what_came_since(noisy: tuple[Dataset, set[int]]) -> None:
    dataset, wrong = noisy
    anna = member(dataset, "anna", Role.ANNOTATOR)
    draw_audit(dataset, half_width=0.04)
    judge(dataset, anna, wrong)
    first = set(AuditSample.objects.get().images.filter(place__isnull=False).values_list("image_id", flat=True))
    rank_images(dataset, add_images(dataset, 60, start=300))
    assert estimate_remaining(dataset).uncovered == 60
    summary = draw_audit(dataset, half_width=0.02, extend=True)
    sample = AuditSample.objects.get()
    drawn = set(sample.images.filter(place__isnull=False).values_list("image_id", flat=True))
    assert first < drawn
    assert summary.new == len(drawn - first)
    assert summary.population == 360
    judge(dataset, anna, wrong)
    extended = estimate_remaining(dataset)
    assert (extended.uncovered, extended.images) == (0, 360)


def test_a_decision_about_a_whole_source_makes_nothing_known(noisy: tuple[Dataset, set[int]]) -> None:
    dataset, wrong = noisy
    anna = member(dataset, "anna", Role.ANNOTATOR)
    draw_audit(dataset, half_width=0.05)
    judge(dataset, anna, wrong)
    before = estimate_remaining(dataset)
    source = Source.objects.create(dataset=dataset, name="example.org")
    Image.objects.filter(dataset=dataset, pk__gte=Image.objects.order_by("pk")[150].pk).update(source=source)
    decide_source(source=source, person=anna, kind=VerdictKind.KEEP, label=None, key=uuid4())
    assert estimate_remaining(dataset).remaining == before.remaining


def test_without_a_ranking_a_sample_or_an_answer_it_says_what_to_do(noisy: tuple[Dataset, set[int]]) -> None:
    dataset, _ = noisy
    with pytest.raises(NothingToDo, match="find_issues empty"):
        draw_audit(make_dataset("empty"))
    with pytest.raises(NothingToDo, match="draw_audit looks"):
        estimate_remaining(dataset)
    with pytest.raises(NothingToDo, match="no audit sample to extend"):
        draw_audit(dataset, extend=True)
    with pytest.raises(WrongUsage, match="between 0 and 1"):
        draw_audit(dataset, half_width=0)
    draw_audit(dataset, half_width=0.05)
    with pytest.raises(NothingToDo, match=r"is answered yet.*audit=1"):
        estimate_remaining(dataset)


def test_the_estimate_knows_when_verdicts_came_after_it(noisy: tuple[Dataset, set[int]]) -> None:
    dataset, wrong = noisy
    anna = member(dataset, "anna", Role.ANNOTATOR)
    assert not estimate_is_behind(dataset, by=1)
    draw_audit(dataset, half_width=0.05)
    judge(dataset, anna, wrong, limit=20)
    estimate_remaining(dataset)
    assert not estimate_is_behind(dataset, by=1)
    judge(dataset, anna, wrong, limit=3)
    assert estimate_is_behind(dataset, by=3)
    assert not estimate_is_behind(dataset, by=4)
    state = audit_state(dataset)
    assert state is not None
    assert (state.answered, state.behind) == (23, 3)
