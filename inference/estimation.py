"""Honest numbers: an audit sample, the errors that remain with an interval, and when to stop reviewing.

What reviewers find down a ranking says little about what they have not seen. The audit sample does: it is drawn at
random inside strata of predicted risk, so that it stays valid however wrong the risk is; a good risk only makes it
smaller. Everything here is exact arithmetic or a seeded draw: the same arrays give the same numbers.

The interval. In each stratum the unseen errors have a beta-binomial distribution given what the audit found there,
and the strata are convolved. The usual half of a pseudo-error per stratum (Jeffreys) puts several errors into strata
that hold none and misses the truth in a third of sharply ranked datasets with few errors. Here *one* half of a
pseudo-error is shared by all strata, each by the images that one audit image stands for. That is the middle of Fay and
Feuer's bounds for a weighted sum of counts ("Confidence intervals for directly standardized rates", Statistics in
Medicine 1997), for finite strata, and with one stratum it is the Jeffreys interval of Brown, Cai and DasGupta
("Interval estimation for a binomial proportion", Statistical Science 2001). `benchmarks/estimation.py` holds its
coverage beside that of the textbook interval. Meeden ("A Bayesian solution for a statistical auditing problem", 2002)
treats the same question with a non-informative posterior.

Arrays have one entry an image: N is the dataset, not the sample. `wrong` always means: -1 nobody knows, 0 the given
label is right, 1 it is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite

import numpy as np
from scipy import optimize, signal, special

from inference.errors import ArrayRefused
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float64Array, Int64Array

UNKNOWN, RIGHT, WRONG = -1, 0, 1

OUTSIDE = -1
"""Stratum of an image that the audit was not drawn from: already known then, or imported since."""

STRATA = 8
MINIMUM_A_STRATUM = 10

GUARD = 0.25
"""Share of the expected errors that a plan spreads evenly, in case the risk says nothing."""

BORROWED = 2.0
"""Audit images of its own that a domain wants in a stratum; what it lacks it takes over from the rest of it."""

_TAIL = 1e-6
_DRAWS = 400
_LEAST_EVIDENCE = 3
_POSITIONS = 1000
_CURVES = 20


class NoAudit(ArrayRefused):
    """Unknown images, and not one answered audit image to judge them by."""


@dataclass(frozen=True)
class AuditPlan:
    """Which images to audit.

    Attributes:
        strata: (N,) int64 stratum of each image, 0 = lowest risk; `OUTSIDE` for images known before the draw.
        sizes: audit images a stratum, all draws together.
        images: (n,) indices to audit in this order. Any beginning of it is a valid (smaller) audit within each
            stratum.
        half_width: wanted half of the interval's width, as a share of the dataset.
        expected_half_width: the one to expect of this plan at `expected_rate`; above `half_width` never.
        expected_rate: share of wrong labels that the sizes rest on, among the images that are sampled from.
        confidence: of the interval.
    """

    strata: Int64Array
    sizes: tuple[int, ...]
    images: Int64Array
    half_width: float
    expected_half_width: float
    expected_rate: float
    confidence: float


@dataclass(frozen=True)
class Interval:
    """A number of errors: the best guess, and whole bounds that hold the truth with the stated confidence."""

    point: float
    low: int
    high: int


@dataclass(frozen=True)
class Cell:
    """One stratum's part of an estimate, before or after the queue's reach.

    Attributes:
        stratum: its number.
        reached: whether the queue has come past these images.
        images: images of the target in this cell.
        unknown: of those, the ones whose truth nobody knows.
        audited, wrong: audit images of the target with an answer, and those found wrong.
        prior_wrong, prior_right: pseudo-counts added to the audit's.
        borrowed, borrowed_rate: of those, how many images' worth come from outside the target, and their error rate.
    """

    stratum: int
    reached: bool
    images: int
    unknown: int
    audited: int
    wrong: int
    prior_wrong: float
    prior_right: float
    borrowed: float = 0.0
    borrowed_rate: float = 0.0


@dataclass(frozen=True)
class ErrorEstimate:
    """Wrong given labels in a target population.

    Attributes:
        images: size of the target.
        known: images of it whose truth is known, by the queue, the audit or otherwise.
        found: those of them that are wrong. They count as repaired.
        audited, audited_wrong: the audit images that the interval rests on.
        remaining: errors among the images whose truth is not known.
        total: the same plus `found`.
        remaining_at_most: errors remain in no greater number, one-sided, at `confidence`.
        confidence: of all three.
        cells: the parts.
    """

    images: int
    known: int
    found: int
    audited: int
    audited_wrong: int
    remaining: Interval
    total: Interval
    remaining_at_most: int
    confidence: float
    cells: tuple[Cell, ...] = field(repr=False)

    @property
    def remaining_share(self) -> tuple[float, float, float]:
        """Point, low and high of the remaining errors as shares 0..1 of the target."""
        return _shares(self.remaining, self.images)

    @property
    def total_share(self) -> tuple[float, float, float]:
        """Point, low and high of all errors as shares 0..1 of the target."""
        return _shares(self.total, self.images)


@dataclass(frozen=True)
class DomainEstimate:
    """The estimate of one split, class or source."""

    domain: int
    estimate: ErrorEstimate


@dataclass(frozen=True)
class RecallForecast:
    """About how many more reviews find the wanted share of the errors.

    Attributes:
        recall: the wanted share.
        recall_now: the share found so far: point, low, high.
        reviews: how many more down the queue; None where the audit cannot tell yet.
        low, high: bounds of it; None with it.
        unreviewed: images that are left; no forecast is larger.
        more_audit: where it cannot tell, or `high - low` is more than twice `reviews`, the audit images that are
            likely to mend that; sometimes all that are left, and then reviewing on costs less. None otherwise.
    """

    recall: float
    recall_now: tuple[float, float, float]
    reviews: int | None
    low: int | None
    high: int | None
    unreviewed: int
    more_audit: int | None


@dataclass(frozen=True)
class QueuePrecision:
    """How many of the reviewed suspicions were right.

    Attributes:
        reviewed, wrong: verdicts so far, and labels found wrong.
        precision, low, high: that share, and an interval for the chance behind it; None before the first verdict.
        recent_reviewed, recent_wrong, recent_precision, recent_low, recent_high: the same of the last ones: what the
            next reviews are likely to bring.
    """

    reviewed: int
    wrong: int
    precision: float | None
    low: float | None
    high: float | None
    recent_reviewed: int
    recent_wrong: int
    recent_precision: float | None
    recent_low: float | None
    recent_high: float | None


@dataclass(frozen=True)
class StopVerdict:
    """Whether the dataset is clean enough.

    Attributes:
        advice: `stop` (at most the allowed errors remain, surely enough), `review` (more than that are expected), or
            `audit` (fewer are expected, but the audit is too small to be sure).
        allowed, allowed_share: errors that may remain, as a number and as a share of the images.
        remaining: the best guess of what does.
        at_most: the upper bound, one-sided at `confidence`.
        confidence: how sure.
        more_audit: audit images that are likely to settle it where the advice is `audit`.
    """

    advice: str
    allowed: int
    allowed_share: float
    remaining: float
    at_most: int
    confidence: float
    more_audit: int | None


@dataclass(frozen=True)
class SourceNoise:
    """Wrong labels of one source (host, folder).

    Attributes:
        source: its number.
        reviewed, reviewed_wrong: images known from anywhere. Their rate flatters nobody: the queue picks the worst
            first, so it is no estimate of the source.
        estimate: errors among its images here, from the audit and what is known.
        rate: the share of wrong labels to expect of it, drawn towards all sources' mean the more the less is known.
        low, high: interval of that rate.
        noisier: whether it is noisier than the rest by more than chance, at 5 % false discoveries.
        p_value: of that comparison alone.
    """

    source: int
    reviewed: int
    reviewed_wrong: int
    estimate: ErrorEstimate
    rate: float
    low: float
    high: float
    noisier: bool
    p_value: float

    @property
    def reviewed_rate(self) -> float | None:
        """Wrong among reviewed: biased upwards by the ranking; for the record only."""
        return self.reviewed_wrong / self.reviewed if self.reviewed else None


def plan_audit(
    risk: AnyFloatArray,
    *,
    half_width: float = 0.01,
    confidence: float = 0.95,
    expected_rate: float | None = None,
    known: BoolArray | None = None,
    strata: int = STRATA,
    seed: int = 0,
) -> AuditPlan:
    """Choose an audit sample just large enough for an interval of the wanted width.

    Images are cut by risk into strata with equal sums of the standard deviation √(p(1−p)) that the risk predicts, so
    that Neyman's optimal allocation is (nearly) the same number in each: Särndal, Swensson and Wretman, "Model
    assisted survey sampling", 1992, section 12.4; Neyman, "On the two different aspects of the representative method",
    1934. The predicted p mixes the risk with a constant (`GUARD`), so a risk that says nothing costs some width and
    never the validity. Images of equal risk share a stratum. Sampling is without replacement.

    Near-duplicates need no care here: the images of a stratum are drawn at random whatever resembles what.

    Args:
        risk: (N,) predicted chance 0..1 of a wrong label, high = likely wrong; only its order must make sense.
        half_width: wanted, as a share of the dataset: .01 is ± 1 point.
        confidence: of the interval, in (0, 1).
        expected_rate: share of wrong labels to plan for, in (0, 1); by default the mean risk, kept
            in .5 to 5 %. Too low a guess is put right by `extend_audit`; too high a one is wasted clicks.
        known: (N,) bool, images whose truth is known already; they need no audit and get the stratum `OUTSIDE`.
        strata: at most so many.
        seed: the same seed draws the same images.

    Returns:
        The plan; with nothing unknown it has no images.

    Raises:
        ArrayRefused: no images, a risk that is NaN or outside 0..1, a width or rate out of range.
    """
    risk = _checked_risk(risk)
    _open_unit(half_width, "a half-width (a share of the dataset)")
    _open_unit(confidence, "a confidence")
    if strata < 1:
        raise ArrayRefused(f"expected 1 stratum or more, received {strata}")
    count = len(risk)
    free = np.ones(count, dtype=bool) if known is None else ~_flags(known, count, "known")
    if expected_rate is None:
        expected_rate = float(np.clip(risk[free].mean(), 0.005, 0.05)) if free.any() else 0.0
    else:
        _open_unit(expected_rate, "an expected rate")
    stratum_of = np.full(count, OUTSIDE, dtype=np.int64)
    if not free.any():
        return AuditPlan(stratum_of, (), np.empty(0, np.int64), half_width, 0.0, expected_rate, confidence)
    predicted = _predicted_rate(risk[free], expected_rate)
    stratum_of[free] = _equal_spread_strata(risk[free], np.sqrt(predicted * (1 - predicted)), strata)
    sizes = np.bincount(stratum_of[free])
    rates = np.bincount(stratum_of[free], weights=predicted) / sizes
    taken, width = _sample_sizes(sizes, rates, np.zeros_like(sizes), half_width * count, confidence)
    chosen = _draw(stratum_of, free, taken, seed)
    return AuditPlan(stratum_of, tuple(taken.tolist()), chosen, half_width, width / count, expected_rate, confidence)


def extend_audit(
    strata: AnyIntArray,
    sampled: BoolArray,
    wrong: AnyIntArray,
    *,
    risk: AnyFloatArray,
    half_width: float = 0.01,
    confidence: float = 0.95,
    reached: BoolArray | None = None,
    seed: int = 1,
) -> AuditPlan:
    """Draw further audit images: strata stay, the first sample counts on, and what it found sets the new sizes.

    Only images that are still unknown are drawn. Unknown images of stratum `OUTSIDE` (imported since) become one new
    stratum. A random sample of what a random sample left is, with it, one random sample, so both are used together.

    Args:
        strata: (N,) from the plan, `OUTSIDE` for images imported since.
        sampled: (N,) bool, images drawn before.
        wrong: (N,) -1 unknown, 0 right, 1 wrong.
        risk: (N,) as in `plan_audit`; sets the rate to expect of new images.
        half_width, confidence, seed: as in `plan_audit`. The width is that of the errors remaining.
        reached: as in `estimate_errors`.

    Returns:
        The plan of the further draw. `images` holds the new ones only; drawn ones without an answer are still to do.

    Raises:
        ArrayRefused: arrays that do not fit, a width out of range.
    """
    risk = _checked_risk(risk)
    _open_unit(half_width, "a half-width (a share of the dataset)")
    _open_unit(confidence, "a confidence")
    strata, sampled, wrong, passed = _checked(strata, sampled, wrong, reached, allow_new=True)
    if len(risk) != len(strata):
        raise ArrayRefused(f"expected as many risks as strata, received {len(risk)} and {len(strata)}")
    count = len(strata)
    new = (strata == OUTSIDE) & (wrong == UNKNOWN)
    stratum_of = strata.copy()
    if new.any():
        stratum_of[new] = strata.max() + 1
    free = (wrong == UNKNOWN) & ~sampled
    if not free.any():
        return AuditPlan(stratum_of, (), np.empty(0, np.int64), half_width, 0.0, 0.0, confidence)
    of = np.where(stratum_of == OUTSIDE, 0, stratum_of)
    strata_count = int(of.max()) + 1

    def tally(which: BoolArray) -> Int64Array:
        return np.bincount(of[which & (stratum_of != OUTSIDE)], minlength=strata_count)

    # An audit image is a random one of its part of the stratum: before, or past, the queue's reach.
    had = tally(sampled & ~passed)
    sizes = tally(free) + had
    answered = (sampled & (wrong != UNKNOWN) & ~passed & ~new).any()
    if answered:
        judged = strata != OUTSIDE
        so_far = estimate_errors(strata[judged], sampled[judged], wrong[judged], reached=passed[judged])
        unknown = so_far.images - so_far.known
        rate = float(np.clip(_posterior_of(so_far.cells).mean / max(unknown, 1), 1e-4, 0.5))
    else:
        rate = float(np.clip(risk[free].mean(), 0.005, 0.05))
    # Only the total follows what the first sample found. Following it stratum by stratum would sample least where it
    # was luckiest, and leave the luck in the estimate: 40 % too few errors and 72 % coverage in one simulation.
    open_images = tally(free)
    mass = np.bincount(of[free], weights=_predicted_rate(risk[free], rate), minlength=strata_count)
    rates = np.divide(mass, open_images, out=np.full(strata_count, rate), where=open_images > 0)
    taken, width = _sample_sizes(sizes, rates, had, half_width * count, confidence)
    chosen = _draw(stratum_of, free, taken - had, seed)
    rate = float((sizes * rates).sum() / sizes.sum())
    return AuditPlan(
        stratum_of, tuple((tally(sampled) + taken - had).tolist()), chosen, half_width, width / count, rate, confidence
    )


def reached_by_queue(priority: AnyFloatArray, sampled: BoolArray, wrong: AnyIntArray, *, around: int = 10) -> BoolArray:
    """Tell which audit images the queue would have come to by now, had the audit not settled them first.

    Without it the audit images at the top of the ranking would speak for images further down, and the errors
    remaining would come out too high.

    Args:
        priority: (N,) the queue's order, high = earlier. Any finite numbers.
        sampled: (N,) bool, audit images.
        wrong: (N,) -1 unknown, 0 right, 1 wrong.
        around: how many neighbours in the order decide, half on each side.

    Returns:
        (N,) bool: images outside the audit that are known, and audit images most of whose neighbours outside the
        audit are.

    Raises:
        ArrayRefused: arrays that do not fit.
    """
    priority = _finite(priority, "priority")
    sampled = _flags(sampled, len(priority), "sampled")
    known = _truth(wrong, len(priority)) != UNKNOWN
    reached: BoolArray = known & ~sampled
    others = np.flatnonzero(~sampled)
    if not len(others) or not sampled.any():
        return reached
    others = others[np.argsort(-priority[others], kind="stable")]
    place = np.searchsorted(-priority[others], -priority[sampled])
    around = min(max(around, 1), len(others))
    first = np.clip(place - around // 2, 0, len(others) - around)
    so_far = np.concatenate([[0], np.cumsum(known[others])])
    reached[sampled] = 2 * (so_far[first + around] - so_far[first]) > around
    return reached


def estimate_errors(
    strata: AnyIntArray,
    sampled: BoolArray,
    wrong: AnyIntArray,
    *,
    reached: BoolArray | None = None,
    target: BoolArray | None = None,
    confidence: float = 0.95,
) -> ErrorEstimate:
    """Estimate how many given labels are wrong, and how many of those nobody has found.

    Known images are counted; only unknown ones are estimated, each stratum from its own audit images (and where
    reviews have begun, those the queue has not passed from the audit images it has not passed). A stratum without
    unknown images adds no uncertainty. The module's docstring tells where the interval comes from. A target that is
    only a part (a split, a class) uses its own audit images, and borrows `BORROWED` images' worth from the rest of
    each stratum; where it has no audit image at all its interval rests on that loan and is wide.

    Args:
        strata: (N,) from the plan.
        sampled: (N,) bool, the audit images. Those without an answer count as not drawn.
        wrong: (N,) -1 unknown, 0 the given label is right, 1 wrong.
        reached: (N,) bool from `reached_by_queue`; by default no audit image counts as passed by the queue.
        target: (N,) bool, the images to speak of; by default all.
        confidence: in (0, 1).

    Returns:
        Counts with intervals.

    Raises:
        ArrayRefused: arrays that do not fit, an empty target, unknown images outside every stratum (call
            `extend_audit`).
        NoAudit: no answered audit image at all while images are unknown.
    """
    _open_unit(confidence, "a confidence")
    strata, sampled, wrong, passed = _checked(strata, sampled, wrong, reached)
    chosen = np.ones(len(strata), dtype=bool) if target is None else _flags(target, len(strata), "target")
    if not chosen.any():
        raise ArrayRefused("expected a target of one image or more, received none")
    return _by_cells(strata, sampled, wrong, passed, np.where(chosen, 0, 1), 1, confidence)[0]


def estimate_by_domain(
    strata: AnyIntArray,
    sampled: BoolArray,
    wrong: AnyIntArray,
    domains: AnyIntArray,
    *,
    reached: BoolArray | None = None,
    confidence: float = 0.95,
) -> tuple[DomainEstimate, ...]:
    """`estimate_errors` for each split, class or source.

    Each interval is honest by itself; their ends do not add up to those of the whole.

    Args:
        strata, sampled, wrong, reached, confidence: as in `estimate_errors`.
        domains: (N,) whole numbers; negative ones belong to no domain.

    Returns:
        One a domain that has images, by number.

    Raises:
        ArrayRefused: as in `estimate_errors`.
    """
    _open_unit(confidence, "a confidence")
    strata, sampled, wrong, passed = _checked(strata, sampled, wrong, reached)
    domains = _whole(domains, len(strata), "domains")
    numbers = np.unique(domains[domains >= 0])
    # Images of no domain get a number of their own, so that others can still borrow from them.
    place = np.where(domains >= 0, np.searchsorted(numbers, domains), len(numbers))
    estimates = _by_cells(strata, sampled, wrong, passed, place, len(numbers), confidence)
    return tuple(DomainEstimate(int(number), one) for number, one in zip(numbers, estimates, strict=True))


def reviews_for_recall(
    priority: AnyFloatArray,
    strata: AnyIntArray,
    sampled: BoolArray,
    wrong: AnyIntArray,
    *,
    risk: AnyFloatArray | None = None,
    reached: BoolArray | None = None,
    recall: float = 0.95,
    confidence: float = 0.95,
    seed: int = 0,
) -> RecallForecast:
    """Forecast how many more reviews down the queue it takes to find the wanted share of all errors.

    How many errors each stratum still holds comes from the audit alone, as in `estimate_errors`. How they lie inside
    a stratum comes from a rising curve of risk (logistic in its rank and its log-odds, fitted to the queue's verdicts
    and to the audit's, each audit image weighing what it stands for). 400 seeded draws, with 20 resampled curves and
    the chance of where the last wanted error lies, give the interval. Estimating recall from a random sample is
    established in document review: Lewis, Yang and Frieder, "Certifying one-phase technology-assisted reviews", CIKM
    2021, whose rules use quantiles of such a sample; Yang, Lewis and Frieder, "Heuristic stopping rules for
    technology-assisted review", DocEng 2021, fit a model, as is done here.

    Args:
        priority: (N,) the queue's order, high = earlier.
        strata, sampled, wrong, reached: as in `estimate_errors`.
        risk: (N,) 0..1 predicted chance of a wrong label; by default errors are taken to rise with `priority`.
        recall: wanted share of all errors, in (0, 1).
        confidence: of the interval.
        seed: of the draws.

    Returns:
        The forecast. `reviews` is None where the audit found fewer than three errors among the images that are left,
        unless even the upper bound of what remains is small enough already (then 0).

    Raises:
        ArrayRefused: as in `estimate_errors`, or priorities that are not finite.
    """
    _open_unit(recall, "a recall")
    estimate = estimate_errors(strata, sampled, wrong, reached=reached, confidence=confidence)
    strata, sampled, wrong, passed = _checked(strata, sampled, wrong, reached)
    priority = _finite(priority, "priority")
    risk = None if risk is None else _checked_risk(risk)
    if len(priority) != len(strata) or (risk is not None and len(risk) != len(strata)):
        raise ArrayRefused(
            f"expected as many priorities and risks as strata ({len(strata)}), received {len(priority)} and "
            f"{'none' if risk is None else len(risk)}"
        )
    found, left = estimate.found, estimate.images - estimate.known
    now = _recall(found, estimate.remaining)

    def forecast(reviews: int | None, low: int | None, high: int | None, more: int | None) -> RecallForecast:
        return RecallForecast(recall, now, reviews, low, high, left, more)

    if not left or found >= recall * (found + estimate.remaining.high):
        return forecast(0, 0, 0, None)
    answered = sum(cell.audited for cell in estimate.cells if cell.unknown)
    evidence = sum(cell.wrong for cell in estimate.cells if cell.unknown)
    may_stay = int(np.floor(found * (1 - recall) / recall + 1e-9))

    def wanted_audit(times: float) -> int:
        if estimate.remaining.point <= may_stay:
            # Probably found already: what is missing is the audit that shows it.
            return _audit_to_show(estimate, may_stay)
        return min(left, max(1, ceil(max(answered, 1) * times)))

    if evidence < _LEAST_EVIDENCE:
        return forecast(None, None, None, wanted_audit(_LEAST_EVIDENCE / max(evidence, 0.5) - 1))
    needed = _draw_reviews(priority, risk, (strata, sampled, wrong, passed), estimate, recall, seed)
    tail = (1 - confidence) / 2
    low, high = (int(value) for value in np.quantile(needed[1:], (tail, 1 - tail), method="nearest"))
    point = int(np.clip(needed[0], low, high))
    # Widths fall with the root of the sample.
    excess = ((high - low) / (2 * max(point, 1))) ** 2 - 1
    return forecast(point, low, high, wanted_audit(excess) if excess > 0 else None)


def queue_precision(wrong: AnyIntArray, *, window: int = 200, confidence: float = 0.95) -> QueuePrecision:
    """Tell how many of the queue's suspicions were right, so far and lately.

    Intervals are Jeffreys': Brown, Cai and DasGupta, Statistical Science 2001. They speak of the chance behind the
    verdicts; the counts themselves are exact.

    Args:
        wrong: (R,) 0 right, 1 wrong, of the queue's reviewed images, the earliest first; audit images are not the
            queue's.
        window: how many of the last ones are recent.
        confidence: in (0, 1).

    Returns:
        Counts and shares.

    Raises:
        ArrayRefused: other values than 0 and 1, a window below 1.
    """
    _open_unit(confidence, "a confidence")
    if window < 1:
        raise ArrayRefused(f"expected a window of 1 review or more, received {window}")
    verdicts = np.asarray(wrong)
    if verdicts.ndim != 1 or not np.isin(verdicts, (RIGHT, WRONG)).all():
        raise ArrayRefused(f"expected a row of verdicts 0 (right) and 1 (wrong), received {_shown(verdicts)}")
    recent = verdicts[-window:]
    return QueuePrecision(
        *_share_of(len(verdicts), int(verdicts.sum()), confidence),
        *_share_of(len(recent), int(recent.sum()), confidence),
    )


def stop_rule(estimate: ErrorEstimate, *, allowed_share: float = 0.01) -> StopVerdict:
    """Say whether to stop, to review on, or to audit more.

    Stop when the one-sided upper bound of the errors remaining (at the estimate's confidence) is at most the allowed
    share of the images. Callaghan and Müller-Hansen, "Statistical stopping criteria for automated screening in
    systematic reviews", Systematic Reviews 2020, bound what remains by a hypergeometric test on a random sample of
    it; Cormack and Grossman, "Engineering quality and reliability in technology-assisted review", SIGIR 2016, hold
    a random target set apart. Here the sample is stratified. Looking again after each review is harmless, for the
    same audit answers each time; drawing again and again until the bound is met is not: the more draws, the likelier
    that a lucky one ends the work.

    Args:
        estimate: of the images that the rule is for; its confidence is the rule's.
        allowed_share: of those images whose labels may remain wrong, in (0, 1).

    Returns:
        The verdict with the numbers it rests on.

    Raises:
        ArrayRefused: a share out of range.
    """
    _open_unit(allowed_share, "an allowed share")
    # Exact in floats for every whole number of images: 1 % of 300 is 3, not 2.
    allowed = int(np.floor(round(allowed_share * estimate.images, 9)))

    def verdict(advice: str, more: int | None = None) -> StopVerdict:
        point, at_most = estimate.remaining.point, estimate.remaining_at_most
        return StopVerdict(advice, allowed, allowed_share, point, at_most, estimate.confidence, more)

    if estimate.remaining_at_most <= allowed:
        return verdict("stop")
    if estimate.remaining.point > allowed:
        return verdict("review")
    return verdict("audit", _audit_to_show(estimate, allowed))


def noise_by_source(
    strata: AnyIntArray,
    sampled: BoolArray,
    wrong: AnyIntArray,
    sources: AnyIntArray,
    *,
    reached: BoolArray | None = None,
    confidence: float = 0.95,
    false_discoveries: float = 0.05,
) -> tuple[SourceNoise, ...]:
    """Estimate each source's noise.

    Known images weigh what they stand for: 1 for those that the queue or anything else settled, their stratum's
    inverse sampling rate for audit images. Each source's weighted share with Kish's effective sample size (1965)
    feeds an empirical Bayes beta-binomial over all sources (Casella, "An introduction to empirical Bayes data
    analysis", The American Statistician 1985), so a small source is drawn to the mean. A source is noisier where its
    rate lies above the rest's by more than chance, with false discoveries kept by Benjamini and Hochberg (1995).

    Args:
        strata, sampled, wrong, reached, confidence: as in `estimate_errors`.
        sources: (N,) whole numbers; negative ones have no source.
        false_discoveries: share of `noisier` flags that may be false, in (0, 1).

    Returns:
        One a source, by number.

    Raises:
        ArrayRefused: as in `estimate_errors`.
    """
    _open_unit(false_discoveries, "a share of false discoveries")
    domains = estimate_by_domain(strata, sampled, wrong, sources, reached=reached, confidence=confidence)
    if not domains:
        return ()
    strata, sampled, wrong, passed = _checked(strata, sampled, wrong, reached)
    sources = _whole(sources, len(strata), "sources")
    use = (wrong != UNKNOWN) & (sources >= 0)
    place = np.searchsorted([one.domain for one in domains], sources[use])
    weight = _weights(strata, sampled, wrong, passed)[use]

    def by_source(values: Float64Array) -> Float64Array:
        return np.bincount(place, weights=values, minlength=len(domains)).astype(np.float64)

    mass, squares, errors = by_source(weight), by_source(weight**2), by_source(weight * (wrong[use] == WRONG))
    seen = np.divide(mass**2, squares, out=np.zeros_like(mass), where=squares > 0)
    bad = np.divide(errors, mass, out=np.zeros_like(mass), where=mass > 0) * seen
    mean, strength = _shared_rate(bad, seen)
    first, second = bad + mean * strength, seen - bad + (1 - mean) * strength
    tail = (1 - confidence) / 2
    low, high = (special.betaincinv(first, second, q) for q in (tail, 1 - tail))
    chances = _above_the_rest(bad, seen)
    noisier = _discoveries(chances, false_discoveries)
    return tuple(
        SourceNoise(
            source=one.domain,
            reviewed=one.estimate.known,
            reviewed_wrong=one.estimate.found,
            estimate=one.estimate,
            rate=float(first[at] / (first[at] + second[at])),
            low=float(low[at]),
            high=float(high[at]),
            noisier=bool(noisier[at]),
            p_value=float(chances[at]),
        )
        for at, one in enumerate(domains)
    )


# ---------------------------------------------------------------------------------------------------- the plan


def _predicted_rate(risk: Float64Array, rate: float) -> Float64Array:
    mean = risk.mean()
    shape = risk / mean if mean > 0 else np.ones_like(risk)
    predicted: Float64Array = np.clip(rate * ((1 - GUARD) * shape + GUARD), 1e-6, 0.5)
    return predicted


def _equal_spread_strata(risk: Float64Array, spread: Float64Array, strata: int) -> Int64Array:
    _, inverse = np.unique(risk, return_inverse=True)
    so_far = np.cumsum(np.bincount(inverse, weights=spread))
    # The middle of a tie decides, so that one heavy value does not push all others into the last stratum.
    middle = so_far - np.diff(so_far, prepend=0.0) / 2
    cut = np.minimum((middle / so_far[-1] * strata).astype(np.int64), strata - 1)
    _, numbered = np.unique(cut, return_inverse=True)
    stratum_of: Int64Array = numbered[inverse].astype(np.int64)
    return stratum_of


def _sample_sizes(
    sizes: Int64Array, rates: Float64Array, at_least: Int64Array, half_width: float, confidence: float
) -> tuple[Int64Array, float]:
    """Sizes a stratum for a half-width in images, and the half-width to expect."""

    def exact(taken: Int64Array) -> float:
        posterior = _posterior(*_cells_of(sizes, taken, taken * rates))
        low, high = posterior.interval(confidence)
        return (high - low) / 2

    def rough(taken: Int64Array) -> float:
        unknown, seen, bad, first, second = _cells_of(sizes, taken, taken * rates)
        a, b = bad + first, seen - bad + second
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = unknown * a * b * (a + b + unknown) / ((a + b) ** 2 * (a + b + 1))
        return float(special.ndtri((1 + confidence) / 2) * np.sqrt(np.where(unknown > 0, spread, 0.0).sum()))

    # Neyman's rule: so many images for each unit of a stratum's spread, between a minimum and all of it.
    share = sizes * np.sqrt(np.clip(rates * (1 - rates), 1e-9, None))
    least = np.minimum(sizes, np.maximum(at_least, MINIMUM_A_STRATUM))
    most = float(np.divide(sizes, share, out=np.zeros_like(share), where=share > 0).max())

    def allocate(density: float) -> Int64Array:
        taken: Int64Array = np.clip(np.ceil(density * share - 1e-6), least, sizes).astype(np.int64)
        return taken

    def density_for(wanted: float) -> float:
        few, many = 0.0, most
        for _ in range(24):
            middle = (few + many) / 2
            few, many = (few, middle) if rough(allocate(middle)) <= wanted else (middle, many)
        return many

    # The normal width is quick; its ratio to the exact one hardly moves with the size, so a few rounds meet.
    wanted = half_width
    for _ in range(4):
        density = density_for(wanted)
        width = exact(allocate(density))
        if 0.97 * half_width <= width <= half_width or width == 0:
            break
        wanted *= half_width / width
    while width > half_width:
        density *= 1.02
        width = exact(allocate(density))
    return allocate(density), width


def _draw(stratum_of: Int64Array, free: BoolArray, taken: Int64Array, seed: int) -> Int64Array:
    random = np.random.default_rng(seed)
    chosen = [
        random.choice(np.flatnonzero(free & (stratum_of == stratum)), int(number), replace=False)
        for stratum, number in enumerate(taken)
        if number > 0
    ]
    return random.permutation(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)


# ------------------------------------------------------------------------------------------------ the estimate


@dataclass(frozen=True)
class _Counts:
    """A distribution over whole numbers: `chances[k]` is that of `first + k`."""

    first: int
    chances: Float64Array

    @property
    def mean(self) -> float:
        return self.first + float((np.arange(len(self.chances)) * self.chances).sum())

    def quantile(self, probability: float) -> int:
        so_far = np.cumsum(self.chances)
        return self.first + int(min(np.searchsorted(so_far, probability * so_far[-1]), len(so_far) - 1))

    def interval(self, confidence: float) -> tuple[int, int]:
        tail = (1 - confidence) / 2
        return self.quantile(tail), self.quantile(1 - tail)


def _cells_of(
    sizes: AnyIntArray, taken: AnyIntArray, bad: AnyFloatArray
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array, Float64Array]:
    """Arguments of `_posterior` for whole strata."""
    unknown = (sizes - taken).astype(np.float64)
    pseudo = _half_an_error(unknown, sizes / np.maximum(taken, 0.5))
    return unknown, taken.astype(np.float64), np.asarray(bad, dtype=np.float64), pseudo, pseudo


def _half_an_error(unknown: Float64Array, stands_for: Float64Array) -> Float64Array:
    """One half of a pseudo-error (and of a pseudo-success), shared by what one audit image of a cell stands for."""
    weight = np.where(unknown > 0, stands_for, 0.0)
    total = weight.sum()
    shared: Float64Array = 0.5 * weight / total if total > 0 else weight
    return shared


def _posterior(
    unknown: Float64Array, seen: Float64Array, bad: Float64Array, first: Float64Array, second: Float64Array
) -> _Counts:
    """Errors among the unknown images of all cells together."""
    offset, chances = 0, np.ones(1)
    for count, a, b in zip(unknown, bad + first, seen - bad + second, strict=True):
        if count < 1:
            continue
        cell = _beta_binomial(int(count), float(a), float(b))
        offset += cell.first
        if min(len(chances), len(cell.chances)) < 64:
            chances = np.convolve(chances, cell.chances)
        else:
            chances = np.maximum(signal.fftconvolve(chances, cell.chances), 0.0)
    return _Counts(offset, chances / chances.sum())


def _beta_binomial(count: int, a: float, b: float) -> _Counts:
    """Beta-binomial chances where they matter: all but about a millionth on either side."""
    low, high = (float(special.betaincinv(a, b, q)) for q in (_TAIL, 1 - _TAIL))
    start = max(0, int(count * low - 6 * np.sqrt(count * low * (1 - low) + 1)) - 2)
    end = min(count, int(count * high + 6 * np.sqrt(count * high * (1 - high) + 1)) + 3)
    k = np.arange(start, end + 1, dtype=np.float64)
    logs = special.gammaln(k + a) - special.gammaln(k + 1)
    logs += special.gammaln(count - k + b) - special.gammaln(count - k + 1)
    chances = np.exp(logs - logs.max())
    return _Counts(start, chances / chances.sum())


def _by_cells(
    strata: Int64Array,
    sampled: BoolArray,
    wrong: Int64Array,
    passed: BoolArray,
    domain: Int64Array,
    domains: int,
    confidence: float,
) -> list[ErrorEstimate]:
    """One estimate for each of the domains 0..domains−1; higher numbers only lend."""
    cells = 2 * (int(strata.max()) + 1)
    inside = strata != OUTSIDE
    cell = np.where(inside, 2 * strata + passed, 0)
    answered = inside & sampled & (wrong != UNKNOWN)
    if (wrong == UNKNOWN).any() and not answered.any():
        raise NoAudit(
            "expected one answered audit image or more, received none: plan an audit and have it reviewed first"
        )
    columns = max(domains, int(domain.max()) + 1)

    def tally(which: BoolArray) -> Int64Array:
        flat = np.bincount(cell[which] * columns + domain[which], minlength=cells * columns)
        return flat.reshape(cells, columns)

    images, unknown = tally(inside), tally(inside & (wrong == UNKNOWN))
    seen, bad = tally(answered), tally(answered & (wrong == WRONG))
    all_seen, all_bad, all_unknown = seen.sum(axis=1), bad.sum(axis=1), unknown.sum(axis=1)
    stands_for = (all_unknown + all_seen) / np.maximum(all_seen, 0.5)
    size = np.bincount(domain, minlength=columns)
    known = np.bincount(domain[wrong != UNKNOWN], minlength=columns)
    found = np.bincount(domain[wrong == WRONG], minlength=columns)
    estimates = []
    for at in range(domains):
        others, others_bad = all_seen - seen[:, at], all_bad - bad[:, at]
        borrowed = np.minimum(others, np.maximum(BORROWED - seen[:, at], 0))
        lent_rate = np.divide(others_bad, others, out=np.zeros(cells), where=others > 0)
        pseudo = _half_an_error(unknown[:, at].astype(np.float64), stands_for)
        parts = tuple(
            Cell(
                stratum=number // 2,
                reached=bool(number % 2),
                images=int(images[number, at]),
                unknown=int(unknown[number, at]),
                audited=int(seen[number, at]),
                wrong=int(bad[number, at]),
                prior_wrong=float(pseudo[number] + borrowed[number] * lent_rate[number]),
                prior_right=float(pseudo[number] + borrowed[number] * (1 - lent_rate[number])),
                borrowed=float(borrowed[number]),
                borrowed_rate=float(lent_rate[number]),
            )
            for number in range(cells)
            if images[number, at]
        )
        estimates.append(_estimate(parts, int(size[at]), int(known[at]), int(found[at]), confidence))
    return estimates


def _estimate(cells: tuple[Cell, ...], images: int, known: int, found: int, confidence: float) -> ErrorEstimate:
    posterior = _posterior_of(cells)
    low, high = posterior.interval(confidence)
    point = float(np.clip(sum(cell.unknown * _cell_rate(cell) for cell in cells), low, high))
    return ErrorEstimate(
        images=images,
        known=known,
        found=found,
        audited=sum(cell.audited for cell in cells),
        audited_wrong=sum(cell.wrong for cell in cells),
        remaining=Interval(point, low, high),
        total=Interval(found + point, found + low, found + high),
        remaining_at_most=posterior.quantile(confidence),
        confidence=confidence,
        cells=cells,
    )


def _cell_rate(cell: Cell) -> float:
    """Unbiased where nothing is borrowed; the half error would lift a point by what a whole stratum stands for."""
    seen = cell.audited + cell.borrowed
    if seen > 0:
        return (cell.wrong + cell.borrowed * cell.borrowed_rate) / seen
    return 0.5


def _posterior_of(cells: Sequence[Cell]) -> _Counts:
    columns = [(one.unknown, one.audited, one.wrong, one.prior_wrong, one.prior_right) for one in cells]
    table = np.array(columns, dtype=np.float64).reshape(-1, 5)
    return _posterior(*table.T)


def _weights(strata: Int64Array, sampled: BoolArray, wrong: Int64Array, passed: BoolArray) -> Float64Array:
    """(N,) how many images a known one stands for; 0 where unknown."""
    inside = strata != OUTSIDE
    cell = np.where(inside, 2 * strata + passed, 0)
    answered = inside & sampled & (wrong != UNKNOWN)
    cells = int(cell.max()) + 1
    seen = np.bincount(cell[answered], minlength=cells)
    unknown = np.bincount(cell[inside & (wrong == UNKNOWN)], minlength=cells)
    stands_for = 1 + unknown / np.maximum(seen, 1)
    return np.where(answered, stands_for[cell], (wrong != UNKNOWN).astype(np.float64))


# ------------------------------------------------------------------------------------------------ the forecast


def _draw_reviews(
    priority: Float64Array,
    risk: Float64Array | None,
    arrays: tuple[Int64Array, BoolArray, Int64Array, BoolArray],
    estimate: ErrorEstimate,
    recall: float,
    seed: int,
) -> Int64Array:
    """Reviews needed: first by the best guess, then in each draw."""
    strata, sampled, wrong, passed = arrays
    open_cells = [cell for cell in estimate.cells if cell.unknown]
    order = np.flatnonzero(wrong == UNKNOWN)
    order = order[np.argsort(-priority[order], kind="stable")]
    numbers = {(cell.stratum, cell.reached): at for at, cell in enumerate(open_cells)}
    cell_of = np.array([numbers.get((number // 2, bool(number % 2)), 0) for number in range(2 * int(strata.max()) + 2)])
    cell_of = cell_of[2 * strata[order] + passed[order]]
    # Every one of the next places, and then ever fewer: a forecast needs no more than three digits.
    near = np.arange(1, min(len(order), _POSITIONS) + 1)
    ends = np.unique(np.append(near, np.geomspace(near[-1], len(order), _POSITIONS).round().astype(np.int64)))
    random = np.random.default_rng(seed)
    weight = _weights(strata, sampled, wrong, passed)
    slopes = _slopes_of(priority, risk)
    seen = np.flatnonzero(weight > 0)
    needed = []
    for curve in range(1 + _CURVES):
        jitter = np.ones(len(seen)) if curve == 0 else random.exponential(size=len(seen))
        fitted = _rising_chance(slopes[seen], wrong[seen] == WRONG, weight[seen] * jitter)
        chance = special.expit(slopes[order] @ fitted)
        path = np.zeros((len(open_cells), len(ends)))
        for at in range(len(open_cells)):
            so_far = np.cumsum(np.where(cell_of == at, chance, 0.0))
            path[at] = so_far[ends - 1] / so_far[-1]
        if curve == 0:
            left = np.array([[cell.unknown * _cell_rate(cell) for cell in open_cells]])
        else:
            left = _draw_remaining(open_cells, _DRAWS // _CURVES, random)
        total = left.sum(axis=1)
        short = np.ceil(recall * (estimate.found + total) - estimate.found - 1e-9)
        share = (left @ path) / np.maximum(total, 1e-9)[:, None]
        # Where in the queue the last of these lies is chance too: of n places on 0..1, the k-th is Beta(k, n + 1 − k).
        kth = np.clip(short, 1, np.maximum(total, 1))
        after = np.maximum(total, 1) + 1 - kth
        want = kth / (kth + after) if curve == 0 else random.beta(kth, after)
        first = np.array([np.searchsorted(row, one) for row, one in zip(share, want, strict=True)])
        needed.append(np.where(short <= 0, 0, ends[np.minimum(first, len(ends) - 1)]))
    return np.concatenate(needed)


def _draw_remaining(cells: Sequence[Cell], draws: int, random: np.random.Generator) -> Float64Array:
    """(draws, cells) errors among the unknown images."""
    columns = []
    for cell in cells:
        rate = random.beta(cell.wrong + cell.prior_wrong, cell.audited - cell.wrong + cell.prior_right, draws)
        columns.append(random.binomial(cell.unknown, rate))
    return np.stack(columns, axis=1).astype(np.float64)


def _standard_rank(values: Float64Array) -> Float64Array:
    """Ranks as log-odds: 0 in the middle, the top hundredth at about 5; equal values share theirs."""
    ordered = np.sort(values)
    middle = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
    share = (middle + 0.5) / (len(values) + 1)
    odds: Float64Array = special.logit(share)
    return odds


def _slopes_of(priority: Float64Array, risk: Float64Array | None) -> Float64Array:
    """(N, 2 or 3) a constant, the rank as log-odds, and the risk as log-odds: one of them is nearly straight."""
    columns = [np.ones(len(priority)), _standard_rank(priority if risk is None else risk)]
    if risk is not None:
        columns.append(special.logit(np.clip(risk, 1e-4, 1 - 1e-4)))
    return np.column_stack(columns)


def _rising_chance(slopes: Float64Array, bad: BoolArray, weight: Float64Array) -> Float64Array:
    """Coefficients of a weighted logistic regression that may not fall."""

    def loss(at: Float64Array) -> tuple[float, Float64Array]:
        score = slopes @ at
        gap = weight * (special.expit(score) - bad)
        value = (weight * (np.logaddexp(0, score) - bad * score)).sum() + 0.5 * (at[1:] ** 2).sum()
        return float(value), gap @ slopes + np.concatenate([[0.0], at[1:]])

    rate = np.clip((weight * bad).sum() / weight.sum(), 1e-4, 1 - 1e-4)
    start = np.concatenate([[special.logit(rate)], np.full(slopes.shape[1] - 1, 0.25)])
    bounds = [(-60.0, 60.0)] + [(0.0, 20.0)] * (len(start) - 1)
    best = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(best.x, dtype=np.float64)


def _recall(found: int, remaining: Interval) -> tuple[float, float, float]:
    def share(left: float) -> float:
        return found / (found + left) if found + left > 0 else 1.0

    return share(remaining.point), share(remaining.high), share(remaining.low)


# -------------------------------------------------------------------------------------------- stopping, sources


def _audit_to_show(estimate: ErrorEstimate, allowed: int) -> int:
    """Fewest further audit images that would bring the bound down to `allowed`, were they wrong at the same rate."""

    def larger(factor: float) -> Float64Array:
        return np.array([_grown(cell, factor) for cell in estimate.cells])

    def enough(factor: float) -> bool:
        return _posterior(*larger(factor).T).quantile(estimate.confidence) <= allowed

    def extra(factor: float) -> int:
        return int(larger(factor)[:, 1].sum()) - estimate.audited

    few, many = 1.0, 2.0
    # It ends: once everything is audited, nothing unknown remains.
    while not enough(many):
        few, many = many, many * 2
    for _ in range(12):
        middle = (few + many) / 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return max(1, extra(many))


def _grown(cell: Cell, factor: float) -> tuple[float, float, float, float, float]:
    """Arguments of `_posterior` for a cell whose audit is larger and finds the same rate."""
    audited = min(cell.audited + cell.unknown, max(ceil(cell.audited * factor), ceil(factor - 1)))
    more = audited - cell.audited
    return cell.unknown - more, audited, cell.wrong + more * _cell_rate(cell), cell.prior_wrong, cell.prior_right


def _share_of(seen: int, bad: int, confidence: float) -> tuple[int, int, float | None, float | None, float | None]:
    if not seen:
        return 0, 0, None, None, None
    tail = (1 - confidence) / 2
    low = 0.0 if bad == 0 else float(special.betaincinv(bad + 0.5, seen - bad + 0.5, tail))
    high = 1.0 if bad == seen else float(special.betaincinv(bad + 0.5, seen - bad + 0.5, 1 - tail))
    return seen, bad, bad / seen, low, high


def _shared_rate(bad: Float64Array, seen: Float64Array) -> tuple[float, float]:
    """Mean and strength (images' worth) of the beta distribution that the sources' rates come from."""
    some = seen > 0
    pooled = (bad.sum() + 0.5) / (seen.sum() + 1)
    if some.sum() < 2:
        return float(pooled), 1.0

    def loss(at: Float64Array) -> float:
        mean, strength = special.expit(at[0]), np.exp(at[1])
        a, b = mean * strength, (1 - mean) * strength
        fit = special.betaln(bad[some] + a, (seen - bad)[some] + b) - special.betaln(a, b)
        return float(-fit.sum())

    start = np.array([special.logit(pooled), np.log(20.0)])
    best = optimize.minimize(loss, start, method="L-BFGS-B", bounds=[(-12, 12), (np.log(0.5), np.log(1e4))])
    return float(special.expit(best.x[0])), float(np.exp(best.x[1]))


def _above_the_rest(bad: Float64Array, seen: Float64Array) -> Float64Array:
    """(S,) chance that a source is no noisier than all others together."""
    chances = np.empty(len(bad))
    steps = (np.arange(200) + 0.5) / 200
    for at, (wrong, count) in enumerate(zip(bad, seen, strict=True)):
        rest_bad, rest = bad.sum() - wrong, seen.sum() - count
        rates = special.betaincinv(max(rest_bad, 0) + 0.5, max(rest - rest_bad, 0) + 0.5, steps)
        chances[at] = special.betainc(wrong + 0.5, max(count - wrong, 0) + 0.5, rates).mean()
    return chances


def _discoveries(chances: Float64Array, share: float) -> BoolArray:
    """Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995."""
    ordered = np.sort(chances)
    kept = np.flatnonzero(ordered <= share * np.arange(1, len(ordered) + 1) / len(ordered))
    limit = ordered[kept[-1]] if len(kept) else -1.0
    flagged: BoolArray = chances <= limit
    return flagged


# ------------------------------------------------------------------------------------------------- the edge


def _shares(interval: Interval, images: int) -> tuple[float, float, float]:
    return interval.point / images, interval.low / images, interval.high / images


def _open_unit(value: float, name: str) -> None:
    if not (isfinite(value) and 0 < value < 1):
        raise ArrayRefused(f"expected {name} above 0 and below 1, received {value:g}")


def _checked_risk(risk: AnyFloatArray) -> Float64Array:
    values = _finite(risk, "risk")
    if not len(values):
        raise ArrayRefused("expected the risk of one image or more, received none: import images and score them first")
    if values.min() < 0 or values.max() > 1:
        raise ArrayRefused(f"expected risks 0 to 1, received {values.min():g} to {values.max():g}")
    return values


def _finite(values: AnyFloatArray, name: str) -> Float64Array:
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "fiu":
        raise ArrayRefused(f"expected one number an image as {name}, received {_shown(given)}")
    numbers = given.astype(np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise ArrayRefused(
            f"expected finite numbers as {name}, received {int(bad.sum())} that are not, the first is image "
            f"{int(bad.argmax())}: {numbers[bad][0]}"
        )
    return numbers


def _flags(values: BoolArray, count: int, name: str) -> BoolArray:
    given = np.asarray(values)
    if given.shape != (count,) or given.dtype != np.bool_:
        raise ArrayRefused(f"expected ({count},) bool as {name}, received {_shown(given)}")
    return given


def _whole(values: AnyIntArray, count: int, name: str) -> Int64Array:
    given = np.asarray(values)
    if given.shape != (count,) or given.dtype.kind not in "iu":
        raise ArrayRefused(f"expected ({count},) whole numbers as {name}, received {_shown(given)}")
    return given.astype(np.int64)


def _truth(wrong: AnyIntArray, count: int) -> Int64Array:
    values = _whole(wrong, count, "wrong")
    if count and not UNKNOWN <= int(values.min()) <= int(values.max()) <= WRONG:
        raise ArrayRefused(
            f"expected -1 (unknown), 0 (right) or 1 (wrong), received {int(values.min())} to {int(values.max())}"
        )
    return values


def _checked(
    strata: AnyIntArray, sampled: BoolArray, wrong: AnyIntArray, reached: BoolArray | None, *, allow_new: bool = False
) -> tuple[Int64Array, BoolArray, Int64Array, BoolArray]:
    count = len(np.atleast_1d(np.asarray(strata)))
    strata = _whole(strata, count, "strata")
    if not count:
        raise ArrayRefused("expected one image or more, received none")
    if strata.min() < OUTSIDE:
        raise ArrayRefused(f"expected strata of -1 (outside) or more, received {int(strata.min())}")
    sampled, wrong = _flags(sampled, count, "sampled"), _truth(wrong, count)
    if (sampled & (strata == OUTSIDE)).any():
        raise ArrayRefused(
            f"expected a stratum for every audit image, received {int((sampled & (strata == OUTSIDE)).sum())} outside: "
            "pass the strata of the plan that drew them"
        )
    strangers = (strata == OUTSIDE) & (wrong == UNKNOWN)
    if strangers.any() and not allow_new:
        raise ArrayRefused(
            f"expected every unknown image in a stratum, received {int(strangers.sum())} outside: extend the audit to "
            "images imported since it was drawn"
        )
    passed = (wrong != UNKNOWN) & ~sampled if reached is None else _flags(reached, count, "reached")
    return strata, sampled, wrong, passed


def _shown(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    return f"{values.shape} {values.dtype}"
