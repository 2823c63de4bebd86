"""Near-duplicate groups from perceptual hashes and, where there are any, embeddings, for any number of images.

A group is a centre and images near to that centre, so groups never chain from one look to another over steps in
between. Two images are near each other

- by their hashes: phash differs in at most `MAX_PHASH_BITS` of 64 bits, phash and dhash together in at most `MAX_BITS`
  of 128;
- or by hashes and embedding: both hashes differ in at most `MAX_BITS_WITH_EMBEDDING` bits, and these bits, and
  `BITS_PER_COSINE` for each unit of cosine distance between the embeddings as seen from the dataset's mean, are at
  most `MAX_BITS_AND_DISTANCE` together. The embedding alone decides nothing: in a dataset of one kind of picture,
  unlike ones are as close as copies.

Measured (`make bench`, suite `duplicates`) on 1,518 altered copies of 138 tiles of real photographs, with 8,000 other
photographs among them and the starter model's embeddings. Of JPEG (quality 30, 50, 80), WebP, half- and double-size
copies 95 % are found, of slightly darker or brighter ones 94 %; what is missing is six tiles without structure, and
one or two others. Of copies cropped by 5, 10 and 20 % of their sides 71, 28 and 2 % are found (by hashes alone 50, 6
and 1 %), of copies with a border 4 %: neither hash nor this embedding stands a border. 99.7 % of the grouped are
copies of their centre. 14 of the 8,000 were grouped, all that were looked at rightly: CIFAR-10 holds copies. Plain
phash with at most 8 bits groups 35 of them, with 10 bits 105, and finds 64 or 75 % of the copies cropped by 5 %.
The limits were chosen on these same pictures, and so that none of the demo's drawings that only share a motif are
grouped by their embeddings.

Pictures with hardly any structure (flat areas, a lone line) share their hashes by accident: below `MIN_DHASH_BITS`
bits set, or unset, only the same pixels, or bytes, count as a duplicate. No photograph of the 8,000 was below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from inference.errors import ArrayRefused
from inference.neighbours import EmbeddingRows, deal_into_cells, one_blas_thread
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Int64Array

MAX_PHASH_BITS = 8
MAX_BITS = 16
MAX_BITS_WITH_EMBEDDING = 32
MAX_BITS_AND_DISTANCE = 40
BITS_PER_COSINE = 240
MIN_DHASH_BITS = 6

FEWEST_EMBEDDINGS = 100
"""With fewer embeddings their mean is too much that of single images to look from."""

PROBES = 6
"""Cells in which a look's embedding is looked for."""

SKETCH = 192
SKETCH_ERROR = 0.05
"""Dimensions to search in, and 3.5 standard deviations of what a cosine of .9 is mistaken by in so many."""

LEAF = 1024
"""Up to so many looks every one is compared with every other."""

_PAIRS_AT_ONCE = 1 << 21

UInt64Array = npt.NDArray[np.uint64]
Pairs = tuple[Int64Array, Int64Array]


def group_exact_duplicates(digests: Sequence[str]) -> Int64Array:
    """Group equal digests: of the bytes for the same file, of the pixels for the same picture in another file.

    Args:
        digests: N digests; an empty one is unknown and equals nothing.

    Returns:
        (N,) int64: for each image the smallest index with its digest; its own index when it is alone.
    """
    first: dict[str, int] = {}
    return np.array(
        [first.setdefault(digest, index) if digest else index for index, digest in enumerate(digests)], dtype=np.int64
    )


def group_near_duplicates(
    phash: AnyIntArray,
    dhash: AnyIntArray,
    sha256: Sequence[str] | None = None,
    embeddings: AnyFloatArray | None = None,
) -> Int64Array:
    """Group near duplicates around centres.

    Images are taken in order: one that no earlier centre holds becomes a centre, any other joins the first centre
    that it is near to. So the result depends on nothing but the input and its order.

    Pairs that are near by their hashes are all found. Of those that are near by hashes and embedding, a few are missed
    where there are more than `inference.neighbours.EXHAUSTIVE` images.

    Args:
        phash, dhash: (N,) signed 64-bit hashes, as `inspect_image` gives them.
        sha256: N digests, of the bytes or, better, of the pixels; they group pictures without structure. None leaves
            each of those alone.
        embeddings: (N, D) floats by one model version; float16 is read block by block. A row of zeros, or with a
            value that is not finite, is an image without embedding, which is grouped by its hashes alone. So are
            all when there are fewer than `FEWEST_EMBEDDINGS`, or None.

    Returns:
        (N,) int64: for each image the index of its group's centre, the group's smallest index; its own index when
        it is alone. Every member is near to its centre, or has its digest.

    Raises:
        ArrayRefused: lengths or types that do not fit.
    """
    perceptual, difference = _bits(phash, "phash"), _bits(dhash, "dhash")
    count = len(perceptual)
    if len(difference) != count or (sha256 is not None and len(sha256) != count):
        lengths = (count, len(difference), "no" if sha256 is None else len(sha256))
        raise ArrayRefused("expected as many phash, dhash and sha256, received {}, {} and {}".format(*lengths))
    rows = None if embeddings is None else EmbeddingRows(embeddings)
    if rows is not None and len(rows) != count:
        raise ArrayRefused(f"expected as many embeddings as hashes, received {len(rows)} and {count}")
    groups = np.arange(count, dtype=np.int64)
    structured = _has_structure(difference)
    if sha256 is not None:
        flat = np.flatnonzero(~structured)
        groups[flat] = flat[group_exact_duplicates([sha256[index] for index in flat.tolist()])]
    # Equal hashes first, in one step.
    indices = np.flatnonzero(structured)
    first, look_of = _looks(perceptual[indices], difference[indices])
    centres = np.arange(len(first), dtype=np.int64)
    with one_blas_thread():
        looks = _Looks(perceptual[indices[first]], difference[indices[first]], _directions(rows, indices[first]))
        _lead(looks, centres, centres.copy())
    groups[indices] = indices[first[centres[look_of]]]
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


def _looks(perceptual: UInt64Array, difference: UInt64Array) -> tuple[Int64Array, Int64Array]:
    """The first image of each distinct pair of hashes, ascending, and each image's place among those."""
    if not len(perceptual):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    both = np.stack([perceptual, difference], axis=1)
    _, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order].astype(np.int64), rank[inverse.ravel()].astype(np.int64)


def _directions(rows: EmbeddingRows | None, indices: Int64Array) -> EmbeddingRows | None:
    if rows is None:
        return None
    wanted = rows.only(indices)
    return wanted.centred() if wanted.there.sum() >= FEWEST_EMBEDDINGS else None


class _Looks:
    """Distinct pairs of hashes, with the embedding of the first image of each."""

    def __init__(self, perceptual: UInt64Array, difference: UInt64Array, rows: EmbeddingRows | None) -> None:
        self.perceptual, self.difference = perceptual, difference
        self.embedded = None if rows is None else _Embedded(rows)

    def near_by_hash(self, one: Int64Array, other: Int64Array) -> BoolArray:
        apart = bits_apart(self.perceptual[one], self.perceptual[other])
        near: BoolArray = apart <= MAX_PHASH_BITS
        near &= apart + bits_apart(self.difference[one], self.difference[other]) <= MAX_BITS
        return near

    def near_by_embedding(self, embedded: _Embedded, one: Int64Array, other: Int64Array) -> Pairs:
        """Those of all pairs between the two that are near by hashes and embedding."""
        cosine = embedded.sketch.unit(one) @ embedded.sketch.unit(other).T
        cosine += SKETCH_ERROR
        place, place_of_other = np.nonzero(cosine >= 1 - MAX_BITS_AND_DISTANCE / BITS_PER_COSINE)
        cosine = cosine[place, place_of_other]
        one, other = one[place], other[place_of_other]
        bits = bits_apart(self.perceptual[one], self.perceptual[other])
        bits += bits_apart(self.difference[one], self.difference[other])
        likely = bits <= MAX_BITS_WITH_EMBEDDING
        likely &= bits + BITS_PER_COSINE * (1 - cosine) <= MAX_BITS_AND_DISTANCE
        one, other, bits = one[likely], other[likely], bits[likely]
        near = bits + BITS_PER_COSINE * (1 - embedded.rows.cosines(one, other)) <= MAX_BITS_AND_DISTANCE
        return one[near], other[near]


class _Embedded:
    """Embeddings, a sketch of them to search in, and cells in that sketch."""

    def __init__(self, rows: EmbeddingRows) -> None:
        self.rows = rows
        self.sketch = rows.sketch(SKETCH)
        self.cells = deal_into_cells(self.sketch, probes=PROBES)


def _lead(looks: _Looks, centres: Int64Array, part: Int64Array) -> None:
    """Write the centres of `part`, ascending looks among which no other look is a centre yet.

    Halving keeps a crowd of like pictures from becoming a crowd of pairs: what is near to a centre of the first half
    takes no part in the second, and no two centres are near each other.
    """
    if len(part) <= LEAF:
        _lead_leaf(looks, centres, part)
        return
    left, right = part[: len(part) // 2], part[len(part) // 2 :]
    _lead(looks, centres, left)
    _join(looks, centres, left[centres[left] == left], right)
    _lead(looks, centres, right[centres[right] == right])


def _lead_leaf(looks: _Looks, centres: Int64Array, part: Int64Array) -> None:
    """Compare every look with every other."""
    found: list[Pairs] = []
    one, other = np.triu_indices(len(part), 1)
    one, other = part[one], part[other]
    near = looks.near_by_hash(one, other)
    found.append((one[near], other[near]))
    if looks.embedded is not None:
        one, other = looks.near_by_embedding(looks.embedded, part, part)
        found.append((one[one < other], other[one < other]))
    smaller, larger = (np.concatenate(ends) for ends in zip(*found, strict=True))
    order = np.argsort(smaller, kind="stable")
    smaller, larger = smaller[order], larger[order]
    for start, end in pairwise([*np.flatnonzero(np.diff(smaller, prepend=-1)).tolist(), len(smaller)]):
        centre = smaller[start]
        if centres[centre] == centre:
            members = larger[start:end]
            members = members[centres[members] == members]
            centres[members] = centre


def _join(looks: _Looks, centres: Int64Array, left: Int64Array, right: Int64Array) -> None:
    """Let each look of `right` join the first centre of `left` that it is near to."""
    for centre, member in _near_pairs(looks, left, right):
        # A look that is its own centre has a larger index than any of `left`.
        np.minimum.at(centres, member, centre)


def _near_pairs(looks: _Looks, left: Int64Array, right: Int64Array) -> Iterator[Pairs]:
    """Pairs (of left, of right) that are near each other; some more than once."""
    matched = _blocks_to_match(len(left), len(right))
    keys = zip(_block_keys(looks.perceptual[left], matched), _block_keys(looks.perceptual[right], matched), strict=True)
    for left_key, right_key in keys:
        for one, other in _equal_pairs(left_key, right_key):
            near = looks.near_by_hash(left[one], right[other])
            if near.any():
                yield left[one[near]], right[other[near]]
    if looks.embedded is not None:
        cells = looks.embedded.cells
        living, asking = cells.only(left), cells.only(right)
        for cell in range(cells.count):
            centres, others = left[living.members(cell)], right[asking.asking(cell)]
            # A model that gives thousands of images one embedding puts them into one cell.
            step = max(1, _PAIRS_AT_ONCE // max(len(centres), 1))
            for start in range(0, len(others) if len(centres) else 0, step):
                yield looks.near_by_embedding(looks.embedded, centres, others[start : start + step])


def _equal_pairs(left: UInt64Array, right: UInt64Array) -> Iterator[Pairs]:
    """Places of equal keys, in portions that memory holds."""
    order = np.argsort(left, kind="stable")
    ordered = left[order]
    asked = np.argsort(right, kind="stable")
    starts = np.searchsorted(ordered, right[asked])
    counts = np.searchsorted(ordered, right[asked], side="right") - starts
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(asked):
        before = int(ends[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, side="right")), begin + 1)
        portion = counts[begin:end]
        other = np.repeat(asked[begin:end], portion)
        within = np.arange(len(other)) - np.repeat(ends[begin:end] - portion - before, portion)
        yield order[np.repeat(starts[begin:end], portion) + within], other
        begin = end


def _block_keys(hashes: UInt64Array, matched: int) -> Iterator[UInt64Array]:
    """The bits of each choice of `matched` blocks.

    Multi-index hashing (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", CVPR
    2012): cut the phash into t + m blocks; two hashes that differ in at most t bits agree in m blocks or more, so
    comparing those that agree in some choice of m blocks finds every pair.
    """
    blocks = MAX_PHASH_BITS + matched
    edges = [round(64 * block / blocks) for block in range(blocks + 1)]
    masks = [((1 << (end - start)) - 1) << start for start, end in pairwise(edges)]
    for chosen in combinations(masks, matched):
        yield hashes & np.uint64(sum(chosen))


def _blocks_to_match(left: int, right: int) -> int:
    """The m with the least expected work: sorting every table, and comparing what falls together by chance."""

    def work(matched: int) -> float:
        blocks = MAX_PHASH_BITS + matched
        return math.comb(blocks, matched) * (10 * (left + right) + left * right / 2 ** (64 * matched / blocks))

    return min((1, 2, 3), key=work)
