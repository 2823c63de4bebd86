"""Releases: frozen once written."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from labeling.errors import NothingToDo
from labeling.models import Dataset, Image, Quarantine, Release, ReleaseEntry, Run


@dataclass(frozen=True)
class NewEntry:
    """An image as it goes into a release; `verdict_id` is the verdict that decided its label, if any did."""

    image_id: int
    sha256: str
    split: str
    label_id: int
    label_name: str
    verdict_id: int | None
    label_quality: float | None


def content_hash(entries: Iterable[NewEntry]) -> str:
    """sha256 over the lines `sha256 split label`, sorted: what the release holds, whatever its file names."""
    lines = sorted(f"{entry.sha256} {entry.split} {entry.label_name}\n" for entry in entries)
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def freeze_release(
    *,
    dataset: Dataset,
    entries: Sequence[NewEntry],
    new_splits: Mapping[str, Sequence[int]],
    ratios: Sequence[int],
    left_out: Mapping[str, int],
    issues_run: Run | None,
    cut_run: Run,
    note: str,
) -> Release:
    """Write a release and the splits that it gave to images (split → image pks), all or none.

    `cut_run` is the run that cuts it, `issues_run` the ranking that its label qualities come from.

    MAJOR grows when an image is in another split than in the last release, MINOR otherwise.

    Raises:
        NothingToDo: the last release holds exactly the same.
    """
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        # What was escalated since the entries were chosen.
        hidden = set(Quarantine.objects.filter(image__dataset=dataset).values_list("image", flat=True))
        entries = [entry for entry in entries if entry.image_id not in hidden]
        digest = content_hash(entries)
        last = dataset.releases.first()
        if last is not None and last.content_hash == digest:
            raise NothingToDo(
                f"Nothing has changed since release {last.version} of {dataset.slug}: same images, splits and labels."
            )
        for split, image_ids in new_splits.items():
            for start in range(0, len(image_ids), 500):
                Image.objects.filter(pk__in=image_ids[start : start + 500], split="").update(split=split)
        major, minor = _next_version(last, entries)
        release = Release.objects.create(
            dataset=dataset,
            major=major,
            minor=minor,
            content_hash=digest,
            ratios=list(ratios),
            note=note,
            left_out=dict(left_out),
            issues_run=issues_run,
            cut_run=cut_run,
            created_by=cut_run.created_by,
        )
        ReleaseEntry.objects.bulk_create(
            (
                ReleaseEntry(
                    release=release,
                    image_id=entry.image_id,
                    sha256=entry.sha256,
                    split=entry.split,
                    label_id=entry.label_id,
                    verdict_id=entry.verdict_id,
                    label_quality=entry.label_quality,
                )
                for entry in entries
            ),
            batch_size=2000,
        )
        return release


def _next_version(last: Release | None, entries: Sequence[NewEntry]) -> tuple[int, int]:
    if last is None:
        return 1, 0
    before: dict[str, Any] = dict(ReleaseEntry.everything.filter(release=last).values_list("sha256", "split"))
    moved = any(before.get(entry.sha256, entry.split) != entry.split for entry in entries)
    return (last.major + 1, 0) if moved else (last.major, last.minor + 1)
