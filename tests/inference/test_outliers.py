"""Off-topic images: far from all others in embedding space."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import ArrayRefused
from inference.outliers import FEWEST_IMAGES, find_outliers
from inference.types import Float32Array


def of_one_kind(count: int, seed: int = 0) -> Float32Array:
    """A wide cloud around one direction: images of one topic."""
    rng = np.random.default_rng(seed)
    return (rng.gamma(2, 1, 64) * rng.gamma(3, 0.33, (count, 64))).astype(np.float32)


def with_strangers(count: int, strangers: int) -> Float32Array:
    embeddings = of_one_kind(count)
    embeddings[:strangers] = np.random.default_rng(1).gamma(0.1, 1, (strangers, 64))
    return embeddings


def test_planted_strangers_have_the_lowest_scores_and_are_marked() -> None:
    found = find_outliers(with_strangers(500, 5))
    assert set(np.argsort(found.score)[:5].tolist()) == set(range(5))
    assert found.is_outlier[:5].all()
    assert found.is_outlier.mean() < 0.03
    assert (found.is_outlier == (found.distance > found.threshold)).all()


def test_a_typical_image_scores_one_half() -> None:
    found = find_outliers(of_one_kind(300))
    assert np.median(found.score) == pytest.approx(0.5)
    assert ((found.score > 0) & (found.score <= 1)).all()
    assert (np.argsort(found.score) == np.argsort(-found.distance)).all()


def test_a_stranger_is_not_saved_by_its_copies() -> None:
    embeddings = with_strangers(500, 1)
    embeddings[1:13] = embeddings[0]
    assert not find_outliers(embeddings).is_outlier[0]
    groups = np.arange(500)
    groups[:13] = 0
    assert find_outliers(embeddings, groups).is_outlier[:13].all()


def test_the_mark_is_adjustable() -> None:
    embeddings = of_one_kind(500)
    by_spreads = [find_outliers(embeddings, spreads=many, smallest_ratio=1) for many in (0.5, 1.5, 6.0)]
    marked = [int(found.is_outlier.sum()) for found in by_spreads]
    assert marked[0] > marked[1] > marked[2] == 0
    assert find_outliers(embeddings, spreads=0.5, smallest_ratio=2).is_outlier.sum() == 0


def test_equal_images_are_typical_and_none_is_an_outlier() -> None:
    found = find_outliers(np.ones((50, 8), np.float16))
    np.testing.assert_allclose(found.score, 1, atol=1e-2)
    assert not found.is_outlier.any()


def test_few_images_are_scored_but_not_judged() -> None:
    found = find_outliers(with_strangers(FEWEST_IMAGES - 1, 1))
    assert found.score.argmin() == 0
    assert not found.is_outlier.any()
    assert np.isinf(found.threshold)


def test_images_without_embedding_have_no_score() -> None:
    embeddings = of_one_kind(60)
    embeddings[3] = 0
    embeddings[4, 5] = np.nan
    found = find_outliers(embeddings)
    assert np.flatnonzero(np.isnan(found.score)).tolist() == [3, 4]
    assert not found.is_outlier[3:5].any()
    assert not np.isin(found.neighbours.indices, [3, 4]).any()


def test_one_image_or_none_is_no_trouble() -> None:
    assert np.isnan(find_outliers(np.ones((1, 4))).score).all()
    assert find_outliers(np.empty((0, 4))).score.shape == (0,)


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ArrayRefused, match="spreads"):
        find_outliers(of_one_kind(30), spreads=0)
    with pytest.raises(ArrayRefused, match="smallest_ratio"):
        find_outliers(of_one_kind(30), smallest_ratio=0.5)
