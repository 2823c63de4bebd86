"""Label quality scores: how well given labels agree with out-of-sample probabilities.

Three scores are cleanlab's by definition, computed here in one pass over chunks (the tests compare them with cleanlab's
own): Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021; Kuan and
Mueller, "Model-agnostic label quality scoring to detect real-world label errors", ICML DataPerf 2022.

The default, `calibrated_odds`, joins what each of them sees. Wrong classes show best in the margin, images that fit no
class in the entropy, and either depends on how sharp the model and how hard the class is. So:

    odds = p(given) / t(given) / (p(best other)^0.6 · H^0.5)

with H the entropy in units of log K, and t(given) the mean p(given) of all images of that label (the confident
threshold of the first paper). p is read at `SOFTENING` times the temperature that fits the given labels, so that a
model that is merely sharper or softer gives the same order. The three constants were chosen on the five sets of
`benchmarks/ranking.py`, where it leads each of cleanlab's scores on every set, by .0005 to .012 average precision over
the best of them. That is a choice made on the same data: on probabilities that are rounded hard or far too sharp, some
score of cleanlab's led by up to .02.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from inference.calibration import temperature
from inference.confident_learning import thresholds
from inference.errors import ArrayRefused
from inference.judged import Chunk, Judged, judged
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float64Array, Int64Array

METHODS = ("calibrated_odds", "self_confidence", "normalized_margin", "confidence_weighted_entropy")
ADJUSTABLE = ("self_confidence", "normalized_margin")
DEFAULT_METHOD = "calibrated_odds"

SOFTENING = 2.5
MARGIN_POWER, ENTROPY_POWER = 0.6, 0.5
PRIOR_IMAGES = 5.0
"""A class's mean is drawn to that of all images as if this many images more had that."""

_LEAST = 1e-6
_LEAST_LOG = -700.0


def label_quality(
    labels: AnyIntArray, probabilities: AnyFloatArray, *, method: str = DEFAULT_METHOD, adjusted: bool = False
) -> Float64Array:
    """Score each given label.

    Args:
        labels: (N,) given class indices 0..K−1.
        probabilities: (N, K) out-of-sample probabilities, rows sum to 1.
        method: `calibrated_odds` (above; odds o as o / (1 + o)), `self_confidence` (the given label's probability),
            `normalized_margin` (that less the best other one's, as (m + 1) / 2), or `confidence_weighted_entropy`
            (entropy over self-confidence, s, as log(1 + s) / s).
        adjusted: subtract each class's confident threshold first, against imbalance (cleanlab's `adjust_pred_probs`).
            It exists for `self_confidence` and `normalized_margin`; `calibrated_odds` is relative to its class already.

    Returns:
        (N,) float64 in 0..1; low = the label is likely wrong.

    Raises:
        ArrayRefused: an unknown method or combination, or arrays that do not fit.
    """
    if method not in METHODS:
        raise ArrayRefused(f"expected a method of {', '.join(METHODS)}, received {method!r}")
    if adjusted and method not in ADJUSTABLE:
        raise ArrayRefused(f"expected {' or '.join(ADJUSTABLE)} for class-adjusted scores, received {method!r}")
    judgement = judged(labels, probabilities)
    if method == "calibrated_odds":
        return _calibrated_odds(judgement)
    adjust = _adjustment(judgement) if adjusted else None
    quality = np.empty(len(judgement.labels), dtype=np.float64)
    for chunk in judgement.chunks():
        if adjust is not None:
            adjust(chunk)
        quality[chunk.rows] = _SCORES[method](chunk)
    return np.clip(quality, 0.0, 1.0, out=quality)


def worst_first(quality: Float64Array) -> Int64Array:
    """(N,) the images in the order in which people should see them: low scores first, equal ones as they came."""
    return np.argsort(quality, kind="stable")


def suspected(labels: AnyIntArray, probabilities: AnyFloatArray) -> BoolArray:
    """Which labels to put before people at all: those that another class beats.

    Every label that `confident_learning.flagged` names is among them, as it names none that is predicted; it finds
    55 to 62 % of real errors (EVIDENCE.md) and would only leave some out. The order comes from `label_quality`.

    Args:
        labels, probabilities: as in `label_quality`.

    Returns:
        (N,) bool; a tie with the given label is agreement.

    Raises:
        ArrayRefused: arrays that do not fit.
    """
    judgement = judged(labels, probabilities)
    beaten = np.zeros(len(judgement.labels), dtype=bool)
    for chunk in judgement.chunks():
        beaten[chunk.rows] = chunk.given() < chunk.probabilities.max(axis=0)
    return beaten


def _self_confidence(chunk: Chunk) -> Float64Array:
    return chunk.given()


def _normalized_margin(chunk: Chunk) -> Float64Array:
    given = chunk.given()
    return (given - _best_other(chunk.probabilities, chunk) + 1) / 2


def _confidence_weighted_entropy(chunk: Chunk) -> Float64Array:
    given = np.maximum(chunk.given(), _LEAST)
    weighted = _entropy(chunk.probabilities, np.log(np.maximum(chunk.probabilities, 1e-300))) / given
    # The least weight is part of the definition: a certain model that agrees lands at 0 by it, as in cleanlab.
    return np.log1p(weighted) / np.maximum(weighted, _LEAST)


_SCORES: dict[str, Callable[[Chunk], Float64Array]] = {
    "self_confidence": _self_confidence,
    "normalized_margin": _normalized_margin,
    "confidence_weighted_entropy": _confidence_weighted_entropy,
}


def _calibrated_odds(judgement: Judged) -> Float64Array:
    classes = judgement.n_classes
    softened = SOFTENING * temperature(judgement)
    odds = np.empty(len(judgement.labels), dtype=np.float64)
    sums = np.zeros(classes)
    for chunk in judgement.chunks():
        logits = np.maximum(chunk.probabilities, judgement.floor, out=chunk.probabilities)
        np.log(logits, out=logits)
        logits *= 1 / softened
        # No maximum has to be taken off first: the greatest probability is 1 / K at least, and 1 at most.
        shares = np.exp(logits)
        total = shares.sum(axis=0)
        scale = np.log(total)
        given = chunk.given() - scale
        sums += np.bincount(chunk.labels, weights=np.exp(given), minlength=classes)
        entropy = scale - np.einsum("kn,kn->n", shares, logits) / total
        entropy = np.log(np.maximum(entropy / np.log(classes), 1e-300))
        odds[chunk.rows] = given - MARGIN_POWER * (_best_other(logits, chunk) - scale) - ENTROPY_POWER * entropy
    counts = np.bincount(judgement.labels, minlength=classes)
    overall = sums.sum() / max(1, counts.sum())
    odds -= np.log((sums + PRIOR_IMAGES * overall) / (counts + PRIOR_IMAGES))[judgement.labels] if len(odds) else 0.0
    np.negative(odds, out=odds)
    np.exp(np.clip(odds, _LEAST_LOG, -_LEAST_LOG, out=odds), out=odds)
    odds += 1
    return np.reciprocal(odds, out=odds)


def _best_other(columns: Float64Array, chunk: Chunk) -> Float64Array:
    """(n,) the highest of the other classes' values; overwrites those of the given ones."""
    columns[chunk.labels, np.arange(len(chunk.labels))] = -np.inf
    best: Float64Array = columns.max(axis=0)
    return best


def _entropy(columns: Float64Array, logs: Float64Array) -> Float64Array:
    """(n,) entropy in units of log K, so in 0..1."""
    entropy: Float64Array = np.einsum("kn,kn->n", columns, logs)
    entropy /= -np.log(len(columns))
    return entropy


def _adjustment(judgement: Judged) -> Callable[[Chunk], None]:
    limits = thresholds(judgement)
    shift = (limits.max() - limits)[:, None]

    def adjust(chunk: Chunk) -> None:
        columns = chunk.probabilities
        columns += shift
        columns /= columns.sum(axis=0)

    return adjust
