"""A cosine nearest-neighbour vote. Who is near does not depend on labels: it is found once, and voted on again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from inference.types import AnyIntArray, BoolArray, Float32Array, Float64Array

NEIGHBOURS = 50
TEMPERATURE = 0.1
"""A neighbour of cosine s counts e^(s / TEMPERATURE)."""

PRIOR_VOTES = 2.0
"""How much the classes' shares count beside the votes, the nearest neighbour's being 1."""

MAX_REFERENCES = 10_000
"""Of more images a sample votes: the cost then grows with their number, not with its square."""

DIMENSIONS = 64
"""Principal directions that are compared: on CIFAR-10N no worse than all 1,280, and 20 times quicker."""

_BLOCK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The nearest images of each, never of its own near-duplicate group.

    Attributes:
        rows: (N, k) int32 row numbers in no order.
        similarity: (N, k) float16 cosine; -inf where there is no such neighbour, and the row number means nothing.
    """

    rows: npt.NDArray[np.int32]
    similarity: npt.NDArray[np.float16]


def find_neighbours(
    features: Float32Array,
    mean: Float32Array,
    spread: Float32Array,
    correlation: Float32Array,
    groups: AnyIntArray,
    usable: BoolArray,
    *,
    seed: int = 0,
) -> Neighbours:
    """The `NEIGHBOURS` nearest images of each, by cosine between their principal components.

    Args:
        features: (N, D) float32, finite where usable.
        mean, spread, correlation: (D,), (D,) and (D, D): see `logistic.Scaling`.
        groups: (N,) near-duplicate group ids; an image of the same group is no neighbour.
        usable: (N,) which rows have features; the others have no neighbours, and are nobody's.
        seed: of the sample of more than `MAX_REFERENCES` images.
    """
    count = len(features)
    compared = _components(features, mean, spread, correlation)
    # A row that equals the mean points nowhere.
    usable = usable & compared.any(axis=1)
    references = np.flatnonzero(usable)
    if len(references) > MAX_REFERENCES:
        references = np.sort(np.random.default_rng(seed).choice(references, MAX_REFERENCES, replace=False))
    wanted = min(NEIGHBOURS, len(references))
    rows = np.zeros((count, wanted), dtype=np.int32)
    similarity = np.full((count, wanted), -np.inf, dtype=np.float16)
    against, groups_of_references = compared[references].T.copy(), groups[references]
    for start in range(0, count if wanted else 0, _BLOCK):
        block = slice(start, start + _BLOCK)
        cosine = compared[block] @ against
        cosine[groups[block, None] == groups_of_references] = -np.inf
        cosine[~usable[block]] = -np.inf
        nearest = np.argpartition(cosine, len(references) - wanted, axis=1)[:, len(references) - wanted :]
        rows[block] = references[nearest]
        similarity[block] = np.take_along_axis(cosine, nearest, axis=1)
    return Neighbours(rows, similarity)


def vote(neighbours: Neighbours, labels: AnyIntArray, weights: Float64Array, prior: Float64Array) -> Float32Array:
    """The neighbours' labels, weighted by their nearness, and a little of the prior.

    Args:
        neighbours: of N images.
        labels: (N,) class indices; not read where the weight is 0.
        weights: (N,) how much an image's label counts.
        prior: (K,) the classes' shares.

    Returns:
        (N, K) float32, rows sum to 1.
    """
    similarity = neighbours.similarity.astype(np.float32)
    best = similarity.max(axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore"):  # -inf less -inf, where there is no neighbour at all.
        counts = np.nan_to_num(np.exp((similarity - best) / TEMPERATURE)) * weights[neighbours.rows]
    voted = np.where(counts > 0, labels[neighbours.rows], 0)
    flat = np.arange(len(voted))[:, None] * len(prior) + voted
    summed = np.bincount(flat.ravel(), weights=counts.ravel(), minlength=len(voted) * len(prior))
    votes = summed.reshape(len(voted), len(prior)) + PRIOR_VOTES * prior
    answer: Float32Array = (votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)
    return answer


def _components(
    features: Float32Array, mean: Float32Array, spread: Float32Array, correlation: Float32Array
) -> Float32Array:
    """(N, d) of length 1 each. Every direction counts by the root of its spread: neither drowned nor all alike."""
    size = features.shape[1]
    if len(correlation):
        least = max(0, size - DIMENSIONS)
        values, vectors = eigh(correlation, subset_by_index=[least, size - 1], check_finite=False)
        kept = values > 1e-6 * max(float(values[-1]), 1e-12)
        directions = vectors[:, kept] / np.sqrt(np.sqrt(values[kept]))
    else:
        # Too many columns for a correlation matrix: random directions keep angles (Johnson and Lindenstrauss, 1984).
        directions = np.random.default_rng(0).normal(size=(size, 4 * DIMENSIONS)) / np.sqrt(size)
    projection = (directions / spread[:, None]).astype(np.float32)
    answer = np.empty((len(features), projection.shape[1]), dtype=np.float32)
    for start in range(0, len(features), _BLOCK):
        block = slice(start, start + _BLOCK)
        answer[block] = (features[block] - mean) @ projection
    length = np.linalg.norm(answer, axis=1, keepdims=True)
    directed: Float32Array = np.divide(answer, length, out=np.zeros_like(answer), where=length > 0)
    return directed
