"""Honest numbers: drawing the audit sample, and estimating from it what remains wrong."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models import Max

from inference.estimation import (
    OUTSIDE,
    RIGHT,
    UNKNOWN,
    WRONG,
    ErrorEstimate,
    NoAudit,
    estimate_by_domain,
    estimate_errors,
    extend_audit,
    noise_by_source,
    plan_audit,
    queue_precision,
    reached_by_queue,
    reviews_for_recall,
    stop_rule,
)
from labeling.actions.audits import SampledImage, extend_sample, record_estimate, record_sample
from labeling.actions.runs import Listener, RunReporter, running
from labeling.actions.standing import standings_of
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import (
    NO_DECISIONS,
    SPLITS,
    AuditImage,
    AuditSample,
    BulkKind,
    Dataset,
    ItemState,
    Person,
    ReviewItem,
    Run,
    RunKind,
    Source,
    Verdict,
    VerdictKind,
)
from labeling.queries.queue_part import newest_sample

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DEFAULT_HALF_WIDTH = 0.01
ALLOWED_SHARE = 0.01
RECALL = 0.95
SOURCES = 100


@dataclass(frozen=True)
class AuditSummary:
    """`drawn` images are to be judged blind, `new` of them by this draw; half-widths are shares of the images."""

    dataset: str
    sample: int
    population: int
    drawn: int
    new: int
    half_width: float
    expected_half_width: float


@dataclass(frozen=True)
class Range:
    """A best guess with the ends of its interval."""

    point: float
    low: float
    high: float


@dataclass(frozen=True)
class PartEstimate:
    """Errors that remain in a split or a class (by current label) of `images` images, at 95 %."""

    part: str
    images: int
    audited: int
    remaining: Range


@dataclass(frozen=True)
class SourceRate:
    """The share of wrong labels to expect of a source, 0..1, drawn towards all sources' mean where little is known.

    `noisier`: than the others by more than chance.
    """

    source: str
    images: int
    audited: int
    rate: Range
    noisier: bool


@dataclass(frozen=True)
class Estimates:
    """What the audit sample says now; intervals at 95 %.

    Attributes:
        images, audited, audited_wrong, found: images spoken of; audit images answered and found wrong; errors found.
        waiting: audit images without an answer.
        uncovered: images imported since the draw, which this does not speak of.
        remaining, remaining_share: errors nobody has found yet, and their share of the images.
        splits, classes: the same by part; a class by its current label.
        sources: noise of the sources with the most images, the noisiest first.
        precision: of the queue's verdicts so far, and of the last 200.
        reviews, reviews_low, reviews_high: more reviews to find `recall` of all errors; None where nobody can tell.
        advice: stop, review or audit; `more_audit` images may settle it where it is audit.
        at_most: errors remain in no greater number, one-sided.
    """

    dataset: str
    sample: int
    images: int
    audited: int
    audited_wrong: int
    waiting: int
    uncovered: int
    found: int
    remaining: Range
    remaining_share: Range
    splits: tuple[PartEstimate, ...]
    classes: tuple[PartEstimate, ...]
    sources: tuple[SourceRate, ...]
    reviewed: int
    precision: Range | None
    recent_reviewed: int
    recent_precision: Range | None
    recall: float
    recall_now: Range
    reviews: int | None
    reviews_low: int | None
    reviews_high: int | None
    advice: str
    allowed: int
    allowed_share: float
    at_most: int
    more_audit: int | None


@dataclass(frozen=True)
class _Population:
    """The images of a sample that are still in the dataset, in the order of their keys, with what is known of them."""

    image_ids: Integers
    strata: Integers
    sampled: Bools
    risk: Floats
    priority: Floats
    wrong: Integers
    splits: tuple[str, ...]
    labels: tuple[str, ...]
    sources: Integers
    reached: Bools
    waiting: int
    uncovered: int


def draw_audit(
    dataset: Dataset,
    *,
    half_width: float = DEFAULT_HALF_WIDTH,
    extend: bool = False,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> AuditSummary:
    """Draw a random sample of the ranked images, stratified by risk, just large enough for the wanted interval.

    Args:
        half_width: of the interval for the remaining errors, as a share of the images.
        extend: keep the newest sample and add to it what the width still needs, and the images imported since.

    Raises:
        NothingToDo: nothing is ranked yet, or there is no sample to extend.
        WrongUsage: a half-width that is no share.
    """
    if not 0 < half_width < 1:
        raise WrongUsage(f"Expected a half-width between 0 and 1 (0.01 is ± 1 point), received {half_width:g}.")
    if not ReviewItem.objects.filter(dataset=dataset, image__excluded=False).exists():
        raise NothingToDo(
            f"Nothing of {dataset.slug} is ranked yet, so there is no risk to draw by; first run: "
            f"manage.py find_issues {dataset.slug}"
        )
    if extend and newest_sample(dataset) is None:
        raise NothingToDo(f"{dataset.slug} has no audit sample to extend yet; draw one first.")
    with running(
        dataset=dataset,
        kind=RunKind.AUDIT,
        parameters={"half_width": half_width, "extend": extend},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        summary = (_extend if extend else _draw)(dataset, half_width, reporter, person)
        reporter.run.summary = asdict(summary)
    return summary


def _draw(dataset: Dataset, half_width: float, reporter: RunReporter, person: Person | None) -> AuditSummary:
    rows = _ranked(dataset)
    truth = _truth(dataset)
    reporter.stage("drawing", len(rows))
    ids = [row[0] for row in rows]
    plan = plan_audit(
        np.array([row[1] for row in rows], dtype=np.float64),
        half_width=half_width,
        known=np.array([truth.get(image, UNKNOWN) != UNKNOWN for image in ids], dtype=np.bool_),
        seed=reporter.run.pk,
    )
    place = {int(index): number for number, index in enumerate(plan.images)}
    # The run's key is the seed, so a draw that was killed and is repeated draws the same images.
    sample = AuditSample.objects.filter(dataset=dataset, seed=reporter.run.pk).first() or record_sample(
        dataset=dataset,
        run=_ranking_run(dataset),
        half_width=half_width,
        expected_half_width=plan.expected_half_width,
        seed=reporter.run.pk,
        images=[SampledImage(image, int(plan.strata[at]), rows[at][1], place.get(at)) for at, image in enumerate(ids)],
        person=person,
    )
    reporter.advance(len(rows))
    return AuditSummary(dataset.slug, sample.pk, len(ids), len(place), len(place), half_width, plan.expected_half_width)


def _extend(dataset: Dataset, half_width: float, reporter: RunReporter, person: Person | None) -> AuditSummary:
    sample = _sample(dataset)
    # What is in quarantine keeps its place in the order.
    whole = AuditImage.everything.filter(sample=sample)
    kept = {row[0]: row[1:] for row in whole.values_list("image_id", "stratum", "risk", "place").iterator()}
    rows = _ranked(dataset)
    truth = _truth(dataset)
    reporter.stage("drawing", len(rows))
    ids = [row[0] for row in rows]
    # An image of the sample keeps the risk that put it into its stratum.
    risk = np.array([kept[image][1] if image in kept else risk for image, risk, _ in rows], dtype=np.float64)
    sampled = np.array([image in kept and kept[image][2] is not None for image in ids], dtype=np.bool_)
    wrong = np.array([truth.get(image, UNKNOWN) for image in ids], dtype=np.int64)
    plan = extend_audit(
        np.array([kept[image][0] if image in kept else OUTSIDE for image in ids], dtype=np.int64),
        sampled,
        wrong,
        risk=risk,
        half_width=half_width,
        reached=reached_by_queue(-np.array([row[2] for row in rows], dtype=np.float64), sampled, wrong),
        seed=reporter.run.pk,
    )
    last = max((row[2] for row in kept.values() if row[2] is not None), default=-1)
    place = {int(index): last + 1 + number for number, index in enumerate(plan.images)}
    extend_sample(
        sample=sample,
        half_width=half_width,
        expected_half_width=plan.expected_half_width,
        images=[
            SampledImage(image, int(plan.strata[at]), float(risk[at]), place.get(at))
            for at, image in enumerate(ids)
            if image not in kept or at in place
        ],
    )
    reporter.advance(len(rows))
    drawn = int(sampled.sum()) + len(place)
    return AuditSummary(dataset.slug, sample.pk, len(ids), drawn, len(place), half_width, plan.expected_half_width)


def estimate_remaining(dataset: Dataset) -> Estimates:
    """Estimate the errors that remain from the newest audit sample, and keep it for the pages to show.

    Raises:
        NothingToDo: no audit sample, or none of it is answered yet.
    """
    sample = _sample(dataset)
    newest = Verdict.objects.filter(image__dataset=dataset).aggregate(newest=Max("pk"))["newest"] or 0
    population = _population(dataset, sample)
    try:
        estimates = _estimates(dataset, sample, population)
    except NoAudit as error:
        raise NothingToDo(
            f"None of the {population.waiting:,} audit images of {dataset.slug} is answered yet, so nothing can be "
            f"estimated. Judge them at /d/{dataset.slug}/review/?audit=1"
        ) from error
    record_estimate(sample=sample, estimate=asdict(estimates), newest_verdict=newest)
    return estimates


def _estimates(dataset: Dataset, sample: AuditSample, population: _Population) -> Estimates:
    strata, sampled, wrong, reached = (population.strata, population.sampled, population.wrong, population.reached)
    whole = estimate_errors(strata, sampled, wrong, reached=reached)
    forecast = reviews_for_recall(
        -population.priority, strata, sampled, wrong, risk=population.risk, reached=reached, recall=RECALL
    )
    stop = stop_rule(whole, allowed_share=ALLOWED_SHARE)
    precision = queue_precision(_queue_verdicts(dataset))
    class_names = tuple(dataset.taxonomy.classes.order_by("index").values_list("name", flat=True))
    return Estimates(
        dataset=dataset.slug,
        sample=sample.pk,
        images=whole.images,
        audited=whole.audited,
        audited_wrong=whole.audited_wrong,
        waiting=population.waiting,
        uncovered=population.uncovered,
        found=whole.found,
        remaining=_range(whole),
        remaining_share=Range(*whole.remaining_share),
        splits=_by_part((*SPLITS, ""), population.splits, population),
        classes=_by_part(class_names, population.labels, population),
        sources=_by_source(dataset, population),
        reviewed=precision.reviewed,
        precision=_share(precision.precision, precision.low, precision.high),
        recent_reviewed=precision.recent_reviewed,
        recent_precision=_share(precision.recent_precision, precision.recent_low, precision.recent_high),
        recall=forecast.recall,
        recall_now=Range(*forecast.recall_now),
        reviews=forecast.reviews,
        reviews_low=forecast.low,
        reviews_high=forecast.high,
        advice=stop.advice,
        allowed=stop.allowed,
        allowed_share=stop.allowed_share,
        at_most=stop.at_most,
        more_audit=stop.more_audit,
    )


def _by_part(names: Sequence[str], values: Sequence[str], population: _Population) -> tuple[PartEstimate, ...]:
    place = {name: number for number, name in enumerate(names)}
    found = estimate_by_domain(
        population.strata,
        population.sampled,
        population.wrong,
        np.array([place.get(value, -1) for value in values], dtype=np.int64),
        reached=population.reached,
    )
    return tuple(
        PartEstimate(names[one.domain], one.estimate.images, one.estimate.audited, _range(one.estimate))
        for one in found
    )


def _by_source(dataset: Dataset, population: _Population) -> tuple[SourceRate, ...]:
    names = dict(Source.objects.filter(dataset=dataset).values_list("pk", "name"))
    found = noise_by_source(
        population.strata, population.sampled, population.wrong, population.sources, reached=population.reached
    )
    largest = sorted(found, key=lambda one: -one.estimate.images)[:SOURCES]
    return tuple(
        SourceRate(
            names.get(one.source, "?"),
            one.estimate.images,
            one.estimate.audited,
            Range(one.rate, one.low, one.high),
            one.noisier,
        )
        for one in sorted(largest, key=lambda one: -one.rate)
    )


def _range(estimate: ErrorEstimate) -> Range:
    return Range(estimate.remaining.point, estimate.remaining.low, estimate.remaining.high)


def _share(point: float | None, low: float | None, high: float | None) -> Range | None:
    return None if point is None or low is None or high is None else Range(point, low, high)


def _sample(dataset: Dataset) -> AuditSample:
    sample = newest_sample(dataset)
    if sample is None:
        raise NothingToDo(
            f"{dataset.slug} has no audit sample yet, and only a random sample can tell what remains; draw one with: "
            f"manage.py draw_audit {dataset.slug}"
        )
    return sample


def _ranking_run(dataset: Dataset) -> Run:
    item = ReviewItem.objects.filter(dataset=dataset).select_related("run").order_by("-run_id").first()
    if item is None:
        raise NothingToDo(f"Nothing of {dataset.slug} is ranked yet.")
    return item.run


def _ranked(dataset: Dataset) -> list[tuple[int, float, float]]:
    return list(
        ReviewItem.objects.filter(dataset=dataset, image__excluded=False)
        .order_by("image_id")
        .values_list("image_id", "risk", "priority")
    )


def _truth(dataset: Dataset) -> dict[int, int]:
    """Image → whether its given label was wrong, for those that a person looked at and decided.

    A decision about a whole source looked at none of its images, so it makes nothing known.
    """
    by_source = set(
        Verdict.objects.filter(image__dataset=dataset, bulk__kind=BulkKind.SOURCE).values_list("pk", flat=True)
    )
    return {
        image: WRONG if standing.excluded or standing.deciding.kind == VerdictKind.RELABEL else RIGHT
        for image, standing in standings_of(dataset).items()
        if standing.state == ItemState.SETTLED
        and standing.deciding is not None
        and standing.deciding.pk not in by_source
    }


def _population(dataset: Dataset, sample: AuditSample) -> _Population:
    rows: list[Any] = list(
        sample.images.order_by("image_id").values_list(
            "image_id",
            "stratum",
            "place",
            "risk",
            "image__item__priority",
            "image__split",
            "image__current_class__name",
            "image__source_id",
            "image__excluded",
        )
    )
    truth = _truth(dataset)
    # An image that was excluded without anybody looking at it is no longer spoken of.
    rows = [row for row in rows if row[0] in truth or not row[8]]
    wrong = np.array([truth.get(row[0], UNKNOWN) for row in rows], dtype=np.int64)
    strata = np.array([row[1] for row in rows], dtype=np.int64)
    # Decided before the draw and taken back since: nothing was drawn to speak for it.
    spoken_of = (strata != OUTSIDE) | (wrong != UNKNOWN)
    rows = [row for row, kept in zip(rows, spoken_of.tolist(), strict=True) if kept]
    wrong, strata = wrong[spoken_of], strata[spoken_of]
    sampled = np.array([row[2] is not None for row in rows], dtype=np.bool_)
    priority = np.array([row[4] for row in rows], dtype=np.float64)
    covered = ReviewItem.objects.filter(dataset=dataset, image__excluded=False).count()
    excluded = sum(row[8] for row in rows)
    return _Population(
        image_ids=np.array([row[0] for row in rows], dtype=np.int64),
        strata=strata,
        sampled=sampled,
        risk=np.array([row[3] for row in rows], dtype=np.float64),
        priority=priority,
        wrong=wrong,
        splits=tuple(row[5] for row in rows),
        labels=tuple(row[6] for row in rows),
        sources=np.array([row[7] or -1 for row in rows], dtype=np.int64),
        reached=reached_by_queue(-priority, sampled, wrong),
        waiting=int((sampled & (wrong == UNKNOWN)).sum()),
        uncovered=max(0, covered - (len(rows) - excluded)),
    )


def _queue_verdicts(dataset: Dataset) -> Integers:
    """Of the queue's standing verdicts in order: 1 where the label was wrong, 0 where it was right."""
    kinds = (
        Verdict.objects.filter(image__dataset=dataset, undone_by__isnull=True, blind=False, shown_quality__isnull=False)
        .exclude(kind__in=[*NO_DECISIONS, VerdictKind.UNSURE])
        .order_by("id")
        .values_list("kind", flat=True)
    )
    return np.array([WRONG if kind != VerdictKind.KEEP else RIGHT for kind in kinds], dtype=np.int64)
