"""Near-duplicate groups from perceptual hashes, for any number of images.

Two images are near duplicates when their phash differs in at most `MAX_PHASH_BITS` *and* their dhash in at most
`MAX_DHASH_BITS` of 64 bits. A group is a centre and images near to that centre, so groups never chain from one look
to another over steps in between.

Thresholds, as measured: of JPEG (quality 30, 50, 80), WebP and half- or double-size copies of photographs, 96 to
100 % are found; of 32 million pairs of 8,000 different 32×32 photographs, 12 are taken for near duplicates. Pictures
with hardly any structure (flat areas, a lone line) share their hashes by accident: below `MIN_DHASH_BITS` bits set,
or unset, only the same bytes count as a duplicate. No photograph of the 8,000 was below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from inference.errors import ArrayRefused
from inference.types import AnyIntArray, BoolArray, Int64Array

MAX_PHASH_BITS = 8
MAX_DHASH_BITS = 8
MIN_DHASH_BITS = 6

UInt64Array = npt.NDArray[np.uint64]


def group_near_duplicates(phash: AnyIntArray, dhash: AnyIntArray, sha256: Sequence[str] | None = None) -> Int64Array:
    """Group near duplicates around centres.

    Images are taken in order: one that no earlier centre holds becomes a centre and takes all later images near
    to it that are still free. So the result depends on nothing but the order of the input.

    Args:
        phash, dhash: (N,) signed 64-bit hashes, as `inspect_image` gives them.
        sha256: N digests; groups pictures without structure by their bytes. None leaves each of those alone.

    Returns:
        (N,) int64: for each image the index of its group's centre, the group's smallest index; its own index when
        it is alone. Every member is within both thresholds of its centre, or has the centre's bytes.

    Raises:
        ArrayRefused: lengths or types that do not fit.
    """
    perceptual, difference = _bits(phash, "phash"), _bits(dhash, "dhash")
    count = len(perceptual)
    if len(difference) != count or (sha256 is not None and len(sha256) != count):
        lengths = (count, len(difference), "no" if sha256 is None else len(sha256))
        raise ArrayRefused("expected as many phash, dhash and sha256, received {}, {} and {}".format(*lengths))
    groups = np.arange(count, dtype=np.int64)
    structured = _has_structure(difference)
    if sha256 is not None:
        _group_same_bytes(groups, np.flatnonzero(~structured), sha256)
    indices = np.flatnonzero(structured)
    groups[indices] = indices[_group_by_hash(perceptual[indices], difference[indices])]
    return groups


def bits_apart(one: UInt64Array, other: UInt64Array) -> npt.NDArray[np.uint8]:
    """Number of differing bits, elementwise."""
    return np.bitwise_count(np.bitwise_xor(one, other))


def _bits(hashes: AnyIntArray, name: str) -> UInt64Array:
    values = np.asarray(hashes)
    if values.ndim != 1 or (values.size and values.dtype not in (np.int64, np.uint64)):
        raise ArrayRefused(f"expected (N,) int64 for {name}, received {values.shape} {values.dtype}")
    return np.ascontiguousarray(values).astype(np.int64 if not values.size else values.dtype).view(np.uint64)


def _has_structure(difference: UInt64Array) -> BoolArray:
    set_bits = np.bitwise_count(difference)
    return (set_bits >= MIN_DHASH_BITS) & (set_bits <= 64 - MIN_DHASH_BITS)


def _group_same_bytes(groups: Int64Array, indices: Int64Array, sha256: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for index in indices.tolist():
        groups[index] = first.setdefault(sha256[index], index)


def _group_by_hash(perceptual: UInt64Array, difference: UInt64Array) -> Int64Array:
    """Centres, as indices into the arguments."""
    if not len(perceptual):
        return np.empty(0, dtype=np.int64)
    # Equal hashes first, in one step: thousands of equal copies would otherwise be millions of pairs.
    both = np.stack([perceptual, difference], axis=1)
    _, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    looks = first[order]
    centres = _greedy_centres(len(looks), _near_pairs(perceptual[looks], difference[looks]))
    return looks[centres[rank[inverse.ravel()]]].astype(np.int64)


def _greedy_centres(count: int, codes: Int64Array) -> Int64Array:
    """Centres from sorted pair codes, smaller index × count + larger index."""
    centres = np.arange(count, dtype=np.int64)
    if not len(codes):
        return centres
    smaller, larger = np.divmod(codes, count)
    starts = np.flatnonzero(np.diff(smaller, prepend=-1))
    free = np.ones(count, dtype=bool)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(codes)], strict=True):
        centre = int(smaller[start])
        if free[centre]:
            members = larger[start:end]
            members = members[free[members]]
            centres[members] = centre
            free[members] = False
    return centres


def _near_pairs(perceptual: UInt64Array, difference: UInt64Array) -> Int64Array:
    """Sorted codes of all pairs within both thresholds; each pair once.

    Multi-index hashing (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", CVPR
    2012): cut the phash into t + m blocks; two hashes that differ in at most t bits agree in m blocks or more, so
    comparing those that agree in some choice of m blocks finds every pair.
    """
    count = len(perceptual)
    found = [np.empty(0, dtype=np.int64)]
    for key in _block_keys(perceptual, _blocks_to_match(count)):
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        places = np.arange(count - 1)
        distance = 1
        while len(places):
            places = places[places + distance < count]
            # Sorted: what does not agree with its n-th neighbour agrees with no later one.
            places = places[ordered[places] == ordered[places + distance]]
            one, other = order[places], order[places + distance]
            near = bits_apart(perceptual[one], perceptual[other]) <= MAX_PHASH_BITS
            near &= bits_apart(difference[one], difference[other]) <= MAX_DHASH_BITS
            if near.any():
                one, other = one[near], other[near]
                found.append(np.minimum(one, other) * count + np.maximum(one, other))
            distance += 1
        found = [np.unique(np.concatenate(found))]
    return found[0]


def _block_keys(hashes: UInt64Array, matched: int) -> Iterator[UInt64Array]:
    blocks = MAX_PHASH_BITS + matched
    edges = [round(64 * block / blocks) for block in range(blocks + 1)]
    masks = [((1 << (end - start)) - 1) << start for start, end in pairwise(edges)]
    for chosen in combinations(masks, matched):
        yield hashes & np.uint64(sum(chosen))


def _blocks_to_match(count: int) -> int:
    """The m with the least expected work: sorting every table, and comparing what falls together by chance."""

    def work(matched: int) -> float:
        blocks = MAX_PHASH_BITS + matched
        return math.comb(blocks, matched) * (5 + count / 2 ** (64 * matched / blocks))

    return min((1, 2, 3), key=work)
