"""Temperature: how far a model's probabilities must be softened or sharpened to fit the given labels.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017: divide the logits, here the
logarithms of the probabilities, by one number T that minimises the log loss. T > 1: the model was overconfident.
"""

from __future__ import annotations

import numpy as np

from inference.judged import Judged
from inference.types import Float64Array, Int64Array

COLDEST, HOTTEST = 1 / 20, 20.0
FIT_VALUES = 500_000
"""Probabilities that a fit looks at: 100,000 images of five classes. More would hardly move one number."""

_STEPS = 60


def log_softmax(logits: Float64Array, axis: int) -> Float64Array:
    """Logarithms of the probabilities that unnormalised logarithms mean."""
    shifted: Float64Array = logits - logits.max(axis=axis, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


def temperature(judgement: Judged) -> float:
    """The temperature that fits the given labels best.

    The labels are the noisy ones, so a calibrated model is as unsure as they are: probabilities of what was given,
    not of what is true.

    Returns:
        T in `COLDEST` to `HOTTEST`; 1 where nothing tells, as without images or with a model that always says the same.
    """
    labels, probabilities = judgement.sample(max(1000, FIT_VALUES // judgement.n_classes))
    return fit_temperature(labels, np.log(np.maximum(probabilities, judgement.floor))) if len(labels) else 1.0


def fit_temperature(labels: Int64Array, logits: Float64Array) -> float:
    """`temperature` for (n,) labels and (n, K) logarithms of probabilities.

    The loss is convex in 1/T; Newton's steps are kept inside the bracket that its slope's sign gives.
    """
    logits = logits - logits.max(axis=1, keepdims=True)
    given = float(np.take_along_axis(logits, labels[:, None], axis=1).mean())
    low, high = 1 / HOTTEST, 1 / COLDEST
    sharpness = 1.0
    for _ in range(_STEPS):
        shares = np.exp(sharpness * logits)
        shares /= shares.sum(axis=1, keepdims=True)
        expected = np.einsum("nk,nk->n", shares, logits)
        slope = float(expected.mean()) - given
        shares *= logits
        curvature = float((np.einsum("nk,nk->n", shares, logits) - expected**2).mean())
        if curvature <= 1e-12 and abs(slope) <= 1e-12:
            break
        low, high = (low, sharpness) if slope > 0 else (sharpness, high)
        step = sharpness - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - sharpness) <= 1e-9 * sharpness:
            break
        sharpness = following
    return 1 / sharpness
