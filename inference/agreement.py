"""How much people agree, and how reliable each is: NumPy in, figures out.

Answers are given as counts: `counts[n, k]` people gave answer k to image n. Nothing here knows what an answer means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from scipy.stats import norm

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_SEED = 20261121


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; nan where nothing can be told."""

    point: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """A share with Wilson's score interval (Wilson 1927), which stays within 0..1 and is right for few trials.

    Raises:
        ValueError: more successes than trials, or fewer than none.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"Expected 0 to {trials} successes, received {successes}.")
    if not trials:
        return Interval(nan, nan, nan)
    z = float(norm.ppf(0.975))
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # With none or all, the bound is 0 or 1 itself; rounding must not push it past the share.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Interval(share, low, high)


def difference(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """The first share less the second, each (successes, trials), with Newcombe's interval (1998, method 10)."""
    one, other = wilson(*first), wilson(*second)
    point = one.point - other.point
    low = point - sqrt((one.point - one.low) ** 2 + (other.high - other.point) ** 2)
    high = point + sqrt((one.high - one.point) ** 2 + (other.point - other.low) ** 2)
    return Interval(point, low, high)


def krippendorff_alpha(counts: Counts, weights: Floats | None = None) -> float:
    """Krippendorff's alpha for nominal answers (Krippendorff 2004, "Content Analysis", chapter 11).

    1 is perfect agreement, 0 what chance gives, below 0 worse than chance. Images may have any number of answers;
    those with fewer than two say nothing and are left out.

    Args:
        counts: (N, K) how many people gave each answer.
        weights: (N,) for how many images each row stands; None for one each.

    Returns:
        alpha; nan where no two people answered the same image, or everybody always gave one answer.
    """
    rows, weight = _weighed(counts, weights)
    pairable = rows.sum(axis=1) > 1
    rows, weight = rows[pairable], weight[pairable]
    answers = rows.sum(axis=1)
    totals = weight @ rows
    everything = totals.sum()
    expected = everything**2 - (totals**2).sum()
    if not expected:
        return nan
    disagreeing = weight @ ((answers**2 - (rows**2).sum(axis=1)) / (answers - 1))
    return float(1 - (everything - 1) * disagreeing / expected)


def fleiss_kappa(counts: Counts, weights: Floats | None = None) -> float:
    """Fleiss' kappa (Fleiss 1971, "Measuring nominal scale agreement among many raters").

    It is defined for a fixed number of answers an image: those with the most frequent such number (at least two) are
    used. 1 is perfect agreement, 0 what chance gives.

    Args:
        counts: (N, K) how many people gave each answer.
        weights: (N,) for how many images each row stands; None for one each.

    Returns:
        kappa; nan where no image has two answers, or everybody always gave one answer.
    """
    rows, weight = _weighed(counts, weights)
    answers = rows.sum(axis=1)
    by_size = np.bincount(answers.astype(np.int64), weights=weight) if len(rows) else np.zeros(0)
    if not by_size[2:].any():
        return nan
    people = 2 + int(np.argmax(by_size[2:]))
    rows, weight = rows[answers == people], weight[answers == people]
    agreeing = ((rows**2).sum(axis=1) - people) / (people * (people - 1))
    observed = float(weight @ agreeing / weight.sum())
    totals = weight @ rows
    by_chance = float(((totals / totals.sum()) ** 2).sum())
    return nan if by_chance == 1 else (observed - by_chance) / (1 - by_chance)


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float:
    """Cohen's kappa of two people who answered the same images, by scikit-learn; nan where there was one answer."""
    from sklearn.metrics import cohen_kappa_score

    if len(first) != len(second):
        raise ValueError(f"Expected answers of two people to the same images, received {len(first)} and {len(second)}.")
    if not len(first) or len({*first, *second}) < 2:
        return nan
    return float(cohen_kappa_score(first, second))


def bootstrapped(figure: Callable[[Counts, Floats], float], counts: Counts, *, repeats: int = 200) -> Interval:
    """A figure of `counts` with the 95 % percentile interval of a bootstrap over images (Efron 1979).

    Reproducible: the same counts give the same interval. Images with equal counts are drawn as one row with a weight,
    so that it takes no longer for many images than for the few patterns of answers that they show.

    Args:
        figure: of rows of counts and the (N,) weight of each.
    """
    rows, images = np.unique(_checked(counts), axis=0, return_counts=True)
    point = figure(rows, images.astype(np.float64)) if len(counts) else nan
    if np.isnan(point) or len(counts) < 2:
        return Interval(point, nan, nan)
    chance = np.random.default_rng(_SEED)
    weights = chance.multinomial(len(counts), images / len(counts), size=repeats).astype(np.float64)
    known = np.array([one for drawn in weights if not np.isnan(one := figure(rows, drawn))])
    if len(known) < repeats / 2:
        return Interval(point, nan, nan)
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(point, float(low), float(high))


@dataclass(frozen=True, eq=False)
class Skills:
    """What Dawid–Skene makes of answers.

    Attributes:
        confusion: (M, K, K) by person, right answer and given answer: a probability; rows sum to 1.
        prior: (K,) share of each answer that is right.
        posterior: (N, K) probability that each answer is right, by image.
        rounds: how many rounds it took.
    """

    confusion: Floats
    prior: Floats
    posterior: Floats
    rounds: int


def dawid_skene(
    people: Integers,
    images: Integers,
    answers: Integers,
    *,
    classes: int,
    known: Integers | None = None,
    smoothing: float = 1.0,
    rounds: int = 100,
    tolerance: float = 1e-6,
) -> Skills:
    """Each person's error rates and each image's right answer, by expectation maximisation.

    Dawid & Skene (1979), "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm". Each row of a
    confusion matrix is smoothed towards a person who is right 3 times in 4, so that few answers make nobody certain.

    Args:
        people: (A,) who gave each answer, 0..M-1.
        images: (A,) to which image, 0..N-1.
        answers: (A,) the answer, 0..K-1.
        classes: K.
        known: (N,) the right answer where it is known (golden images), -1 elsewhere.
        smoothing: how many answers the starting belief about a person weighs, for each right answer.

    Raises:
        ValueError: arrays of different lengths, no answers, or an answer outside 0..K-1.
    """
    if not len(answers) or not len(people) == len(images) == len(answers):
        raise ValueError(
            f"Expected as many people as images and answers, received {len(people)}, {len(images)} and {len(answers)}."
        )
    if answers.min() < 0 or answers.max() >= classes:
        raise ValueError(f"Expected answers 0 to {classes - 1}, received {answers.min()} to {answers.max()}.")
    size, workers = int(images.max()) + 1, int(people.max()) + 1
    known = np.full(size, -1) if known is None else known
    fixed = np.flatnonzero(known >= 0)
    votes = np.zeros((size, classes))
    np.add.at(votes, (images, answers), 1)
    posterior = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    posterior[fixed] = np.eye(classes)[known[fixed]]
    belief = np.full((classes, classes), 0.25 / max(classes - 1, 1))
    np.fill_diagonal(belief, 0.75)
    done, moved = 0, 1.0
    while done < rounds and moved >= tolerance:
        done += 1
        confusion = np.tile(smoothing * belief, (workers, 1, 1))
        np.add.at(confusion.transpose(0, 2, 1), (people, answers), posterior[images])
        confusion /= confusion.sum(axis=2, keepdims=True)
        prior = (posterior.sum(axis=0) + 1) / (len(posterior) + classes)
        evidence = np.tile(np.log(prior), (size, 1))
        np.add.at(evidence, images, np.log(confusion[people, :, answers]))
        updated = np.exp(evidence - logsumexp(evidence, axis=1, keepdims=True))
        updated[fixed] = posterior[fixed]
        moved = float(np.abs(updated - posterior).max())
        posterior = updated
    return Skills(confusion, prior, posterior, done)


def _weighed(counts: Counts, weights: Floats | None) -> tuple[Floats, Floats]:
    rows = _checked(counts).astype(np.float64)
    return rows, np.ones(len(rows)) if weights is None else weights


def _checked(counts: Counts) -> Counts:
    if counts.ndim != 2 or (counts.size and counts.min() < 0):
        raise ValueError(f"Expected counts (N, K) of at least 0, received an array of shape {counts.shape}.")
    return counts
