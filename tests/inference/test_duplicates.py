"""Near-duplicate groups: around a centre, never a chain."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inference.duplicates import (
    BITS_PER_COSINE,
    FEWEST_EMBEDDINGS,
    LEAF,
    MAX_BITS,
    MAX_BITS_AND_DISTANCE,
    MAX_BITS_WITH_EMBEDDING,
    MAX_PHASH_BITS,
    bits_apart,
    group_exact_duplicates,
    group_near_duplicates,
)
from inference.errors import ArrayRefused
from inference.inspection import inspect_image
from inference.neighbours import EXHAUSTIVE
from inference.types import Float32Array, Int64Array


def random_hashes(count: int, seed: int = 0) -> Int64Array:
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, count, dtype=np.int64)


def flip(value: int, bits: list[int]) -> int:
    unsigned = (value & (2**64 - 1)) ^ sum(1 << bit for bit in bits)
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def brute_force(phash: Int64Array, dhash: Int64Array, embeddings: Float32Array | None = None) -> list[int]:
    perceptual, difference = phash.view(np.uint64), dhash.view(np.uint64)
    bits = bits_apart(perceptual[:, None], perceptual).astype(int)
    near = bits <= MAX_PHASH_BITS
    bits += bits_apart(difference[:, None], difference)
    near &= bits <= MAX_BITS
    if embeddings is not None:
        units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        seen = units - units.mean(axis=0)
        seen /= np.linalg.norm(seen, axis=1, keepdims=True)
        joint = bits + BITS_PER_COSINE * (1 - seen @ seen.T) <= MAX_BITS_AND_DISTANCE
        near |= joint & (bits <= MAX_BITS_WITH_EMBEDDING)
    groups = list(range(len(phash)))
    for centre in range(len(phash)):
        if groups[centre] == centre:
            for member in np.flatnonzero(near[centre]).tolist():
                if member > centre and groups[member] == member:
                    groups[member] = centre
    return groups


def scattered(count: int, dimensions: int = 64, seed: int = 5) -> Float32Array:
    """Embeddings as a network's last pooling gives them: none negative, all of one general direction."""
    return np.random.default_rng(seed).gamma(2, 1, (count, dimensions)).astype(np.float32)


def test_different_images_stand_alone() -> None:
    groups = group_near_duplicates(random_hashes(500), random_hashes(500, seed=1))
    assert groups.tolist() == list(range(500))


def test_both_hashes_must_be_near() -> None:
    phash, dhash = random_hashes(3), random_hashes(3, seed=1)
    phash[1] = flip(int(phash[0]), list(range(0, 64, 8)))
    dhash[1] = flip(int(dhash[0]), list(range(0, 64, 8)))
    phash[2] = phash[0]
    assert group_near_duplicates(phash, dhash).tolist() == [0, 0, 2]
    dhash[1] = flip(int(dhash[1]), [1])
    assert group_near_duplicates(phash, dhash).tolist() == [0, 1, 2]
    phash[1], dhash[1] = flip(int(phash[0]), list(range(9))), dhash[0]
    assert group_near_duplicates(phash, dhash).tolist() == [0, 1, 2]


def test_an_embedding_confirms_what_the_hashes_alone_leave_open() -> None:
    phash, dhash = random_hashes(FEWEST_EMBEDDINGS), random_hashes(FEWEST_EMBEDDINGS, seed=1)
    embeddings = scattered(FEWEST_EMBEDDINGS)
    phash[7], dhash[7] = flip(int(phash[3]), list(range(16))), flip(int(dhash[3]), list(range(16)))
    embeddings[7] = 2 * embeddings[3]
    assert group_near_duplicates(phash, dhash, None, embeddings)[7] == 3
    assert group_near_duplicates(phash, dhash)[7] == 7
    dhash[7] = flip(int(dhash[7]), [16])
    assert group_near_duplicates(phash, dhash, None, embeddings)[7] == 7


def test_an_embedding_alone_groups_nothing() -> None:
    count = FEWEST_EMBEDDINGS
    embeddings = scattered(count // 2).repeat(2, axis=0)
    groups = group_near_duplicates(random_hashes(count), random_hashes(count, seed=1), None, embeddings)
    assert groups.tolist() == list(range(count))


def test_images_of_one_kind_are_not_copies_of_each_other() -> None:
    count = 200
    phash, dhash = random_hashes(1).repeat(count), random_hashes(1, seed=1).repeat(count)
    for image in range(1, count):
        bits = np.random.default_rng(image).choice(64, 20, replace=False).tolist()
        phash[image], dhash[image] = flip(int(phash[0]), bits[:12]), flip(int(dhash[0]), bits[12:])
    embeddings = 10 + scattered(count) / 100
    embeddings[1] = embeddings[0] * 1.5
    groups = group_near_duplicates(phash, dhash, None, embeddings)
    assert groups[1] == 0
    assert groups[2:].tolist() == list(range(2, count))


def test_images_without_embedding_are_grouped_by_their_hashes() -> None:
    count = FEWEST_EMBEDDINGS + 3
    phash, dhash = random_hashes(count), random_hashes(count, seed=1)
    embeddings = scattered(count)
    phash[2], dhash[2] = phash[1], flip(int(dhash[1]), [3])
    phash[5], dhash[5] = flip(int(phash[4]), list(range(20))), dhash[4]
    embeddings[5] = embeddings[4]
    embeddings[1], embeddings[2, 0] = 0, np.nan
    groups = group_near_duplicates(phash, dhash, None, embeddings)
    assert (groups[2], groups[5]) == (1, 4)
    embeddings[4, 1] = np.inf
    assert group_near_duplicates(phash, dhash, None, embeddings)[5] == 5


def test_a_few_embeddings_are_not_used() -> None:
    phash, dhash = random_hashes(2), random_hashes(2, seed=1)
    phash[1], dhash[1] = flip(int(phash[0]), list(range(10))), dhash[0]
    assert group_near_duplicates(phash, dhash, None, np.ones((2, 8), np.float16)).tolist() == [0, 1]


def test_a_model_that_gives_thousands_of_images_one_embedding_groups_none_of_them() -> None:
    count = EXHAUSTIVE + 1_000
    embeddings = np.eye(3, dtype=np.float16)[np.random.default_rng(8).integers(0, 3, count)]
    groups = group_near_duplicates(random_hashes(count), random_hashes(count, seed=1), None, embeddings)
    assert groups.tolist() == list(range(count))


def test_it_finds_by_embedding_what_comparing_every_pair_finds() -> None:
    count = 3 * LEAF
    rng = np.random.default_rng(4)
    phash, dhash, embeddings = random_hashes(count), random_hashes(count, seed=1), scattered(count, dimensions=256)
    for image in range(count // 2, count):
        original = int(rng.integers(0, count // 2))
        phash[image] = flip(int(phash[original]), rng.choice(64, int(rng.integers(0, 20)), replace=False).tolist())
        dhash[image] = flip(int(dhash[original]), rng.choice(64, int(rng.integers(0, 20)), replace=False).tolist())
        embeddings[image] = embeddings[original] * rng.normal(1, rng.uniform(0, 0.3), 256)
    groups = group_near_duplicates(phash, dhash, None, embeddings)
    assert groups.tolist() == brute_force(phash, dhash, embeddings)
    by_hash = group_near_duplicates(phash, dhash)
    assert (groups[count // 2 :] < count // 2).sum() > 1.2 * (by_hash[count // 2 :] < count // 2).sum()


def test_copies_are_found_among_more_images_than_are_compared_one_by_one() -> None:
    count, copies = EXHAUSTIVE + 2_000, 500
    rng = np.random.default_rng(6)
    kinds = scattered(50, dimensions=96)[rng.integers(0, 50, count)]
    embeddings = (kinds * rng.gamma(4, 0.25, kinds.shape)).astype(np.float16)
    phash, dhash = random_hashes(count), random_hashes(count, seed=1)
    originals = rng.choice(count - copies, copies, replace=False)
    for place, original in enumerate(originals.tolist(), count - copies):
        phash[place] = flip(int(phash[original]), rng.choice(64, 14, replace=False).tolist())
        dhash[place] = flip(int(dhash[original]), rng.choice(64, 14, replace=False).tolist())
        embeddings[place] = embeddings[original] * rng.normal(1, 0.05, 96)
    groups = group_near_duplicates(phash, dhash, None, embeddings)
    assert (groups[count - copies :] == originals).mean() > 0.99
    assert groups[: count - copies].tolist() == list(range(count - copies))
    assert groups.tolist() == group_near_duplicates(phash, dhash, None, embeddings).tolist()


def test_a_crowd_of_like_images_is_grouped_without_a_crowd_of_pairs() -> None:
    count = 20_000
    rng = np.random.default_rng(7)
    phash, dhash = random_hashes(1).repeat(count), random_hashes(1, seed=1).repeat(count)
    masks = np.uint64(1) << rng.integers(0, 64, (2, 2, count), dtype=np.uint64)
    phash = (phash.view(np.uint64) ^ masks[0, 0] ^ masks[0, 1]).view(np.int64)
    dhash = (dhash.view(np.uint64) ^ masks[1, 0] ^ masks[1, 1]).view(np.int64)
    tracemalloc.start()
    try:
        groups = group_near_duplicates(phash, dhash)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not groups.any()
    assert peak < 250 << 20  # 200 million pairs would be 1.6 GB.


def test_re_encoded_and_resized_photographs_are_grouped_and_different_ones_are_not(
    photographs: tuple[Path, Path], tmp_path: Path
) -> None:
    hashes = []
    for path in photographs:
        with Image.open(path) as opened:
            whole = opened.convert("RGB")
        for left in (0, 213, 426):
            tile = whole.crop((left, 100, left + 213, 313))
            tile.save(tmp_path / "tile.png")
            tile.save(tmp_path / "tile.jpg", quality=30)
            tile.resize((107, 107)).save(tmp_path / "tile.webp", quality=60)
            hashes += [inspect_image(tmp_path / f"tile.{ending}") for ending in ("png", "jpg", "webp")]
    phash, dhash = (np.array([getattr(facts, name) for facts in hashes]) for name in ("phash", "dhash"))
    groups = group_near_duplicates(phash, dhash, [facts.pixel_sha256 for facts in hashes])
    assert groups.tolist() == [3 * (place // 3) for place in range(18)]


def test_the_same_pixels_or_bytes_are_exact_duplicates() -> None:
    assert group_exact_duplicates(["a", "b", "a", "", "b", "", "a"]).tolist() == [0, 1, 0, 3, 1, 5, 0]
    assert group_exact_duplicates([]).tolist() == []


def test_it_never_chains_unlike_images() -> None:
    phash, dhash = random_hashes(1).repeat(6), random_hashes(1, seed=1).repeat(6)
    for step in range(1, 6):
        phash[step] = flip(int(phash[step - 1]), list(range(step * 6, step * 6 + 6)))
    groups = group_near_duplicates(phash, dhash)
    assert groups.tolist() == [0, 0, 2, 2, 4, 4]
    # The same chain, its links too far apart to be compared at once.
    many_phash, many_dhash = random_hashes(6 * LEAF, seed=2), random_hashes(6 * LEAF, seed=3)
    many_phash[::LEAF], many_dhash[::LEAF] = phash, dhash
    groups = group_near_duplicates(many_phash, many_dhash)
    assert (groups[::LEAF] // LEAF).tolist() == [0, 0, 2, 2, 4, 4]


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
        apart = int(bits_apart(phash.view(np.uint64)[image], phash.view(np.uint64)[centre]))
        assert apart + int(bits_apart(dhash.view(np.uint64)[image], dhash.view(np.uint64)[centre])) <= MAX_BITS
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
    with pytest.raises(ArrayRefused, match="received 2 and 3"):
        group_near_duplicates(random_hashes(3), random_hashes(3), None, scattered(2))
    with pytest.raises(ArrayRefused, match="floats"):
        group_near_duplicates(random_hashes(3), random_hashes(3), None, np.ones((3, 4), np.int64))
