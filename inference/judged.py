"""Given labels beside out-of-sample probabilities: checked once, read in chunks that fit a processor's cache.

Every measure of label quality walks over the same two arrays. Here they are checked and handed out class by class
(K, n) and normalised, so that each step runs along contiguous memory and nothing of the size (N, K) is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inference.errors import ArrayRefused
from inference.types import AnyFloatArray, AnyIntArray, Float64Array, Int64Array

ROW_SUM_TOLERANCE = 1e-3
CHUNK_VALUES = 2**18
"""Probabilities a chunk: two megabytes of float64."""

LEAST_FLOOR, GREATEST_FLOOR = 1e-9, 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive images.

    Attributes:
        rows: where they stand in the arrays.
        labels: (n,) int64 given class indices.
        probabilities: (K, n) float64, columns sum to 1; a copy that may be overwritten.
    """

    rows: slice
    labels: Int64Array
    probabilities: Float64Array

    def given(self) -> Float64Array:
        """(n,) the given label's probability."""
        return self.probabilities[self.labels, np.arange(len(self.labels))]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Labels and probabilities that have been checked; made by `judged`.

    Attributes:
        labels: (N,) int64 in 0..K−1.
        probabilities: (N, K) float as received; rows sum to 1 within `ROW_SUM_TOLERANCE`.
        floor: what a probability of 0 stands for where its logarithm is taken: half of the least other one, as zeros
            come from rounding and from counting votes, within `LEAST_FLOOR` to `GREATEST_FLOOR`.
    """

    labels: Int64Array
    probabilities: AnyFloatArray
    floor: float

    @property
    def n_classes(self) -> int:
        return int(self.probabilities.shape[1])

    def chunks(self) -> Iterator[Chunk]:
        """All images in order."""
        size = max(1024, CHUNK_VALUES // self.n_classes)
        for start in range(0, len(self.labels), size):
            rows = slice(start, start + size)
            yield Chunk(rows, self.labels[rows], _normalised(self.probabilities[rows]))

    def of(self, rows: Int64Array) -> Float64Array:
        """(K, n) normalised float64 probabilities of some images."""
        return _normalised(self.probabilities[rows])

    def sample(self, at_most: int) -> tuple[Int64Array, Float64Array]:
        """(n,) labels and (n, K) normalised probabilities of evenly spaced images; all when there are so few."""
        step = -(-len(self.labels) // at_most) if at_most < len(self.labels) else 1
        return self.labels[::step], _normalised(self.probabilities[::step]).T


def judged(labels: AnyIntArray, probabilities: AnyFloatArray) -> Judged:
    """Check labels and probabilities.

    Args:
        labels: (N,) whole numbers 0..K−1.
        probabilities: (N, K) float, K ≥ 2, finite, 0 or more, rows sum to 1 ± `ROW_SUM_TOLERANCE`. N may be 0.

    Raises:
        ArrayRefused: anything else, with the first row that is wrong.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or not np.issubdtype(probabilities.dtype, np.floating):
        raise ArrayRefused(
            f"expected (N, K) float probabilities of two classes or more, received {probabilities.shape} "
            f"{probabilities.dtype}"
        )
    count, classes = probabilities.shape
    if labels.shape != (count,) or (count and not np.issubdtype(labels.dtype, np.integer)):
        raise ArrayRefused(f"expected ({count},) whole numbers as labels, received {labels.shape} {labels.dtype}")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ArrayRefused(f"expected labels 0 to {classes - 1}, received {int(labels.min())} to {int(labels.max())}")
    floor = _least_positive(probabilities) / 2 if _holds_zeros(probabilities) else LEAST_FLOOR
    floor = min(max(floor, LEAST_FLOOR), GREATEST_FLOOR)
    return Judged(labels.astype(np.int64, copy=False), probabilities, floor)


def _holds_zeros(probabilities: AnyFloatArray) -> bool:
    """Refuse rows that are no probabilities, and tell whether any of them is 0."""
    if probabilities.dtype in (np.float32, np.float64) and len(probabilities):
        # One product and one minimum settle nearly every array; NaN and infinity fail both comparisons.
        with np.errstate(invalid="ignore", over="ignore"):
            sums = probabilities @ np.ones(probabilities.shape[1], dtype=probabilities.dtype)
            sums -= 1
            least = probabilities.min()
            if least >= 0 and np.abs(sums, out=sums).max() <= ROW_SUM_TOLERANCE:
                return not least
    count, classes = probabilities.shape
    size = max(1024, CHUNK_VALUES // classes)
    wrong, first, zeros = 0, -1, False
    for start in range(0, count, size):
        values = np.ascontiguousarray(probabilities[start : start + size].T, dtype=np.float64)
        # NaN and infinity fail these comparisons by themselves: a sum that holds one is NaN or infinite.
        with np.errstate(invalid="ignore", over="ignore"):
            least = values.min(axis=0)
            right = (np.abs(values.sum(axis=0) - 1) <= ROW_SUM_TOLERANCE) & (least >= 0)
        zeros = zeros or not least.all()
        if not right.all():
            first = start + int(right.argmin()) if first < 0 else first
            wrong += int((~right).sum())
    if wrong:
        row = [float(value) for value in probabilities[first, :12]]
        shown = f"{row}" if classes <= 12 else f"{row} and {classes - 12} more"
        raise ArrayRefused(
            f"expected probabilities of 0 or more whose rows sum to 1 ± {ROW_SUM_TOLERANCE:g}, received {wrong} other "
            f"rows, the first is row {first}: {shown}"
        )
    return zeros


def _least_positive(probabilities: AnyFloatArray) -> float:
    size = max(1024, CHUNK_VALUES // probabilities.shape[1])
    chunks = (probabilities[start : start + size] for start in range(0, len(probabilities), size))
    return min(float(chunk.min(where=chunk > 0, initial=1.0)) for chunk in chunks)


def _normalised(rows: AnyFloatArray) -> Float64Array:
    columns = np.array(rows.T, dtype=np.float64, order="C")
    columns /= columns.sum(axis=0)
    return columns
