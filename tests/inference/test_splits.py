"""Splits: groups whole, classes even, ratios kept, earlier splits kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import ArrayRefused
from inference.splits import GroupAcrossSplits, assign_splits

SHARES = [(0.8, 0.1, 0.1), (0.7, 0.3, 0.0), (1.0, 0.0, 0.0), (0.34, 0.33, 0.33), (0.5, 0.0, 0.5)]

images = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), min_size=1, max_size=200)


@settings(max_examples=80, deadline=None)
@given(images=images, ratios=st.sampled_from(SHARES), seed=st.integers(0, 5))
def test_groups_stay_whole_and_ratios_hold_within_one_groups_size(
    images: list[tuple[int, int]], ratios: tuple[float, float, float], seed: int
) -> None:
    labels, groups = (np.array(column) for column in zip(*images, strict=True))
    splits = assign_splits(labels, groups, ratios, seed=seed)
    assert splits.dtype == np.int8
    for group in np.unique(groups):
        assert len(set(splits[groups == group].tolist())) == 1
    largest = np.bincount(groups).max()
    sizes = np.bincount(splits, minlength=3)
    assert np.abs(sizes - np.array(ratios) * len(labels)).max() <= largest + 1e-6
    assert not sizes[np.array(ratios) == 0].any()
    np.testing.assert_array_equal(splits, assign_splits(labels, groups, ratios, seed=seed))


@settings(max_examples=60, deadline=None)
@given(images=images, data=st.data())
def test_fixed_images_stay_and_their_group_follows(images: list[tuple[int, int]], data: st.DataObject) -> None:
    labels, groups = (np.array(column) for column in zip(*images, strict=True))
    fixed = np.full(len(labels), -1)
    split_of = {group: data.draw(st.integers(-1, 2)) for group in sorted(set(groups.tolist()))}
    for image, group in enumerate(groups.tolist()):
        if split_of[group] >= 0 and data.draw(st.booleans()):
            fixed[image] = split_of[group]
    splits = assign_splits(labels, groups, (0.8, 0.1, 0.1), fixed=fixed)
    assert (splits[fixed >= 0] == fixed[fixed >= 0]).all()
    for group in np.unique(groups):
        assert len(set(splits[groups == group].tolist())) == 1


def test_every_class_is_split_alike() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    splits = assign_splits(labels, np.arange(1000), (80, 10, 10))
    for one in range(3):
        shares = np.bincount(splits[labels == one], minlength=3) / (labels == one).sum()
        np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)


def test_a_second_release_keeps_every_split_and_fills_up_to_the_ratios() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 1500)
    groups = np.arange(1500)
    first = assign_splits(labels[:1000], groups[:1000], (0.8, 0.1, 0.1))
    fixed = np.concatenate([first, np.full(500, -1)])
    second = assign_splits(labels, groups, (0.8, 0.1, 0.1), fixed=fixed, seed=9)
    np.testing.assert_array_equal(second[:1000], first)
    np.testing.assert_allclose(np.bincount(second), [1200, 150, 150], atol=1)


def test_another_seed_gives_other_splits() -> None:
    labels, groups = np.zeros(200, dtype=int), np.arange(200)
    first, second = (assign_splits(labels, groups, (0.5, 0.25, 0.25), seed=seed) for seed in (0, 1))
    assert (first != second).any()


def test_a_group_fixed_in_two_splits_is_refused_by_its_id() -> None:
    with pytest.raises(GroupAcrossSplits, match="7") as caught:
        assign_splits(np.zeros(3, int), np.array([7, 7, 8]), (0.8, 0.1, 0.1), fixed=np.array([0, 2, -1]))
    assert caught.value.groups == (7,)


@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.2), (80, 10, 20), (1.2, -0.1, -0.1), (0, 0, 0), (float("nan"), 0, 1)])
def test_ratios_that_do_not_sum_to_one_are_refused(ratios: tuple[float, float, float]) -> None:
    with pytest.raises(ArrayRefused, match="ratios"):
        assign_splits(np.zeros(4, int), np.arange(4), ratios)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArrayRefused, match="as many"):
        assign_splits(np.zeros(4, int), np.arange(3), (0.8, 0.1, 0.1))
    with pytest.raises(ArrayRefused, match="fixed"):
        assign_splits(np.zeros(2, int), np.arange(2), (0.8, 0.1, 0.1), fixed=np.array([3, -1]))


def test_nothing_in_nothing_out() -> None:
    assert assign_splits(np.array([], int), np.array([], int), (0.8, 0.1, 0.1)).shape == (0,)
