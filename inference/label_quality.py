"""Label quality scores: how well given labels agree with out-of-sample probabilities (by cleanlab)."""

from __future__ import annotations

import numpy as np

from inference.errors import ArrayRefused
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float64Array

METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")

DEFAULT_METHOD = "self_confidence"
"""Average precision on CIFAR-10N .88 and .89, against .86 and .87 by the margin; on roman numerals .51 against .42."""

ROW_SUM_TOLERANCE = 1e-3


def label_quality(labels: AnyIntArray, probabilities: AnyFloatArray, *, method: str = DEFAULT_METHOD) -> Float64Array:
    """Score each given label.

    Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 2021; Kuan and
    Mueller, "Model-agnostic label quality scoring to detect real-world label errors", 2022.

    Args:
        labels: (N,) given class indices 0..K−1.
        probabilities: (N, K) out-of-sample probabilities, rows sum to 1.
        method: `self_confidence` (the given label's probability), `normalized_margin` (that less the best other
            one's), or `confidence_weighted_entropy`.

    Returns:
        (N,) float64 in 0..1; low = the label is likely wrong.

    Raises:
        ArrayRefused: an unknown method, or arrays that do not fit.
    """
    if method not in METHODS:
        raise ArrayRefused(f"expected a method of {', '.join(METHODS)}, received {method!r}")
    labels, probabilities = _checked(labels, probabilities)
    if not len(labels):
        return np.empty(0, dtype=np.float64)
    from cleanlab.rank import get_label_quality_scores

    # cleanlab wants classes 0..k−1 to have labels each; scoring itself needs no such thing, only a common numbering.
    scores = get_label_quality_scores(labels, probabilities, method=method, adjust_pred_probs=False)
    return np.clip(np.asarray(scores, dtype=np.float64), 0.0, 1.0)


def suspected(labels: AnyIntArray, probabilities: AnyFloatArray) -> BoolArray:
    """Which labels to put before people at all.

    A label is suspected when another class is predicted, or when cleanlab's confident learning filter flags it.
    The filter alone finds 55 to 62 % of real errors (EVIDENCE.md), so it adds to the first rule and never limits it;
    the order comes from `label_quality`.

    Args:
        labels, probabilities: as in `label_quality`.

    Returns:
        (N,) bool.

    Raises:
        ArrayRefused: arrays that do not fit.
    """
    labels, probabilities = _checked(labels, probabilities)
    if not len(labels):
        return np.empty(0, dtype=bool)
    # A tie with the given label is agreement.
    given = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    disagrees: BoolArray = given < probabilities.max(axis=1)
    return disagrees | _flagged(labels, probabilities)


def _flagged(labels: AnyIntArray, probabilities: Float64Array) -> BoolArray:
    from cleanlab.filter import find_label_issues

    present, numbered = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(labels), dtype=bool)
    # Classes without a label in the set are left out, and the others numbered without gaps.
    known = probabilities[:, present]
    sums = known.sum(axis=1, keepdims=True)
    known = np.divide(known, sums, out=np.full_like(known, 1 / len(present)), where=sums > 0)
    return np.asarray(find_label_issues(numbered, known, filter_by="prune_by_noise_rate", n_jobs=1), dtype=bool)


def _checked(labels: AnyIntArray, probabilities: AnyFloatArray) -> tuple[AnyIntArray, Float64Array]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or not np.issubdtype(probabilities.dtype, np.floating):
        raise ArrayRefused(
            f"expected (N, K) float probabilities of two classes or more, received {probabilities.shape} "
            f"{probabilities.dtype}"
        )
    count, classes = probabilities.shape
    if labels.shape != (count,) or (count and not np.issubdtype(labels.dtype, np.integer)):
        raise ArrayRefused(f"expected ({count},) whole numbers as labels, received {labels.shape} {labels.dtype}")
    if not count:
        return labels.astype(np.int64), probabilities.astype(np.float64)
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ArrayRefused(f"expected labels 0 to {classes - 1}, received {int(labels.min())} to {int(labels.max())}")
    values = probabilities.astype(np.float64)
    sums = values.sum(axis=1)
    wrong = ~(np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (np.abs(sums - 1) <= ROW_SUM_TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise ArrayRefused(
            f"expected probabilities of 0 or more whose rows sum to 1 ± {ROW_SUM_TOLERANCE:g}, received "
            f"{int(wrong.sum())} other rows, the first is row {row}: {values[row].tolist()}"
        )
    return labels.astype(np.int64), values / sums[:, None]
