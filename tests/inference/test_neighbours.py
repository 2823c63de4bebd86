"""Nearest neighbours by cosine: exact for few images, nearly all found for many."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import ArrayRefused
from inference.neighbours import EmbeddingRows, nearest_neighbours
from inference.types import Float32Array, Int64Array


def clouds(count: int, dimensions: int = 32, kinds: int = 40, seed: int = 0) -> Float32Array:
    rng = np.random.default_rng(seed)
    middles = rng.gamma(1, 1, (kinds, dimensions))
    return (middles[rng.integers(0, kinds, count)] * rng.gamma(4, 0.25, (count, dimensions))).astype(np.float32)


def by_every_pair(embeddings: Float32Array, k: int) -> Int64Array:
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    close = units @ units.T
    np.fill_diagonal(close, -2)
    return np.argsort(-close, axis=1, kind="stable")[:, :k]


def test_few_images_get_their_exact_neighbours_nearest_first() -> None:
    embeddings = clouds(300)
    found = nearest_neighbours(embeddings, 5)
    assert found.indices.tolist() == by_every_pair(embeddings, 5).tolist()
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = np.einsum("nd,nkd->nk", units, units[found.indices])
    np.testing.assert_allclose(found.distances, 1 - cosines, atol=1e-5)
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_many_images_get_nearly_all_of_theirs_and_always_the_same() -> None:
    embeddings = clouds(1_500).astype(np.float16)
    found = nearest_neighbours(embeddings, 10, exhaustive=500)
    true = by_every_pair(embeddings.astype(np.float32), 10)
    kept = [len(set(row) & set(wanted)) for row, wanted in zip(found.indices.tolist(), true.tolist(), strict=True)]
    assert 9 < np.mean(kept) < 10
    again = nearest_neighbours(embeddings, 10, exhaustive=500)
    assert (found.indices == again.indices).all()
    assert (found.distances == again.distances).all()


def test_nobody_is_its_own_neighbour_nor_that_of_its_group() -> None:
    embeddings = clouds(60)
    embeddings[1] = embeddings[0]
    assert nearest_neighbours(embeddings, 1).indices[0, 0] == 1
    groups = np.arange(60)
    groups[1] = 0
    found = nearest_neighbours(embeddings, 58, groups=groups).indices
    assert 1 not in found[0]
    assert 0 not in found[1]
    assert (found[:2] >= 0).all()


def test_fewer_neighbours_than_wanted_are_marked() -> None:
    found = nearest_neighbours(np.array([[1, 0], [1, 1], [0, 0], [np.nan, 1]], np.float32), 2)
    assert found.indices.tolist() == [[1, -1], [0, -1], [-1, -1], [-1, -1]]
    assert np.isinf(found.distances[:, 1]).all()
    assert found.distances[0, 0] == pytest.approx(1 - 0.5**0.5)
    assert nearest_neighbours(np.empty((0, 3)), 2).indices.shape == (0, 2)


def test_equal_images_without_end_are_no_trouble() -> None:
    found = nearest_neighbours(np.ones((700, 4), np.float16), 3, exhaustive=500)
    assert (found.indices >= 0).all()
    np.testing.assert_allclose(found.distances, 0, atol=1e-6)


def test_a_sketch_keeps_cosines() -> None:
    rows = EmbeddingRows(clouds(400, dimensions=600))
    one, other = np.arange(0, 400, 2), np.arange(1, 400, 2)
    error = rows.sketch(192).cosines(one, other) - rows.cosines(one, other)
    expected = (1 - rows.cosines(one, other).astype(np.float64) ** 2) / 192**0.5
    assert 0.7 < np.sqrt(np.mean((error / expected) ** 2)) < 1.3
    assert rows.sketch(600) is rows


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArrayRefused, match="1 or more"):
        nearest_neighbours(clouds(5), 0)
    with pytest.raises(ArrayRefused, match=r"\(N, D\)"):
        nearest_neighbours(np.ones(5), 1)
    with pytest.raises(ArrayRefused, match=r"\(5,\)"):
        nearest_neighbours(clouds(5), 1, groups=np.arange(4))
