"""Cutting a release: current labels → clean, grouped, stratified splits that stay put."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import overload

import numpy as np
import numpy.typing as npt
from django.db.models import Max

from inference.errors import InferenceError
from inference.splits import assign_splits
from inference.types import BoolArray, Float64Array, Int8Array, Int64Array
from labeling.actions.releases import NewEntry, freeze_release
from labeling.actions.runs import Listener, RunReporter, running
from labeling.actions.standing import Standing, each_standing
from labeling.errors import NothingToDo, ReleaseRefused, WrongUsage
from labeling.models import (
    SPLITS,
    Dataset,
    ItemState,
    Person,
    Quarantine,
    Release,
    ReleaseEntry,
    Run,
    RunKind,
    RunState,
    Verdict,
)
from labeling.pipeline.grouping import groups_to_keep_whole

Hashes = npt.NDArray[np.bytes_]
DEFAULT_RATIOS = (80, 10, 10)
MAX_NOTE = 500
_NAMED = 5
_AT_ONCE = 10_000


@dataclass(frozen=True)
class _Candidates:
    """Images that may go in, one row each, in the order of their pks.

    Attributes:
        images: (N,) int64 pks.
        sha256: (N,) bytes, 64 each.
        pixels: (N,) bytes, 64 each: the hash of the picture, whatever the file.
        splits: (N,) int8 place in `SPLITS`, or -1 where the image has none yet.
        released: (N,) int8 split of these bytes in an earlier release, or -1.
        labels: (N,) int64 pks of classes.
        verdicts: (N,) int64 pks of the deciding verdicts, 0 where there is none.
        quality: (N,) float64, NaN where unknown.
        groups: (N,) int64 near-duplicate groups: first the pks of the stored centres, then numbers from 0.
    """

    images: Int64Array
    sha256: Hashes
    pixels: Hashes
    splits: Int8Array
    released: Int8Array
    labels: Int64Array
    verdicts: Int64Array
    quality: Float64Array
    groups: Int64Array

    def __len__(self) -> int:
        return len(self.images)

    def only(self, kept: BoolArray) -> "_Candidates":
        return self if kept.all() else _Candidates(*(getattr(self, one.name)[kept] for one in fields(self)))

    def only_at(self, places: Int64Array) -> "_Candidates":
        return _Candidates(*(getattr(self, one.name)[places] for one in fields(self)))


def parse_ratios(text: str) -> tuple[int, int, int]:
    """`80/10/10` as three whole percentages for train, validation and test.

    Raises:
        WrongUsage: not three whole numbers, or they do not sum to 100.
    """
    parts = text.replace(",", "/").split("/")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise WrongUsage(f"Ratios are three whole percentages such as 80/10/10, but received {text!r}.")
    train, validation, test = (int(part) for part in parts)
    if train + validation + test != 100 or train == 0:
        raise WrongUsage(
            f"Ratios must sum to 100, with something in train, but {text!r} sums to {train + validation + test}."
        )
    return train, validation, test


def cut_release(
    dataset: Dataset,
    *,
    ratios: tuple[int, int, int] = DEFAULT_RATIOS,
    note: str = "",
    leave_out_conflicts: bool = False,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> Release:
    """Freeze the dataset as it stands now, as a run.

    Images keep the split that they came with or that an earlier release gave them; only images without one are
    distributed by `ratios`. Left out, and counted: excluded, unsure and disputed images, those whose review was begun
    and wants more verdicts, all but one of identical bytes, and members of a near-duplicate group that lie outside
    the group's split: the one that its members were released in before, else the most protected one (test before
    validation before train). So nothing leaks into training, and nothing comes into test from it.

    Args:
        ratios: train/validation/test in percent.
        leave_out_conflicts: leave out identical files that carry different labels instead of refusing the cut.

    Raises:
        ReleaseRefused: identical files or pixels with different labels; the images are named.
        NothingToDo: no image is left, or nothing changed since the last release.
        WrongUsage: the ratios do not fit the images, or the note is too long.
    """
    if len(note) > MAX_NOTE:
        raise WrongUsage(f"A note has at most {MAX_NOTE} characters, but this one has {len(note)}.")
    parameters = {"ratios": list(ratios), "note": note, "leave_out_conflicts": leave_out_conflicts}
    with running(
        dataset=dataset, kind=RunKind.CUT, parameters=parameters, person=person, queued=queued, listener=listener
    ) as reporter:
        # A run that died after its release was written has nothing left to do.
        done = dataset.releases.filter(cut_run=reporter.run).first()
        release = done or _cut(dataset, ratios, note, leave_out_conflicts, reporter)
        reporter.run.summary |= {"version": release.version, "content_hash": release.content_hash}
    return release


def _cut(
    dataset: Dataset, ratios: tuple[int, int, int], note: str, leave_out_conflicts: bool, reporter: RunReporter
) -> Release:
    reporter.stage("choosing images")
    left_out: Counter[str] = Counter()
    # So that a later diff knows which verdicts lie between two releases.
    last_verdict = Verdict.everything.aggregate(last=Max("pk"))["last"] or 0
    candidates = _candidates(dataset, left_out, last_verdict)
    if len(candidates):
        candidates = _one_of_identical(dataset, candidates, left_out, leave_out_conflicts)
    if not len(candidates):
        raise NothingToDo(f"There is no image to release in {dataset.slug}: {_counted(left_out) or 'it is empty'}.")
    reporter.stage("grouping near duplicates")
    candidates = replace(candidates, groups=groups_to_keep_whole(dataset, candidates.images, candidates.groups))
    reporter.stage("choosing splits")
    settled = _assign(_keep_groups_whole(candidates, left_out), ratios)
    _check_no_leak(dataset, settled)
    names = dict(dataset.taxonomy.classes.values_list("pk", "name"))
    reporter.run.summary = {"said": _scarce(settled, ratios, names), "last_verdict": last_verdict}
    reporter.stage("writing the release")
    return freeze_release(
        dataset=dataset,
        entries=_Entries(settled, names),
        ratios=ratios,
        left_out={reason: count for reason, count in left_out.items() if count},
        issues_run=_last_issues_run(dataset),
        cut_run=reporter.run,
        note=note,
    )


def _candidates(dataset: Dataset, left_out: Counter[str], last_verdict: int) -> _Candidates:
    """Every image that may go in, with the label that the verdicts up to this one give it."""
    left_out["in quarantine"] = Quarantine.objects.filter(image__dataset=dataset).count()
    standings = each_standing(dataset, up_to=last_verdict)
    waiting = next(standings, None)
    count = dataset.images.count()
    images, labels, verdicts, centres = (np.zeros(count, dtype=np.int64) for _ in range(4))
    sha256, pixels = np.zeros(count, dtype="S64"), np.zeros(count, dtype="S64")
    splits, quality = np.full(count, -1, dtype=np.int8), np.full(count, np.nan)
    place_of = {"": -1} | {split: place for place, split in enumerate(SPLITS)}
    columns = ("pk", "sha256", "pixel_sha256", "split", "duplicate_group_id", "given_class_id", "item__label_quality")
    at = 0
    rows = dataset.images.order_by("pk").values_list(*columns).iterator(chunk_size=2000)
    for pk, digest, picture, split, centre, label_id, score in rows:
        while waiting is not None and waiting[0] < pk:
            waiting = next(standings, None)
        if at == count:
            break
        if waiting is not None and waiting[0] == pk:
            standing = waiting[1]
            if reason := _why_not(standing):
                left_out[reason] += 1
                continue
            label_id = standing.current_class_id
            verdicts[at] = standing.deciding.pk if standing.deciding else 0
        images[at], splits[at], centres[at], labels[at] = pk, place_of[split], centre or pk, label_id
        sha256[at], pixels[at] = digest.encode(), (picture or digest).encode()
        if score is not None:
            quality[at] = score
        at += 1
    images, sha256 = images[:at], sha256[:at]
    return _Candidates(
        images=images,
        sha256=sha256,
        pixels=pixels[:at],
        splits=splits[:at],
        released=_released(dataset, sha256),
        labels=labels[:at],
        verdicts=verdicts[:at],
        quality=quality[:at],
        groups=centres[:at],
    )


def _why_not(standing: Standing) -> str:
    """Why an image with this standing is left out of a release; empty when it is not."""
    if standing.excluded:
        return "excluded by a reviewer"
    if standing.state == ItemState.UNSURE:
        return "unsure, waits for a second person"
    if standing.state == ItemState.DISPUTED:
        return "disputed, waits for adjudication"
    if standing.state == ItemState.OPEN and standing.missing:
        return "begun, waits for more verdicts"
    return ""


def _released(dataset: Dataset, sha256: Hashes) -> Int8Array:
    """The split of these bytes in the newest release that has them, or -1."""
    found = np.full(len(sha256), -1, dtype=np.int8)
    for release in dataset.releases.order_by("major", "minor"):
        entries = ReleaseEntry.everything.filter(release=release).values_list("sha256", "split")
        rows = np.fromiter(
            ((digest, SPLITS.index(split)) for digest, split in entries.iterator(chunk_size=2000)),
            dtype=[("sha256", "S64"), ("split", np.int8)],
        )
        if not len(rows):
            continue
        order = np.argsort(rows["sha256"])
        known, splits = rows["sha256"][order], rows["split"][order]
        at = np.minimum(np.searchsorted(known, sha256), len(known) - 1)
        same = known[at] == sha256
        found[same] = splits[at[same]]
    return found


def _one_of_identical(
    dataset: Dataset, candidates: _Candidates, left_out: Counter[str], leave_out_conflicts: bool
) -> _Candidates:
    """One of each set of identical bytes: that of the split where they were released, else of the most protected."""
    _, picture = np.unique(candidates.pixels, return_inverse=True)
    lowest, highest = _least_and_most(picture, candidates.labels)
    conflicting = (lowest != highest)[picture]
    if conflicting.any():
        if not leave_out_conflicts:
            raise ReleaseRefused(_conflict_sentence(dataset, candidates.only(conflicting)))
        left_out["identical files with different labels"] += int(conflicting.sum())
        candidates = candidates.only(~conflicting)
    elsewhere = (candidates.released >= 0) & (candidates.splits >= 0) & (candidates.splits != candidates.released)
    left_out["the same file is in another split of an earlier release"] += int(elsewhere.sum())
    candidates = candidates.only(~elsewhere)
    settled = np.where(candidates.splits < 0, candidates.released, candidates.splits).astype(np.int8)
    order = np.lexsort((candidates.images, -settled, candidates.sha256))
    first = np.ones(len(order), dtype=bool)
    first[1:] = candidates.sha256[order][1:] != candidates.sha256[order][:-1]
    kept = np.zeros(len(order), dtype=bool)
    kept[order[first]] = True
    left_out["identical to a released image"] += int((~kept).sum())
    return replace(candidates, splits=settled).only(kept)


def _conflict_sentence(dataset: Dataset, conflicting: _Candidates) -> str:
    names = dict(dataset.taxonomy.classes.values_list("pk", "name"))
    order = np.lexsort((conflicting.images, conflicting.pixels)).tolist()
    sets = [conflicting.images[list(some)] for _, some in groupby(order, key=lambda at: conflicting.pixels[at])]
    sets.sort(key=lambda some: int(some[0]))
    label_of = dict(zip(conflicting.images.tolist(), conflicting.labels.tolist(), strict=True))
    shown = [some[:3].tolist() for some in sets[:_NAMED]]
    paths = dict(dataset.images.filter(pk__in=[pk for some in shown for pk in some]).values_list("pk", "path"))
    named = "; ".join(" and ".join(f"{paths[pk]} ({names[label_of[pk]]})" for pk in some) for some in shown)
    more = f"; and {len(sets) - _NAMED} more" if len(sets) > _NAMED else ""
    carry = "1 image carries" if len(sets) == 1 else f"{len(sets)} images carry"
    return (
        f"{carry} different labels on identical files: {named}{more}. Settle them on the review page (they are "
        "in the queue) and cut again, or leave them out of this release (--leave-out-conflicts)."
    )


def _keep_groups_whole(candidates: _Candidates, left_out: Counter[str]) -> _Candidates:
    """Without the members of a group that have another split than the group's; the others get it.

    That is the most protected split of those that were released before, so that nothing like what a model has trained
    on comes into test later; in a group of which nothing was released, the most protected of all.
    """
    released = np.where(candidates.released >= 0, candidates.splits, -1)
    of_released = _least_and_most(candidates.groups, released)[1]
    of_all = _least_and_most(candidates.groups, candidates.splits)[1]
    split = np.where(of_released >= 0, of_released, of_all)[candidates.groups]
    torn = (candidates.splits >= 0) & (candidates.splits != split)
    too_late = torn & (candidates.splits > split)
    left_out["near duplicate of an image that an earlier release has in another split"] += int(too_late.sum())
    left_out["near duplicate of an image in a more protected split"] += int((torn & ~too_late).sum())
    return replace(candidates, splits=split.astype(np.int8)).only(~torn)


def _assign(candidates: _Candidates, ratios: tuple[int, int, int]) -> _Candidates:
    """Give every group without a split one."""
    if (candidates.splits >= 0).all():
        return candidates
    try:
        splits = assign_splits(
            candidates.labels,
            candidates.groups,
            (ratios[0] / 100, ratios[1] / 100, ratios[2] / 100),
            fixed=candidates.splits,
            seed=0,
        )
    except InferenceError as error:
        raise WrongUsage(str(error)) from error
    return replace(candidates, splits=splits)


def _check_no_leak(dataset: Dataset, candidates: _Candidates) -> None:
    """The last gate, whatever was computed above: no group crosses splits, and no bytes leave theirs."""
    least, most = _least_and_most(candidates.groups, candidates.splits)
    wrong = (least != most)[candidates.groups]
    wrong |= (candidates.released >= 0) & (candidates.released != candidates.splits)
    if wrong.any():
        some = candidates.only(wrong)
        paths = dataset.images.filter(pk__in=some.images[:_NAMED].tolist()).values_list("path", flat=True)
        more = f" and {len(some) - _NAMED:,} more" if len(some) > _NAMED else ""
        raise ReleaseRefused(
            f"{', '.join(paths)}{more} would be in two splits, by near duplicates or by an earlier release. Nothing "
            "was cut. This is a fault of Winnow: please report it."
        )


def _least_and_most(sets: Int64Array, values: npt.NDArray[np.signedinteger]) -> tuple[Int64Array, Int64Array]:
    """The least and the greatest value of each set, sets being numbered from 0."""
    count = int(sets.max()) + 1 if len(sets) else 0
    least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(least, sets, values.astype(np.int64))
    np.maximum.at(most, sets, values.astype(np.int64))
    return least, most


def _scarce(candidates: _Candidates, ratios: tuple[int, int, int], names: Mapping[int, str]) -> list[str]:
    """A sentence about each class that has too few images, or too few groups, for every split."""
    said = []
    for label in np.unique(candidates.labels).tolist():
        of_class = candidates.splits[candidates.labels == label]
        empty = [split for place, split in enumerate(SPLITS) if ratios[place] > 0 and not (of_class == place).any()]
        if empty:
            images = "1 image" if len(of_class) == 1 else f"{len(of_class):,} images"
            said.append(f"{names[label]} has {images}, and none in {' and '.join(empty)}.")
    return said


class _Entries(Sequence[NewEntry]):
    """The entries of a release by their hashes, made when they are asked for: a million of them weigh 400 MB."""

    def __init__(self, candidates: _Candidates, names: Mapping[int, str]) -> None:
        self._candidates, self._names = candidates, names
        self._order = np.argsort(candidates.sha256)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, at: int) -> NewEntry: ...
    @overload
    def __getitem__(self, at: slice) -> list[NewEntry]: ...
    def __getitem__(self, at: int | slice) -> NewEntry | list[NewEntry]:
        if isinstance(at, int):
            return self[at : at + 1 or None][0]
        some = self._candidates.only_at(self._order[at])
        columns = (some.sha256, some.images, some.splits, some.labels, some.verdicts, some.quality)
        return [
            NewEntry(
                image_id=image,
                sha256=sha256.decode(),
                split=SPLITS[split],
                label_id=label,
                label_name=self._names[label],
                verdict_id=verdict or None,
                label_quality=None if math.isnan(score) else score,
            )
            for sha256, image, split, label, verdict, score in zip(*(one.tolist() for one in columns), strict=True)
        ]

    def __iter__(self) -> Iterator[NewEntry]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]


def _last_issues_run(dataset: Dataset) -> Run | None:
    return dataset.runs.filter(kind=RunKind.FIND_ISSUES, state=RunState.DONE).first()


def _counted(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
