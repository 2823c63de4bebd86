"""The nearest-neighbour vote: by images of other groups only, and by a sample of very many."""

from __future__ import annotations

import numpy as np
import pytest

from inference import neighbour_vote
from inference.logistic import measure_scaling
from inference.neighbour_vote import Neighbours, find_neighbours, vote
from inference.types import AnyIntArray, BoolArray, Float32Array


def found(features: Float32Array, groups: AnyIntArray | None = None, usable: BoolArray | None = None) -> Neighbours:
    count = len(features)
    usable = np.ones(count, dtype=bool) if usable is None else usable
    scaling = measure_scaling(features, usable)
    ids = np.arange(count) if groups is None else groups
    return find_neighbours(features, scaling.mean, scaling.spread, scaling.correlation, ids, usable)


def two_places(count: int = 120) -> tuple[Float32Array, AnyIntArray]:
    labels = np.arange(count) % 2
    rng = np.random.default_rng(0)
    return (rng.normal(size=(2, 12))[labels] * 2 + rng.normal(size=(count, 12))).astype(np.float32), labels


def test_neighbours_are_near_and_never_the_image_or_one_of_its_group() -> None:
    features, labels = two_places()
    groups = np.arange(120) // 4
    near = found(features, groups)
    there = np.isfinite(near.similarity)
    assert (groups[near.rows] != groups[:, None])[there].all()
    nearest = near.rows[np.arange(120), near.similarity.argmax(axis=1)]
    assert (labels[nearest] == labels).mean() > 0.95


def test_they_vote_by_nearness_and_only_where_they_have_a_label() -> None:
    near = Neighbours(np.array([[1, 2, 3]] * 4, dtype=np.int32), np.array([[0.9, 0.8, 0.1]] * 4, dtype=np.float16))
    prior = np.array([0.5, 0.5])
    labels, weights = np.array([0, 0, 1, 1]), np.ones(4)
    both = vote(near, labels, weights, prior)
    np.testing.assert_allclose(both.sum(axis=1), 1, atol=1e-6)
    expected = (1 + 2 * 0.5) / (1 + np.exp(-1) + np.exp(-8) + 2)
    assert both[0, 0] == pytest.approx(expected, rel=2e-3)
    unlabelled = vote(near, np.array([0, -1, 1, 1]), np.array([1.0, 0, 1, 1]), prior)
    assert unlabelled[0, 1] > 0.5 > both[0, 1]


def test_an_image_without_features_votes_for_nobody_and_is_told_the_prior() -> None:
    features, labels = two_places()
    usable = np.arange(120) != 7
    features[7] = 0
    near = found(features, usable=usable)
    assert not np.isfinite(near.similarity[7]).any()
    assert not (near.rows[np.isfinite(near.similarity)] == 7).any()
    prior = np.array([0.25, 0.75])
    np.testing.assert_allclose(vote(near, labels, np.ones(120), prior)[7], prior, atol=1e-6)


def test_of_very_many_images_a_sample_votes_about_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = two_places(600)
    prior = np.array([0.5, 0.5])
    everyone = vote(found(features), labels, np.ones(600), prior)
    monkeypatch.setattr(neighbour_vote, "MAX_REFERENCES", 200)
    near = found(features)
    assert len(np.unique(near.rows)) <= 200
    sample = vote(near, labels, np.ones(600), prior)
    assert (sample.argmax(axis=1) == everyone.argmax(axis=1)).mean() > 0.97


def test_more_columns_than_a_correlation_matrix_is_made_of_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.logistic.MAX_WHITENED", 8)
    features, labels = two_places()
    answer = vote(found(features), labels, np.ones(120), np.array([0.5, 0.5]))
    assert (answer.argmax(axis=1) == labels).mean() > 0.95
