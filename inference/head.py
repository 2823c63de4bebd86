"""A calibrated linear head: logistic regression on embeddings, and a temperature from images that it never saw.

It is fitted with the same penalised, whitened logistic regression that finds label issues (`logistic`), and its
confidence is then set on the validation images by one temperature (Guo et al., ICML 2017; see `calibration`). Both are
folded into one kernel and one bias, so that the head is a plain dense layer behind the network's embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inference.calibration import fit_temperature
from inference.errors import ArrayRefused, NotEnoughLabels
from inference.logistic import fit_folds, measure_scaling, on_raw_features, softmax
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float32Array, Float64Array

FEWEST_TO_CALIBRATE = 20
"""Validation images; with fewer a temperature would be chance."""

RARE = -30.0
"""Score of a class without any image to learn from: e⁻³⁰ is no probability that anybody would see."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A dense layer from an embedding to scores whose softmax are probabilities.

    Attributes:
        kernel: (D, K) float32.
        bias: (K,) float32.
        temperature: what its confidence was divided by, already folded in; 1 where there was too little to tell.
        loss, accuracy: on the images that it learned from.
        validation_loss, validation_accuracy: on the others; None without any.
    """

    kernel: Float32Array
    bias: Float32Array
    temperature: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


def fit_head(
    embeddings: AnyFloatArray,
    labels: AnyIntArray,
    validation: BoolArray,
    *,
    n_classes: int,
    class_weights: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Head:
    """Fit the head on all images but the validation ones, and its temperature on those.

    Args:
        embeddings: (N, D), finite.
        labels: (N,) class indices 0..K−1.
        validation: (N,) which images set the temperature and are not learned from.
        n_classes: K.
        class_weights: let every class count alike, whatever its size.
        progress: called with the number of passes done, after each.

    Raises:
        ArrayRefused: shapes that differ, or numbers that are none.
        NotEnoughLabels: fewer than two classes to learn from.
    """
    features = np.ascontiguousarray(embeddings, dtype=np.float32)
    labels = np.asarray(labels, dtype=np.int64)
    if features.ndim != 2 or labels.shape != (len(features),) or validation.shape != labels.shape:
        raise ArrayRefused(
            f"expected embeddings (N, D) with N labels and marks of validation, received {features.shape}, "
            f"{labels.shape} and {validation.shape}"
        )
    if not np.isfinite(features).all():
        raise ArrayRefused("expected finite embeddings, received NaN or infinity: score the images again")
    counts = np.bincount(labels[~validation], minlength=n_classes)
    if np.count_nonzero(counts) < 2:
        raise NotEnoughLabels(
            f"expected images of two classes or more to learn from, received {np.count_nonzero(counts)}"
        )
    weights = np.where(validation, 0.0, balance(counts)[labels] if class_weights else 1.0)
    scaling = measure_scaling(features, ~validation)
    # A single fit, of everything: no image lies in the fold that would be held out.
    fitted = fit_folds(
        features,
        scaling,
        labels,
        np.ones(len(labels), dtype=np.int8),
        weights,
        folds=1,
        n_classes=n_classes,
        progress=progress,
    )
    kernel, bias = on_raw_features(fitted.weights, scaling)
    never = counts == 0
    kernel[:, never], bias[never] = 0, RARE
    scores = (features @ kernel + bias).astype(np.float64)
    temperature = 1.0
    # An image of a class that was never learned says nothing of how sure the others are.
    told = validation & ~never[labels]
    if told.sum() >= FEWEST_TO_CALIBRATE:
        temperature = fit_temperature(labels[told], scores[told].T)
    kernel, bias = (kernel / temperature).astype(np.float32), (bias / temperature).astype(np.float32)
    bias[never] = RARE
    probabilities = softmax(features @ kernel + bias)
    loss, accuracy = measured(probabilities[~validation], labels[~validation])
    judged = measured(probabilities[validation], labels[validation]) if validation.any() else (None, None)
    return Head(kernel, bias, temperature, loss, accuracy, *judged)


def balance(counts: AnyIntArray) -> Float64Array:
    """(K,) weights by which classes of these sizes count alike; their mean over all images is 1.

    Args:
        counts: (K,) images of each class; an empty class gets 1.
    """
    answer = np.ones(len(counts))
    there = counts > 0
    answer[there] = counts.sum() / there.sum() / counts[there]
    return answer


def measured(probabilities: Float64Array, labels: AnyIntArray) -> tuple[float, float]:
    """Mean log loss and accuracy of (n, K) probabilities; n at least 1."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, 1e-12)).mean()), float((probabilities.argmax(axis=1) == labels).mean())
