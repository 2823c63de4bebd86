"""Assign images to train, validation and test: near-duplicate groups whole, classes even, earlier splits kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference.errors import ArrayRefused
from inference.types import AnyIntArray, Int8Array, Int64Array

SPLITS = ("train", "validation", "test")
FREE = -1


class GroupAcrossSplits(ArrayRefused):
    """Images of one group are fixed in different splits.

    Attributes:
        groups: the group ids concerned, sorted.
    """

    def __init__(self, groups: Sequence[int]) -> None:
        self.groups = tuple(groups)
        shown = ", ".join(map(str, self.groups[:5])) + (", …" if len(self.groups) > 5 else "")
        super().__init__(
            f"expected each group's fixed images in one split, received {len(self.groups)} groups that are fixed in "
            f"two or more ({shown}): settle those, or free their images"
        )


def assign_splits(
    labels: AnyIntArray,
    groups: AnyIntArray,
    ratios: tuple[float, float, float],
    *,
    fixed: AnyIntArray | None = None,
    seed: int = 0,
) -> Int8Array:
    """Assign every image to a split.

    Without fixed images each split's size lies within one group's size (the largest) of its ratio. Fixed images
    count towards the ratios; where they alone exceed one, that split gets nothing more.

    Args:
        labels: (N,) class indices; any whole numbers.
        groups: (N,) group ids, as from `group_near_duplicates`.
        ratios: shares of train, validation and test, each ≥ 0, that sum to 1 or to 100.
        fixed: (N,) the split an image already has (0, 1, 2), or -1 where it is free. A free image follows the fixed
            images of its group.
        seed: decides ties; the same seed gives the same splits.

    Returns:
        (N,) int8: 0 = train, 1 = validation, 2 = test.

    Raises:
        ArrayRefused: shapes, types, ratios or fixed splits that do not fit.
        GroupAcrossSplits: a group's fixed images lie in different splits.
    """
    shares = _shares(ratios)
    labels, groups = _whole_numbers(labels, "labels"), _whole_numbers(groups, "groups")
    held = np.full(len(labels), FREE) if fixed is None else _whole_numbers(fixed, "fixed")
    if not len(labels) == len(groups) == len(held):
        raise ArrayRefused(
            f"expected as many labels, groups and fixed, received {len(labels)}, {len(groups)} and {len(held)}"
        )
    if len(held) and not FREE <= int(held.min()) <= int(held.max()) < len(SPLITS):
        raise ArrayRefused(f"expected -1, 0, 1 or 2 in fixed, received {int(held.min())} to {int(held.max())}")
    return stratify_groups(labels, groups, shares, fixed=held, seed=seed)


def stratify_groups(
    labels: AnyIntArray,
    groups: AnyIntArray,
    shares: Sequence[float],
    *,
    fixed: AnyIntArray | None = None,
    seed: int = 0,
) -> Int8Array:
    """Deal groups, the largest first, into parts of given shares with every class's share alike.

    A group of size s may go to a part that lacks s/2 or more, or else to the one that lacks most; among those it
    goes where its classes lack most. So no part ends more than the largest group above its share, and of three
    parts none ends more than that below it either.

    Args:
        labels: (N,) class indices.
        groups: (N,) group ids.
        shares: one a part, summing to 1; a part of share 0 gets nothing.
        fixed: (N,) part of an image, or -1 where free.
        seed: order of groups of one size.

    Returns:
        (N,) int8 part numbers.

    Raises:
        GroupAcrossSplits: a group's fixed images lie in different parts.
    """
    count = len(labels)
    if not count:
        return np.empty(0, dtype=np.int8)
    group_of, members = _group_members(groups)
    _, class_of = np.unique(labels, return_inverse=True)
    part_of_group = _fixed_parts(groups, group_of, len(members), fixed)
    wanted = np.asarray(shares, dtype=np.float64)
    lacking = [[float(share * size) for size in np.bincount(class_of)] for share in wanted]
    total = [float(share * count) for share in wanted]

    def take(group: int, part: int) -> None:
        total[part] -= len(members[group])
        for one in counted[group]:
            lacking[part][one] -= 1

    class_list = class_of.tolist()
    counted = [[class_list[image] for image in images] for images in members]
    for group in np.flatnonzero(part_of_group != FREE).tolist():
        take(group, int(part_of_group[group]))
    sizes = np.bincount(group_of)
    shuffled = np.random.default_rng(seed).permutation(len(members))
    usable = [part for part, share in enumerate(shares) if share > 0]
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")].tolist():
        if part_of_group[group] != FREE:
            continue
        half = len(members[group]) / 2
        eligible = [part for part in usable if total[part] >= half] or [max(usable, key=total.__getitem__)]
        part = max(eligible, key=lambda part: (sum(lacking[part][one] for one in counted[group]), total[part]))
        part_of_group[group] = part
        take(group, part)
    return part_of_group[group_of].astype(np.int8)


def _group_members(groups: AnyIntArray) -> tuple[Int64Array, list[list[int]]]:
    """Group numbers 0, 1, … in order of first appearance, and each group's images."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    group_of = rank[inverse]
    members: list[list[int]] = [[] for _ in first]
    for image, group in enumerate(group_of.tolist()):
        members[group].append(image)
    return group_of, members


def _fixed_parts(groups: AnyIntArray, group_of: Int64Array, group_count: int, fixed: AnyIntArray | None) -> Int64Array:
    parts = np.full(group_count, FREE, dtype=np.int64)
    if fixed is None:
        return parts
    held = np.flatnonzero(np.asarray(fixed) != FREE)
    parts[group_of[held]] = fixed[held]
    torn = held[parts[group_of[held]] != fixed[held]]
    if len(torn):
        raise GroupAcrossSplits(sorted({int(group) for group in groups[torn]}))
    return parts


def _shares(ratios: tuple[float, float, float]) -> tuple[float, ...]:
    values = tuple(float(ratio) for ratio in ratios)
    total = sum(values)
    if len(values) != len(SPLITS) or not all(0 <= value < float("inf") for value in values):
        raise ArrayRefused(f"expected three ratios of 0 or more for {', '.join(SPLITS)}, received {ratios}")
    if not any(abs(total - whole) <= 1e-6 * whole for whole in (1, 100)):
        raise ArrayRefused(f"expected ratios that sum to 1 (or 100), received {ratios} with sum {total:g}")
    return tuple(value / total for value in values)


def _whole_numbers(values: AnyIntArray, name: str) -> AnyIntArray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ArrayRefused(f"expected (N,) whole numbers for {name}, received {array.shape} {array.dtype}")
    return array.astype(np.int64)
