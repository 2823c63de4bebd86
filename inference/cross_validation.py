"""Out-of-sample probabilities from embeddings: a light classifier, cross-validated with groups kept whole.

The classifier is multinomial logistic regression on standardised embeddings after the power transform
sign(x)·√|x| (Perronnin, Sánchez and Mensink, "Improving the Fisher kernel for large-scale image classification", ECCV
2010). On 8,000 images of CIFAR-10N with the starter model's embeddings this ranked label errors better (average
precision .24) than without the transform (.22), than a cosine nearest-neighbour vote (.17) or than the two averaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import ArrayRefused, NotEnoughLabels
from inference.splits import stratify_groups
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float32Array, Float64Array, Int8Array

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

UNLABELLED = -1
PENALTY = 0.15
"""Strength of the L2 penalty an image (so C = 1 / (PENALTY · N)): best log loss at 600 and at 8,000 images."""

MAX_ITERATIONS = 200
MEMBERS = ("logistic regression on embeddings",)


@dataclass(frozen=True, slots=True, eq=False)
class OutOfSample:
    """Probabilities of models that never saw the image, nor one of its group.

    Attributes:
        probabilities: (N, K) float32, rows sum to 1.
        fold: (N,) int8, the fold in which the image was held out.
        members: the classifiers behind the probabilities.
        notes: what had to be done differently, in sentences for people; empty when nothing.
    """

    probabilities: Float32Array
    fold: Int8Array
    members: tuple[str, ...]
    notes: tuple[str, ...]


def out_of_sample(
    embeddings: AnyFloatArray,
    labels: AnyIntArray,
    *,
    n_classes: int,
    groups: AnyIntArray | None = None,
    folds: int = 5,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> OutOfSample:
    """Cross-validate a light classifier on embeddings.

    What happens with few labels, each told in `notes`: with fewer groups than folds there are fewer folds; a class
    that has no image left to learn from in some fold gets its share of all labels there, as a prior; a class
    without any label gets probability 0; unlabelled images are predicted and not learned from.

    Args:
        embeddings: (N, D) float.
        labels: (N,) class indices 0..K−1, or -1 for an unlabelled image.
        n_classes: K, at least 2.
        groups: (N,) near-duplicate group ids; a group stays in one fold. None: every image is a group.
        folds: at least 2.
        seed: of the assignment to folds.
        class_names: K names for the notes; without them classes are named by index.
        progress: called as (folds done, folds) after each.

    Raises:
        NotEnoughLabels: fewer than two classes have labels, or the labelled images form fewer than two groups.
        ArrayRefused: shapes, types, NaN or infinity, labels out of range.
    """
    features, labels, group_ids = _checked(embeddings, labels, n_classes, groups, folds)
    counts = np.bincount(labels[labels != UNLABELLED], minlength=n_classes)
    _check_enough(labels, group_ids, counts)
    names = list(map(str, range(n_classes))) if class_names is None else list(class_names)
    if len(names) != n_classes:
        raise ArrayRefused(f"expected {n_classes} class names, received {len(names)}")
    notes = _notes_on_labels(counts, len(labels), names)
    labelled_groups = len(np.unique(group_ids[labels != UNLABELLED]))
    if labelled_groups < folds:
        notes.append(f"{labelled_groups} folds instead of {folds}: the labelled images form only so many groups.")
        folds = labelled_groups
    fold = stratify_groups(labels, group_ids, [1 / folds] * folds, seed=seed)
    _power_transform(features)
    prior = counts / counts.sum()
    probabilities = np.empty((len(labels), n_classes), dtype=np.float32)
    lost: set[int] = set()
    unfinished = 0
    for number in range(folds):
        held_out = fold == number
        learn = ~held_out & (labels != UNLABELLED)
        if held_out.any():
            predicted, finished = _predict_fold(features, labels, learn, held_out, prior)
            probabilities[held_out] = predicted
            unfinished += not finished
            lost |= set(np.flatnonzero(counts).tolist()) - set(np.unique(labels[learn]).tolist())
        if progress is not None:
            progress(number + 1, folds)
    if lost:
        shown = ", ".join(names[one] for one in sorted(lost))
        notes.append(f"Classes with too few images to learn from in every fold (a prior was used there): {shown}.")
    if unfinished:
        notes.append(f"The classifier of {unfinished} folds stopped at {MAX_ITERATIONS} iterations.")
    return OutOfSample(probabilities, fold, MEMBERS, tuple(notes))


def _checked(
    embeddings: AnyFloatArray, labels: AnyIntArray, n_classes: int, groups: AnyIntArray | None, folds: int
) -> tuple[Float32Array, AnyIntArray, AnyIntArray]:
    labels = np.asarray(labels)
    ids = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if embeddings.ndim != 2 or not np.issubdtype(embeddings.dtype, np.floating) or not embeddings.shape[1]:
        raise ArrayRefused(f"expected (N, D) float embeddings, received {embeddings.shape} {embeddings.dtype}")
    if labels.ndim != 1 or ids.ndim != 1 or not len(embeddings) == len(labels) == len(ids):
        raise ArrayRefused(
            f"expected as many embeddings, labels and groups, received {len(embeddings)}, {labels.shape}, {ids.shape}"
        )
    if n_classes < 2 or folds < 2 or folds > 100:
        raise ArrayRefused(f"expected 2 or more classes and 2 to 100 folds, received {n_classes} and {folds}")
    if len(labels) and not (np.issubdtype(labels.dtype, np.integer) and np.issubdtype(ids.dtype, np.integer)):
        raise ArrayRefused(f"expected whole numbers as labels and groups, received {labels.dtype} and {ids.dtype}")
    if len(labels) and not UNLABELLED <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ArrayRefused(
            f"expected labels -1 to {n_classes - 1}, received {int(labels.min())} to {int(labels.max())}"
        )
    features = np.array(embeddings, dtype=np.float32)  # A copy: it is transformed in place.
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise ArrayRefused(
            f"expected finite embeddings, received NaN or infinity in {int(broken.sum())} rows, the first is row "
            f"{int(broken.argmax())}: score those images again"
        )
    return features, labels.astype(np.int64), ids.astype(np.int64)


def _check_enough(labels: AnyIntArray, groups: AnyIntArray, counts: AnyIntArray) -> None:
    present = int((counts > 0).sum())
    if present < 2:
        raise NotEnoughLabels(
            f"expected labels of two classes or more, received {int(counts.sum())} labels of {present}: "
            "nothing tells classes apart"
        )
    if len(np.unique(groups[labels != UNLABELLED])) < 2:
        raise NotEnoughLabels("expected two near-duplicate groups or more, all labelled images form one: add images")


def _notes_on_labels(counts: AnyIntArray, total: int, names: list[str]) -> list[str]:
    notes = []
    absent = [name for name, number in zip(names, counts.tolist(), strict=True) if not number]
    if absent:
        notes.append(f"Classes without a label, never predicted: {', '.join(absent)}.")
    unlabelled = total - int(counts.sum())
    if unlabelled:
        notes.append(f"{unlabelled} images have no label: they were predicted, not learned from.")
    return notes


def _predict_fold(
    features: Float32Array, labels: AnyIntArray, learn: BoolArray, held_out: BoolArray, prior: Float64Array
) -> tuple[Float64Array, bool]:
    """(n, K) probabilities of the held-out images, and whether the classifier finished."""
    present = np.unique(labels[learn])
    answer = np.tile(prior, (int(held_out.sum()), 1))
    if len(present) < 2:
        return answer, True
    train = features[learn]
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread == 0] = 1
    train -= mean
    train /= spread
    classifier, finished = _fit(train, labels[learn])
    predicted = classifier.predict_proba((features[held_out] - mean) / spread).astype(np.float64)
    # What the fold could not learn keeps its prior; the rest is shared by the classifier.
    answer[:, present] = predicted * prior[present].sum()
    return answer / answer.sum(axis=1, keepdims=True), finished


def _fit(train: Float32Array, labels: AnyIntArray) -> tuple[LogisticRegression, bool]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(C=1 / (PENALTY * len(train)), max_iter=MAX_ITERATIONS, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # It becomes a note.
        classifier.fit(train, labels)
    return classifier, bool(np.max(classifier.n_iter_) < MAX_ITERATIONS)


def _power_transform(features: Float32Array) -> None:
    negative = features < 0
    np.abs(features, out=features)
    np.sqrt(features, out=features)
    np.negative(features, out=features, where=negative)
