"""Cutting a release: current labels → clean, grouped, stratified splits that stay put."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.errors import InferenceError
from inference.splits import assign_splits
from labeling.actions.releases import NewEntry, freeze_release
from labeling.actions.runs import Listener, RunReporter, running
from labeling.actions.standing import fold, standings_of
from labeling.errors import NothingToDo, ReleaseRefused, WrongUsage
from labeling.models import SPLITS, Dataset, ItemState, Person, Quarantine, Release, Run, RunKind, RunState
from labeling.pipeline.grouping import group_duplicates

DEFAULT_RATIOS = (80, 10, 10)
MAX_NOTE = 500
_NAMED = 5


@dataclass(frozen=True)
class _Candidate:
    image_id: int
    path: str
    sha256: str
    split: str
    group: int
    label_id: int
    label_name: str
    verdict_id: int | None
    label_quality: float | None


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
    distributed by `ratios`. Left out, and counted: excluded and unsure images, all but one of identical bytes, and
    members of a near-duplicate group that lie outside the group's most protected split (test before validation
    before train), so that nothing leaks into training.

    Args:
        ratios: train/validation/test in percent.
        leave_out_conflicts: leave out identical files that carry different labels instead of refusing the cut.

    Raises:
        ReleaseRefused: identical files with different labels; the images are named.
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
        reporter.run.summary = {"version": release.version, "content_hash": release.content_hash}
    return release


def _cut(
    dataset: Dataset, ratios: tuple[int, int, int], note: str, leave_out_conflicts: bool, reporter: RunReporter
) -> Release:
    reporter.stage("grouping near duplicates")
    group_duplicates(dataset)
    reporter.stage("choosing images and splits")
    left_out: Counter[str] = Counter()
    candidates = _one_of_identical(_candidates(dataset, left_out), left_out, leave_out_conflicts)
    if not candidates:
        raise NothingToDo(f"There is no image to release in {dataset.slug}: {_counted(left_out) or 'it is empty'}.")
    settled = _keep_groups_whole(_assign(candidates, ratios), left_out)
    _check_no_leak(settled)
    reporter.stage("writing the release")
    had_split = {candidate.image_id for candidate in candidates if candidate.split}
    new_splits: dict[str, list[int]] = defaultdict(list)
    for candidate in settled:
        if candidate.image_id not in had_split:
            new_splits[candidate.split].append(candidate.image_id)
    return freeze_release(
        dataset=dataset,
        entries=[
            NewEntry(
                image_id=candidate.image_id,
                sha256=candidate.sha256,
                split=candidate.split,
                label_id=candidate.label_id,
                label_name=candidate.label_name,
                verdict_id=candidate.verdict_id,
                label_quality=candidate.label_quality,
            )
            for candidate in settled
        ],
        new_splits=new_splits,
        ratios=ratios,
        left_out={reason: count for reason, count in left_out.items() if count},
        issues_run=_last_issues_run(dataset),
        cut_run=reporter.run,
        note=note,
    )


def _candidates(dataset: Dataset, left_out: Counter[str]) -> list[_Candidate]:
    """Every image that may go in, with the label that its verdicts give it at this moment."""
    left_out["in quarantine"] = Quarantine.objects.filter(image__dataset=dataset).count()
    names = dict(dataset.taxonomy.classes.values_list("pk", "name"))
    standings = standings_of(dataset)
    candidates = []
    rows = dataset.images.order_by("pk").values_list(
        "pk", "path", "sha256", "split", "duplicate_group_id", "given_class_id", "item__label_quality"
    )
    for pk, path, sha256, split, group, given_class_id, quality in rows.iterator():
        standing = standings.get(pk) or fold(given_class_id, ())
        if standing.excluded:
            left_out["excluded by a reviewer"] += 1
        elif standing.state == ItemState.UNSURE:
            left_out["unsure, waits for a second person"] += 1
        elif standing.state == ItemState.DISPUTED:
            left_out["disputed, waits for adjudication"] += 1
        else:
            label_id, verdict = standing.current_class_id, standing.deciding
            candidates.append(
                _Candidate(
                    image_id=pk,
                    path=path,
                    sha256=sha256,
                    split=split,
                    group=group or pk,
                    label_id=label_id,
                    label_name=names[label_id],
                    verdict_id=verdict.pk if verdict else None,
                    label_quality=quality,
                )
            )
    return candidates


def _one_of_identical(
    candidates: Sequence[_Candidate], left_out: Counter[str], leave_out_conflicts: bool
) -> list[_Candidate]:
    """The first of each set of identical bytes, from its most protected split."""
    by_bytes: dict[str, list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_bytes[candidate.sha256].append(candidate)
    conflicts = [same for same in by_bytes.values() if len({one.label_id for one in same}) > 1]
    if conflicts and not leave_out_conflicts:
        raise ReleaseRefused(_conflict_sentence(conflicts))
    for same in conflicts:
        left_out["identical files with different labels"] += len(by_bytes.pop(same[0].sha256))
    kept = []
    for same in by_bytes.values():
        kept.append(max(same, key=lambda one: (_protection(one.split), -one.image_id)))
        left_out["identical to a released image"] += len(same) - 1
    return sorted(kept, key=lambda one: one.image_id)


def _conflict_sentence(conflicts: Sequence[Sequence[_Candidate]]) -> str:
    named = "; ".join(" and ".join(f"{one.path} ({one.label_name})" for one in same[:3]) for same in conflicts[:_NAMED])
    more = f"; and {len(conflicts) - _NAMED} more" if len(conflicts) > _NAMED else ""
    carry = "1 image carries" if len(conflicts) == 1 else f"{len(conflicts)} images carry"
    return (
        f"{carry} different labels on identical files: {named}{more}. Settle them on the review page (they are "
        "in the queue) and cut again, or leave them out of this release (--leave-out-conflicts)."
    )


def _assign(candidates: Sequence[_Candidate], ratios: tuple[int, int, int]) -> list[_Candidate]:
    """Give every candidate without a split one; a free image follows the fixed members of its group."""
    protected: dict[int, str] = {}
    for candidate in candidates:
        if candidate.split and _protection(candidate.split) > _protection(protected.get(candidate.group, "")):
            protected[candidate.group] = candidate.split
    fixed = np.array(
        [SPLITS.index(protected[one.group]) if one.group in protected else -1 for one in candidates],
        dtype=np.int8,
    )
    if (fixed >= 0).all():
        return [replace(one, split=one.split or protected[one.group]) for one in candidates]
    label_ids = sorted({one.label_id for one in candidates})
    try:
        assigned = assign_splits(
            np.array([label_ids.index(one.label_id) for one in candidates], dtype=np.int64),
            np.array([one.group for one in candidates], dtype=np.int64),
            (ratios[0] / 100, ratios[1] / 100, ratios[2] / 100),
            fixed=fixed,
            seed=0,
        )
    except InferenceError as error:
        raise WrongUsage(str(error)) from error
    return [
        one if one.split else replace(one, split=SPLITS[split])
        for one, split in zip(candidates, assigned.tolist(), strict=True)
    ]


def _keep_groups_whole(candidates: Sequence[_Candidate], left_out: Counter[str]) -> list[_Candidate]:
    highest: dict[int, int] = defaultdict(int)
    for candidate in candidates:
        highest[candidate.group] = max(highest[candidate.group], _protection(candidate.split))
    kept = [one for one in candidates if _protection(one.split) == highest[one.group]]
    left_out["near duplicate of an image in a more protected split"] += len(candidates) - len(kept)
    return kept


def _check_no_leak(candidates: Sequence[_Candidate]) -> None:
    """The last gate: whatever was computed above, no group may cross splits."""
    split_of: dict[int, str] = {}
    for candidate in candidates:
        if split_of.setdefault(candidate.group, candidate.split) != candidate.split:
            raise ReleaseRefused(
                f"{candidate.path} is a near duplicate of an image in {split_of[candidate.group]}, but would go to "
                f"{candidate.split}. Nothing was cut. This is a fault of Winnow: please report it."
            )


def _protection(split: str) -> int:
    """test > validation > train > none."""
    return ("", *SPLITS).index(split)


def _last_issues_run(dataset: Dataset) -> Run | None:
    return dataset.runs.filter(kind=RunKind.FIND_ISSUES, state=RunState.DONE).first()


def _counted(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
