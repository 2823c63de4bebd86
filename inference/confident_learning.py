"""Confident learning: which labels are given for which others, how often, and how sure that is.

Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021. An image counts
for a class when its probability reaches the class's threshold, the mean probability of the class among the images
that were given it. The counts of (given, counted for) are the confident joint. cleanlab is the reference: the
counts, the calibrated counts and the flags are compared with its own in the tests.

**The intervals** treat the confidently counted images of a given class as independent draws, so that the share counted
for another class has Jeffreys' interval (Brown, Cai and DasGupta, "Interval estimation for a binomial proportion",
Statistical Science 2001). Near-duplicates are not independent: counts are divided by the design effect of their groups
(Kish, "Survey sampling", 1965, §8.2). They cover the chance of the sample. They do not cover a model that is wrong in
the same way again and again, as when it confuses two classes itself, nor images that count for no class. A random
audit of images is the only check on those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from inference.errors import ArrayRefused
from inference.judged import Judged, judged
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float64Array, Int64Array

THRESHOLD_SLACK = 1e-6
LOWEST_THRESHOLD = 2e-6
NEVER = 2.0
"""The threshold of a class that no image was given: no probability reaches it."""

TIE = 1e-6
"""A given label this close to the best other one is not flagged."""


@dataclass(frozen=True, slots=True, eq=False)
class ConfidentJoint:
    """Rows are given classes, columns the classes that images count for.

    Attributes:
        thresholds: (K,) float64, the mean probability of each class among the images given it; `NEVER` without any.
        counts: (K, K) int64 images that count confidently.
        calibrated: (K, K) int64, `counts` scaled so that each row sums to the images given that class.
        label_counts: (K,) int64 images given each class.
    """

    thresholds: Float64Array
    counts: Int64Array
    calibrated: Int64Array
    label_counts: Int64Array


@dataclass(frozen=True, slots=True)
class ClassNoise:
    """How many labels of one given class are wrong.

    Attributes:
        label: the given class's index.
        share: of the confidently counted images given this class, how many count for another; NaN when none count.
        low, high: the interval.
        images: given this class.
        confident: of them, how many count for any class; the interval rests on these.
    """

    label: int
    share: float
    low: float
    high: float
    images: int
    confident: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """A class that is given for another.

    Attributes:
        given, true: class indices.
        share: of the confidently counted images given `given`, how many count for `true`.
        low, high: the interval.
        confident: how many count so.
        estimated: how many images of the set that makes (`calibrated`).
        systematic: `low` is above what the noise of the whole set would give spread evenly over all pairs.
    """

    given: int
    true: int
    share: float
    low: float
    high: float
    confident: int
    estimated: int
    systematic: bool


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """What the confident joint says, with intervals of `confidence`.

    Attributes:
        confidence: of each interval by itself, 0..1.
        classes: one for every class, in their order.
        confusions: pairs with at least one confident image, the highest lower bound first.
        even_share: the share a pair would have if all noise were spread evenly.
    """

    confidence: float
    classes: tuple[ClassNoise, ...]
    confusions: tuple[Confusion, ...]
    even_share: float


def confident_joint(labels: AnyIntArray, probabilities: AnyFloatArray) -> ConfidentJoint:
    """Count images by given class and the class they confidently belong to.

    Args:
        labels: (N,) given class indices 0..K−1; a class may have none.
        probabilities: (N, K) out-of-sample probabilities, rows sum to 1.

    Raises:
        ArrayRefused: arrays that do not fit.
    """
    return _joint(judged(labels, probabilities))[0]


def flagged(labels: AnyIntArray, probabilities: AnyFloatArray) -> BoolArray:
    """Which labels confident learning calls wrong: cleanlab's default filter, `prune_by_noise_rate`.

    Of the images given i, as many as the calibrated joint counts for j are flagged, those with the largest margin
    p(j) − p(i); never one whose given label is predicted. Of equal margins the earlier images are flagged (cleanlab
    leaves that open). A set of one class has no flags.

    Args:
        labels, probabilities: as in `confident_joint`.

    Returns:
        (N,) bool.

    Raises:
        ArrayRefused: arrays that do not fit.
    """
    judgement = judged(labels, probabilities)
    joint = _joint(judgement)[0]
    wrong = np.zeros(len(judgement.labels), dtype=bool)
    if np.count_nonzero(joint.label_counts) < 2:
        return wrong
    prune = _prune_counts(joint.calibrated)
    # NumPy sorts 16-bit numbers by radix, in a fraction of the time.
    by_label = np.argsort(judgement.labels.astype(np.min_scalar_type(judgement.n_classes)), kind="stable")
    ends = np.cumsum(joint.label_counts)
    for label in np.flatnonzero((joint.label_counts > 1) & (prune.sum(axis=1) > np.diagonal(prune))).tolist():
        rows = by_label[ends[label] - joint.label_counts[label] : ends[label]]
        wrong[rows] = _largest_margins(judgement.of(rows), label, prune[label])
    return wrong


def noise_report(
    labels: AnyIntArray,
    probabilities: AnyFloatArray,
    *,
    groups: AnyIntArray | None = None,
    confidence: float = 0.95,
) -> NoiseReport:
    """Noise of each given class, and which classes are given for which, each with an interval.

    Args:
        labels, probabilities: as in `confident_joint`.
        groups: (N,) near-duplicate group ids; None: every image is a group.
        confidence: of each interval, above 0 and under 1. Nothing is corrected for looking at many pairs: the order
            by lower bound is an order of caution, not a family of tests.

    Raises:
        ArrayRefused: arrays that do not fit, or such a confidence.
    """
    if not 0 < confidence < 1:
        raise ArrayRefused(f"expected a confidence between 0 and 1, received {confidence}")
    judgement = judged(labels, probabilities)
    ids = None if groups is None else np.asarray(groups)
    if ids is not None and (ids.shape != judgement.labels.shape or not np.issubdtype(ids.dtype, np.integer)):
        raise ArrayRefused(
            f"expected {judgement.labels.shape} whole numbers as groups, received {ids.shape} {ids.dtype}"
        )
    joint, counted_for = _joint(judgement)
    confident = joint.counts.sum(axis=1)
    independent = confident / _design_effects(judgement.labels, counted_for, ids, judgement.n_classes)
    with np.errstate(invalid="ignore"):
        share = joint.counts / confident[:, None]
    wrong = 1 - np.diagonal(share)
    low, high = _jeffreys(wrong, independent, confidence)
    classes = tuple(
        ClassNoise(k, float(wrong[k]), float(low[k]), float(high[k]), int(joint.label_counts[k]), int(confident[k]))
        for k in range(judgement.n_classes)
    )
    off_diagonal = joint.calibrated.sum() - np.trace(joint.calibrated)
    even = float(off_diagonal / max(1, len(judgement.labels)) / (judgement.n_classes - 1))
    return NoiseReport(confidence, classes, _confusions(joint, share, independent, even, confidence), even)


def _confusions(
    joint: ConfidentJoint, share: Float64Array, independent: Float64Array, even: float, confidence: float
) -> tuple[Confusion, ...]:
    given, true = np.nonzero(joint.counts)
    other = given != true
    given, true = given[other], true[other]
    low, high = _jeffreys(share[given, true], independent[given], confidence)
    order = np.lexsort((true, given, -share[given, true], -low))
    return tuple(
        Confusion(
            given=int(i),
            true=int(j),
            share=float(share[i, j]),
            low=float(low[at]),
            high=float(high[at]),
            confident=int(joint.counts[i, j]),
            estimated=int(joint.calibrated[i, j]),
            systematic=bool(low[at] > even),
        )
        for at, i, j in zip(order.tolist(), given[order].tolist(), true[order].tolist(), strict=True)
    )


def _jeffreys(share: Float64Array, draws: Float64Array, confidence: float) -> tuple[Float64Array, Float64Array]:
    """Bounds of a share seen in so many draws; 0 to 1 without any. At a share of 0 or 1 the bound there is exact."""
    tail = (1 - confidence) / 2
    hits = np.where(draws > 0, share * draws, 0.0)
    misses = np.maximum(draws - hits, 0.0)
    low = np.where(hits > 0, beta.ppf(tail, hits + 0.5, misses + 0.5), 0.0)
    # 1 − share is exact at no misses only up to rounding.
    high = np.where(misses > 1e-9, beta.ppf(1 - tail, hits + 0.5, misses + 0.5), 1.0)
    return np.minimum(low, share, where=draws > 0, out=low), np.maximum(high, share, where=draws > 0, out=high)


def _design_effects(
    labels: Int64Array, counted_for: Int64Array, groups: AnyIntArray | None, n_classes: int
) -> Float64Array:
    """(K,) how many images carry the evidence of one, by given class: the mean group size that an image is in."""
    effects = np.ones(n_classes)
    if groups is None:
        return effects
    counts = counted_for >= 0
    if not counts.any():
        return effects
    pairs, size = np.unique(np.stack([labels[counts], groups[counts].astype(np.int64)]), axis=1, return_counts=True)
    squares = np.bincount(pairs[0], weights=size.astype(np.float64) ** 2, minlength=n_classes)
    total = np.bincount(pairs[0], weights=size, minlength=n_classes)
    np.divide(squares, total, out=effects, where=total > 0)
    return effects


def thresholds(judgement: Judged) -> Float64Array:
    """(K,) the mean probability of each class among the images given it; `NEVER` for a class without images."""
    sums = np.zeros(judgement.n_classes)
    for chunk in judgement.chunks():
        sums += np.bincount(chunk.labels, weights=chunk.given(), minlength=judgement.n_classes)
    counts = np.bincount(judgement.labels, minlength=judgement.n_classes)
    means: Float64Array = np.divide(sums, counts, out=np.full(judgement.n_classes, NEVER), where=counts > 0)
    np.maximum(means, LOWEST_THRESHOLD, out=means)
    return means


def _joint(judgement: Judged) -> tuple[ConfidentJoint, Int64Array]:
    """The joint, and (N,) the class that each image counts for, −1 for none."""
    classes = judgement.n_classes
    limits = thresholds(judgement)
    counted_for = np.full(len(judgement.labels), -1, dtype=np.int64)
    for chunk in judgement.chunks():
        counted_for[chunk.rows] = _confident_class(chunk.probabilities, limits - THRESHOLD_SLACK)
    counts_somewhere = counted_for >= 0
    pairs = judgement.labels[counts_somewhere] * classes + counted_for[counts_somewhere]
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    label_counts = np.bincount(judgement.labels, minlength=classes)
    return ConfidentJoint(limits, counts, _calibrated(counts, label_counts), label_counts), counted_for


def _confident_class(columns: Float64Array, limits: Float64Array) -> Int64Array:
    """(n,) the class whose limit (K, n) probabilities reach, −1 for none; of several the most probable of all."""
    size = columns.shape[1]
    reached, only = np.zeros(size, dtype=np.int64), np.full(size, -1, dtype=np.int64)
    best, top = np.full(size, -1.0), np.zeros(size, dtype=np.int64)
    for label, (column, limit) in enumerate(zip(columns, limits.tolist(), strict=True)):
        reaches = column >= limit
        reached += reaches
        only[reaches] = label
        higher = column > best
        np.copyto(best, column, where=higher)
        top[higher] = label
    return np.where(reached > 1, top, only)


def _calibrated(counts: Int64Array, label_counts: Int64Array) -> Int64Array:
    """Each row scaled to the images given that class; a class is never believed to be wholly wrong."""
    believed = counts.copy()
    np.fill_diagonal(believed, np.maximum(np.diagonal(believed), 1))
    scaled = (believed.T / believed.sum(axis=1) * label_counts).T
    if total := scaled.sum():
        scaled = scaled / total * label_counts.sum()
    return np.stack([_whole_numbers(row) for row in scaled])


def _whole_numbers(row: Float64Array) -> Int64Array:
    """Round a row and keep its sum: what is too much or too little goes to the entries that rounding hurt most."""
    rounded = row.round()
    missing = int(row.sum().round() - rounded.sum())
    if missing:
        by_loss = np.argsort(row - rounded)
        rounded[by_loss[::-1][:missing] if missing > 0 else by_loss[:-missing]] += np.sign(missing)
    return rounded.astype(np.int64)


def _prune_counts(calibrated: Int64Array) -> Int64Array:
    """(K, K) how many images given i are flagged for j; each class keeps one image at least."""
    diagonal = np.diagonal(calibrated)
    kept = np.maximum(diagonal, 1)
    others = np.maximum(np.count_nonzero(calibrated, axis=1) - 1, 1)
    prune: Int64Array = np.maximum(calibrated - ((kept - diagonal) / others)[:, None], 0).astype(np.int64)
    np.fill_diagonal(prune, kept)
    return prune


def _largest_margins(columns: Float64Array, label: int, wanted: Int64Array) -> BoolArray:
    """(n,) of the images given `label`, those with the largest margins for each other class, as many as wanted."""
    wrong = np.zeros(columns.shape[1], dtype=bool)
    own = columns[label]
    for other in np.flatnonzero(wanted).tolist():
        if other != label:
            wrong |= _largest(columns[other] - own, int(wanted[other]))
    best_other = np.delete(columns, label, axis=0).max(axis=0)
    wrong &= best_other > own + TIE
    return wrong


def _largest(margins: Float64Array, wanted: int) -> BoolArray:
    if wanted >= len(margins):
        return np.ones(len(margins), dtype=bool)
    limit = np.partition(margins, len(margins) - wanted)[len(margins) - wanted]
    chosen: BoolArray = margins > limit
    equal = np.flatnonzero(margins == limit)
    chosen[equal[: wanted - int(chosen.sum())]] = True
    return chosen
