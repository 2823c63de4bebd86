"""How good a model is on labels that are believed: NumPy in, figures out.

Probabilities are (N, K) float, rows sum to 1; labels (N,) whole numbers 0..K−1. The answer of a model is the class with
the highest probability. Nothing here knows what a class means, but for which ones are harmful.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import binomtest, norm

from inference.agreement import Interval, wilson
from inference.errors import ArrayRefused
from inference.judged import judged
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float64Array, Int64Array

BINS = 15
"""Bins of confidence, as many as in Guo et al. 2017."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class.

    Attributes:
        images: that carry its label.
        predicted: that the model gives to it.
        right: both.
        recall: right / images with Wilson's 95 % interval (see `agreement.wilson`); None without images.
        precision: right / predicted; None where nothing was predicted.
        f1: harmonic mean of precision and recall, 0 where nothing is right; None without images and predictions.
        missed: of a harmful class, the images that the model gives to a harmless class, with Wilson's interval; None
            for harmless classes and without images.
        missed_images: how many these are.
    """

    images: int
    predicted: int
    right: int
    recall: Interval | None
    precision: float | None
    f1: float | None
    missed: Interval | None
    missed_images: int


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images whose winning probability lies in (low, high]: how sure the model was on average, and how often right."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, 0..1, low = its confidence can be believed, and the bins behind it."""

    error: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What `measure` found.

    Attributes:
        images: N.
        accuracy: share of right answers, with Wilson's 95 % interval.
        precision, recall, f1: means over classes, weighted by the images of each (scikit-learn's "weighted").
        confusion: (K, K) counts, rows are labels, columns the model's answers.
        classes: one a class, in order.
        missed: over all harmful classes: the share of their images that the model calls harmless; None without any.
        missed_images: how many these are.
        calibration: of the winning probabilities.
    """

    images: int
    accuracy: Interval
    precision: float
    recall: float
    f1: float
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[ClassMetrics, ...]
    missed: Interval | None
    missed_images: int
    calibration: Calibration


def measure(labels: AnyIntArray, probabilities: AnyFloatArray, *, harmful: BoolArray | None = None) -> Metrics:
    """Every figure of one model on one set of labels.

    Args:
        labels: (N,) the labels that are believed.
        probabilities: (N, K) the model's, in the order of the same classes.
        harmful: (K,) which classes are; an image of such a class that is given to another class is missed.

    Raises:
        ArrayRefused: no images, or arrays that do not fit each other.
    """
    checked = judged(labels, probabilities)
    count, classes = len(checked.labels), checked.n_classes
    if not count:
        raise ArrayRefused("expected one image or more to measure on, received none")
    harm = np.zeros(classes, dtype=np.bool_) if harmful is None else np.asarray(harmful)
    if harm.shape != (classes,) or harm.dtype != np.bool_:
        raise ArrayRefused(f"expected ({classes},) truth values of what is harmful, received {harm.shape} {harm.dtype}")
    answers = probabilities.argmax(axis=1)
    matrix = confusion_matrix(checked.labels, answers, classes)
    rows = tuple(_of_class(matrix, place, harm) for place in range(classes))
    weights = np.array([row.images for row in rows]) / count
    harmful_images = sum(row.images for row, is_harm in zip(rows, harm, strict=True) if is_harm)
    missed = sum(row.missed_images for row in rows)
    return Metrics(
        images=count,
        accuracy=wilson(int(matrix.trace()), count),
        precision=float(weights @ [row.precision or 0.0 for row in rows]),
        recall=float(weights @ [row.recall.point if row.recall else 0.0 for row in rows]),
        f1=float(weights @ [row.f1 or 0.0 for row in rows]),
        confusion=tuple(tuple(line) for line in matrix.tolist()),
        classes=rows,
        missed=wilson(missed, harmful_images) if harmful_images else None,
        missed_images=missed,
        calibration=calibration(checked.labels == answers, probabilities.max(axis=1)),
    )


def confusion_matrix(labels: AnyIntArray, answers: AnyIntArray, classes: int) -> Int64Array:
    """(K, K) counts: row = label, column = answer."""
    counts = np.bincount(labels * classes + answers, minlength=classes * classes)
    matrix: Int64Array = counts.reshape(classes, classes).astype(np.int64)
    return matrix


def _of_class(matrix: Int64Array, place: int, harmful: BoolArray) -> ClassMetrics:
    images, predicted = int(matrix[place].sum()), int(matrix[:, place].sum())
    right = int(matrix[place, place])
    missed = int(matrix[place, ~harmful].sum()) if harmful[place] else 0
    return ClassMetrics(
        images=images,
        predicted=predicted,
        right=right,
        recall=wilson(right, images) if images else None,
        precision=right / predicted if predicted else None,
        f1=2 * right / (images + predicted) if images + predicted else None,
        missed=wilson(missed, images) if images and harmful[place] else None,
        missed_images=missed,
    )


def calibration(right: BoolArray, confidence: AnyFloatArray, *, bins: int = BINS) -> Calibration:
    """Expected calibration error over equal bins of confidence.

    The mean over bins, weighted by their images, of |accuracy − mean confidence|: Naeini, Cooper and Hauskrecht,
    "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, as in Guo, Pleiss, Sun and Weinberger,
    "On calibration of modern neural networks", ICML 2017.

    Args:
        right: (N,) whether the winning class was the label.
        confidence: (N,) its probability, 0..1.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidence, minlength=bins) / np.maximum(images, 1)
    hit = np.bincount(place, weights=right, minlength=bins) / np.maximum(images, 1)
    error = float((images * np.abs(hit - sure)).sum() / max(len(right), 1))
    return Calibration(
        error,
        tuple(
            ReliabilityBin(
                low=float(edges[at]),
                high=float(edges[at + 1]),
                images=int(images[at]),
                confidence=float(sure[at]) if images[at] else None,
                accuracy=float(hit[at]) if images[at] else None,
            )
            for at in range(bins)
        ),
    )


def by_group(
    labels: AnyIntArray, probabilities: AnyFloatArray, group_of: AnyIntArray
) -> tuple[Int64Array, Float64Array]:
    """Labels and probabilities one level up.

    Args:
        labels: (N,) class indices.
        probabilities: (N, K).
        group_of: (K,) the group of each class, 0..G−1.

    Returns:
        (N,) group indices, and (N, G) sums of the probabilities of each group's classes.
    """
    summed = np.zeros((len(labels), int(group_of.max()) + 1), dtype=np.float64)
    np.add.at(summed.T, np.asarray(group_of), np.asarray(probabilities, dtype=np.float64).T)
    groups: Int64Array = np.asarray(group_of)[labels].astype(np.int64)
    return groups, summed


def worst_first(labels: AnyIntArray, probabilities: AnyFloatArray, harm_rank: AnyIntArray) -> Int64Array:
    """The rows that the model has wrong, worst first.

    First what is harmful and was called harmless, by the rank of the harm; then all other mistakes. Among equals, what
    the model was surest of.

    Args:
        labels: (N,).
        probabilities: (N, K).
        harm_rank: (K,) 0 for a harmless class.

    Returns:
        (M,) row numbers, M ≤ N.
    """
    answers = np.asarray(probabilities).argmax(axis=1)
    rows = np.flatnonzero(answers != labels)
    truth, said = np.asarray(harm_rank)[labels[rows]], np.asarray(harm_rank)[answers[rows]]
    missed = np.where(said == 0, truth, 0)
    confidence = np.asarray(probabilities)[rows, answers[rows]]
    ordered: Int64Array = rows[np.lexsort((rows, -confidence, -missed))]
    return ordered


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two models on the same images.

    Attributes:
        both, neither: images that both have right, and wrong.
        only_first, only_second: images that one of them alone has right.
        p_value: of a split this uneven, or more so, between equally good models; two-sided, exact. 1 where they never
            differ.
        difference: accuracy of the first less that of the second, with a 95 % interval.
    """

    both: int
    neither: int
    only_first: int
    only_second: int
    p_value: float
    difference: Interval


def mcnemar(first: BoolArray, second: BoolArray) -> PairedTest:
    """McNemar's exact test: McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 1947, with the binomial distribution in the place of its chi-square approximation.

    The interval of the difference is Agresti and Min's ("Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 2005): Wald's after half an image is added to each of the four counts.

    Args:
        first, second: (N,) whether each model has an image right.

    Raises:
        ArrayRefused: of different lengths, or no images.
    """
    first, second = np.asarray(first, dtype=np.bool_), np.asarray(second, dtype=np.bool_)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ArrayRefused(
            f"expected the answers of two models on the same images, received {first.shape} and {second.shape}"
        )
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    both, count = int((first & second).sum()), len(first)
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    b, c, n = only_first + 0.5, only_second + 0.5, count + 2
    middle = (b - c) / n
    half = float(norm.ppf(0.975)) * sqrt((b + c) - (b - c) ** 2 / n) / n
    point = (only_first - only_second) / count
    return PairedTest(
        both=both,
        neither=count - both - differing,
        only_first=only_first,
        only_second=only_second,
        p_value=min(1.0, p_value),
        difference=Interval(point, max(-1.0, middle - half), min(1.0, middle + half)),
    )
