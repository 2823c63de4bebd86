"""Near-duplicate groups: around a centre, never a chain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.duplicates import MAX_DHASH_BITS, MAX_PHASH_BITS, bits_apart, group_near_duplicates
from inference.errors import ArrayRefused
from inference.types import Int64Array


def random_hashes(count: int, seed: int = 0) -> Int64Array:
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, count, dtype=np.int64)


def flip(value: int, bits: list[int]) -> int:
    unsigned = (value & (2**64 - 1)) ^ sum(1 << bit for bit in bits)
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def brute_force(phash: Int64Array, dhash: Int64Array) -> list[int]:
    perceptual, difference = phash.view(np.uint64), dhash.view(np.uint64)
    groups = list(range(len(phash)))
    taken = [False] * len(phash)
    for centre in range(len(phash)):
        if taken[centre]:
            continue
        near = bits_apart(perceptual[centre], perceptual) <= MAX_PHASH_BITS
        near &= bits_apart(difference[centre], difference) <= MAX_DHASH_BITS
        for member in np.flatnonzero(near).tolist():
            if member > centre and not taken[member]:
                groups[member], taken[member] = centre, True
    return groups


def test_different_images_stand_alone() -> None:
    groups = group_near_duplicates(random_hashes(500), random_hashes(500, seed=1))
    assert groups.tolist() == list(range(500))


def test_both_hashes_must_be_near() -> None:
    phash, dhash = random_hashes(3), random_hashes(3, seed=1)
    phash[1] = flip(int(phash[0]), list(range(0, 64, 8)))
    dhash[1] = flip(int(dhash[0]), list(range(0, 64, 8)))
    phash[2] = phash[0]
    assert group_near_duplicates(phash, dhash).tolist() == [0, 0, 2]
    phash[1] = flip(int(phash[0]), list(range(9)))
    assert group_near_duplicates(phash, dhash).tolist() == [0, 1, 2]


def test_it_never_chains_unlike_images() -> None:
    phash, dhash = random_hashes(1).repeat(6), random_hashes(1, seed=1).repeat(6)
    for step in range(1, 6):
        phash[step] = flip(int(phash[step - 1]), list(range(step * 6, step * 6 + 6)))
    groups = group_near_duplicates(phash, dhash)
    assert groups.tolist() == [0, 0, 2, 2, 4, 4]


@pytest.mark.parametrize("count", [60, 3_000])
def test_it_finds_what_comparing_every_pair_finds(count: int) -> None:
    rng = np.random.default_rng(3)
    phash, dhash = random_hashes(count), random_hashes(count, seed=1)
    for image in range(count // 2, count):
        original = int(rng.integers(0, count // 2))
        phash[image] = flip(int(phash[original]), rng.choice(64, int(rng.integers(0, 11)), replace=False).tolist())
        dhash[image] = flip(int(dhash[original]), rng.choice(64, int(rng.integers(0, 11)), replace=False).tolist())
    groups = group_near_duplicates(phash, dhash)
    assert groups.tolist() == brute_force(phash, dhash)
    assert len(set(groups.tolist())) < count


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=9, unique=True), st.integers(0, 63)),
        max_size=30,
    )
)
def test_every_member_is_near_its_centre_and_the_centre_is_the_smallest_index(
    images: list[tuple[int, list[int], int]],
) -> None:
    bases = random_hashes(4).tolist(), random_hashes(4, seed=1).tolist()
    phash = np.array([flip(bases[0][base], bits) for base, bits, _ in images], dtype=np.int64)
    dhash = np.array([flip(bases[1][base], [bit]) for base, _, bit in images], dtype=np.int64)
    groups = group_near_duplicates(phash, dhash)
    for image, centre in enumerate(groups.tolist()):
        assert centre <= image
        assert groups[centre] == centre
        assert bits_apart(phash.view(np.uint64)[image], phash.view(np.uint64)[centre]) <= MAX_PHASH_BITS
        assert bits_apart(dhash.view(np.uint64)[image], dhash.view(np.uint64)[centre]) <= MAX_DHASH_BITS
    assert groups.tolist() == brute_force(phash, dhash)


def test_pictures_without_structure_are_only_grouped_by_their_bytes() -> None:
    phash, dhash = np.full(4, -(2**63)), np.zeros(4, dtype=np.int64)
    assert group_near_duplicates(phash, dhash).tolist() == [0, 1, 2, 3]
    assert group_near_duplicates(phash, dhash, ["a", "b", "a", "c"]).tolist() == [0, 1, 0, 3]


def test_thousands_of_equal_images_are_one_group() -> None:
    phash, dhash = random_hashes(1).repeat(20_000), random_hashes(1, seed=1).repeat(20_000)
    assert not group_near_duplicates(phash, dhash).any()


def test_nothing_in_nothing_out() -> None:
    assert group_near_duplicates(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).shape == (0,)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArrayRefused, match="received 3, 2 and no"):
        group_near_duplicates(random_hashes(3), random_hashes(2))
    with pytest.raises(ArrayRefused, match="int64"):
        group_near_duplicates(random_hashes(3).astype(np.int32), random_hashes(3))
