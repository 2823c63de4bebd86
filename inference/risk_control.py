"""Risk control: how many images a policy decides wrongly by itself, told from a random sample that people judged.

What is promised, by `widest`: with probability `confidence` over the drawing of the sample, of the images like these
that the chosen threshold decides without people, at most the share `most` is decided wrongly. It is a rate among what
is decided, not a share of all adult images, and it holds while new images are like those that were drawn from.

The bound at one threshold is the exact binomial one of Clopper and Pearson ("The use of confidence or fiducial limits
illustrated in the case of the binomial", Biometrika 1934). The threshold is chosen on the same answers, so this alone
would promise too much: a search finds the threshold where chance flatters it. `widest` tests a list of thresholds that
was fixed before anybody answered, from the most careful on, so that the chance of any false promise stays at
1 − confidence, as Angelopoulos, Bates, Candès, Jordan and Lei do ("Learn then test: calibrating predictive algorithms
to achieve risk control", 2021). Half of that chance is spent where enough images were answered to pass at all, the
other half at the threshold that the sample was drawn for, and what a threshold that passes had is handed to the next
one: the fallback procedure (Wiens, "A fixed sequence Bonferroni procedure for testing multiple endpoints",
Pharmaceutical Statistics 2003). Where it begins depends on scores and draws and never on answers.
`benchmarks/policy.py` counts how often the promise is broken.

The sample. Every image carries a random number for good, its *draw*, and people judge a side in the order of draws.
Those of a region up to the first draw that waits are then a simple random sample of the region, whatever the region:
answers stay of use when a threshold moves (permanent random numbers: Ohlsson, "Coordination of samples using permanent
random numbers", 1995). Images that were judged out of order, because a queue showed the likely errors first, count
only once all before them are judged.

Throughout, low scores are decided first: a side takes the images with `score <= threshold`. For the adult side that is
the adult score with its sign changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np
from scipy import special

from inference.errors import ArrayRefused
from inference.estimation import RIGHT, UNKNOWN, WRONG
from inference.types import BoolArray, Float64Array, Int64Array

STEPS: Float64Array = np.unique(
    np.round(np.concatenate([np.arange(1, 10) / 1000, np.arange(2, 199) / 200, np.arange(991, 1000) / 1000]), 3)
)
"""Thresholds that `widest` may choose, 0.001 to 0.999: every .005, and every .001 next to the ends."""

_MOST_REVIEWS = 10_000_000


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """Every image with a draw up to some number, whatever its score.

    Attributes:
        score: (n,) float64, low = decided first.
        draw: (n,) float64, different numbers from 0 to 1 by chance.
        wrong: (n,) int64: `UNKNOWN` nobody has judged it, `RIGHT` or `WRONG` for this side to decide.

    Raises:
        ArrayRefused: arrays of unlike length, or values that are none of these.
    """

    score: Float64Array
    draw: Float64Array
    wrong: Int64Array

    def __post_init__(self) -> None:
        if not self.score.ndim == self.draw.ndim == self.wrong.ndim == 1 or not (
            len(self.score) == len(self.draw) == len(self.wrong)
        ):
            raise ArrayRefused(
                f"Expected a score, a draw and an answer an image, received {self.score.shape}, {self.draw.shape} and "
                f"{self.wrong.shape}."
            )
        if not (np.isfinite(self.score).all() and np.isfinite(self.draw).all()):
            raise ArrayRefused("Expected finite scores and draws, received others.")
        if not np.isin(self.wrong, (UNKNOWN, RIGHT, WRONG)).all():
            raise ArrayRefused("Expected -1, 0 or 1 for unknown, right and wrong, received others.")


@dataclass(frozen=True, eq=False)
class Seen:
    """What was answered at random among what each threshold decides.

    Attributes:
        reviewed: (T,) answered images of a simple random sample.
        wrong: (T,) of these, those that this side would have decided wrongly.
    """

    reviewed: Int64Array
    wrong: Int64Array


@dataclass(frozen=True)
class Promise:
    """The widest threshold that keeps the promise; None where none does.

    Attributes:
        threshold: in the scores' terms.
        reviewed, wrong: the answers that it rests on.
        at_most: the share of wrong decisions is no greater, at the confidence asked for; None without a threshold.
    """

    threshold: float | None
    reviewed: int
    wrong: int
    at_most: float | None


def seen_at(drawn: DrawnImages, thresholds: Float64Array) -> Seen:
    """What the answers tell at each threshold.

    Args:
        thresholds: (T,) in any order.
    """
    known = drawn.wrong != UNKNOWN
    waiting_score, waiting_draw = _sorted_minimum(drawn.score[~known], drawn.draw[~known])
    places = np.searchsorted(waiting_score, thresholds, side="right")
    # Until where everything of this region is answered; past all draws where nothing of it waits.
    until = np.where(places > 0, waiting_draw[np.maximum(places - 1, 0)], np.inf) if len(waiting_draw) else None
    score, draw, wrong = drawn.score[known], drawn.draw[known], drawn.wrong[known] == WRONG
    reviewed = np.zeros(len(thresholds), dtype=np.int64)
    errors = np.zeros(len(thresholds), dtype=np.int64)
    for place, threshold in enumerate(thresholds.tolist()):
        counts: BoolArray = score <= threshold
        if until is not None:
            counts = counts & (draw < until[place])
        reviewed[place] = np.count_nonzero(counts)
        errors[place] = np.count_nonzero(counts & wrong)
    return Seen(reviewed, errors)


def error_bounds(seen: Seen, *, confidence: float = 0.95) -> tuple[Float64Array, Float64Array]:
    """Both ends of the exact interval for the share of wrong decisions, (T,) each; 0 and 1 where nothing was answered.

    Clopper and Pearson: each end is wrong with a chance of (1 − confidence) / 2 at most.
    """
    _open_unit(confidence, "confidence")
    tail = (1 - confidence) / 2
    n, k = seen.reviewed.astype(np.float64), seen.wrong.astype(np.float64)
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return low, high


def at_most(reviewed: int, wrong: int, *, confidence: float) -> float:
    """The exact upper bound for the share of wrong decisions, one-sided; 1 where nothing was answered."""
    if wrong >= reviewed:
        return 1.0
    return float(special.betaincinv(wrong + 1, reviewed - wrong, confidence))


def widest(
    drawn: DrawnImages, thresholds: Float64Array, *, most: float, confidence: float = 0.95, aim: float | None = None
) -> Promise:
    """The threshold that decides most images while the promise above holds.

    Args:
        thresholds: (T,) candidates, rising, chosen without looking at any answer.
        most: the share of wrong decisions that is allowed, between 0 and 1.
        confidence: between 0 and 1.
        aim: the threshold that the sample was drawn for.

    Raises:
        ArrayRefused: thresholds that do not rise, or a number outside its bounds.
    """
    _open_unit(most, "allowed share")
    _open_unit(confidence, "confidence")
    if len(thresholds) > 1 and (np.diff(thresholds) <= 0).any():
        raise ArrayRefused("Expected thresholds that rise, received others.")
    seen = seen_at(drawn, thresholds)
    chances = _chances(seen, thresholds, most, confidence, aim)
    handed_on = 0.0
    promise = Promise(None, 0, 0, None)
    for place, own in enumerate(chances.tolist()):
        chance = own + handed_on
        handed_on = 0.0
        if not chance:
            continue
        reviewed, wrong = int(seen.reviewed[place]), int(seen.wrong[place])
        bound = at_most(reviewed, wrong, confidence=1 - chance)
        if bound <= most:
            promise = Promise(float(thresholds[place]), reviewed, wrong, bound)
            handed_on = chance
    return promise


def _chances(seen: Seen, thresholds: Float64Array, most: float, confidence: float, aim: float | None) -> Float64Array:
    """(T,) the chance of a false promise that each threshold has of its own; together 1 − confidence at most."""
    chances = np.zeros(len(thresholds))
    risk = 1 - confidence
    aimed = -1 if aim is None else int(np.searchsorted(thresholds, aim, side="right")) - 1
    early = seen.reviewed >= fewest_reviews(most=most, confidence=confidence if aimed < 0 else 1 - risk / 2)
    first = int(np.argmax(early)) if early.any() else len(thresholds)
    if aimed < 0:
        chances[first : first + 1] = risk
    elif first >= aimed:
        chances[aimed] = risk
    else:
        chances[[first, aimed]] = risk / 2
    return chances


def fewest_reviews(*, most: float, confidence: float = 0.95) -> int:
    """How many answers, all of them right, show that at most this share is wrong: 598 for .5 % at 95 %."""
    _open_unit(most, "allowed share")
    _open_unit(confidence, "confidence")
    return ceil(log(1 - confidence) / log1p(-most) - 1e-9)


def more_reviews(reviewed: int, wrong: int, *, most: float, confidence: float = 0.95) -> int | None:
    """How many further answers are likely to be enough if they come out as those so far.

    Returns:
        0 where the answers are enough; None where too many are wrong for any number to help.
    """
    if at_most(reviewed, wrong, confidence=confidence) <= most:
        return 0
    if wrong == 0:
        return fewest_reviews(most=most, confidence=confidence) - reviewed
    rate = wrong / reviewed
    if rate >= most:
        return None

    def enough(further: int) -> bool:
        return at_most(reviewed + further, wrong + ceil(rate * further), confidence=confidence) <= most

    low, high = 0, max(reviewed, 1)
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_REVIEWS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def draws_of(keys: Int64Array) -> Float64Array:
    """(N,) the permanent random number of each key, 0 to 1: the same for the same key, as if by chance for others.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    mixed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    spread: Float64Array = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return spread


def _sorted_minimum(score: Float64Array, draw: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Scores in order, and the least draw of those up to each."""
    order = np.argsort(score, kind="stable")
    return score[order], np.minimum.accumulate(draw[order]) if len(order) else draw


def _open_unit(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ArrayRefused(f"Expected a {name} between 0 and 1, received {value!r}.")
