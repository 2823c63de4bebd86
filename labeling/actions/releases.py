"""Releases: frozen once written."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Subquery

from labeling.errors import NothingToDo
from labeling.models import Dataset, Image, Quarantine, Release, ReleaseEntry, Run

_AT_ONCE = 10_000


class NewEntry(NamedTuple):
    """An image as it goes into a release; `verdict_id` is the verdict that decided its label, if any did."""

    image_id: int
    sha256: str
    split: str
    label_id: int
    label_name: str
    verdict_id: int | None
    label_quality: float | None


def content_hash(entries: Iterable[NewEntry]) -> str:
    """sha256 over the lines `sha256 split label`, sorted: what the release holds, whatever its file names.

    Args:
        entries: by their sha256.

    Raises:
        ValueError: they come in another order, or one comes twice.
    """
    digest, last = hashlib.sha256(), ""
    for entry in entries:
        if entry.sha256 <= last:
            raise ValueError(f"Expected entries by their sha256, but received {entry.sha256} after {last}.")
        last = entry.sha256
        digest.update(f"{entry.sha256} {entry.split} {entry.label_name}\n".encode())
    return digest.hexdigest()


def freeze_release(
    *,
    dataset: Dataset,
    entries: Sequence[NewEntry],
    ratios: Sequence[int],
    left_out: Mapping[str, int],
    issues_run: Run | None,
    cut_run: Run,
    note: str,
) -> Release:
    """Write a release, and the splits that it gives to images that had none, all or none.

    `entries` come by their sha256. `cut_run` is the run that cuts it, `issues_run` the ranking that its label qualities
    come from.

    MAJOR grows when an image is in another split than in the last release, MINOR otherwise.

    Raises:
        NothingToDo: the last release holds exactly the same.
    """
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        # What was escalated since the entries were chosen.
        hidden = set(Quarantine.objects.filter(image__dataset=dataset).values_list("image", flat=True))
        if hidden:
            entries = [entry for entry in entries if entry.image_id not in hidden]
        digest = content_hash(entries)
        last = dataset.releases.first()
        if last is not None and last.content_hash == digest:
            raise NothingToDo(
                f"Nothing has changed since release {last.version} of {dataset.slug}: same images, splits and labels."
            )
        release = Release.objects.create(
            dataset=dataset,
            major=last.major if last else 1,
            minor=last.minor + 1 if last else 0,
            content_hash=digest,
            ratios=list(ratios),
            note=note,
            left_out=dict(left_out),
            issues_run=issues_run,
            cut_run=cut_run,
            created_by=cut_run.created_by,
        )
        _write_entries(release, entries)
        if last is not None and _moved(last, release):
            Release.objects.filter(pk=release.pk).update(major=last.major + 1, minor=0)
            release.major, release.minor = last.major + 1, 0
        _give_splits(release)
        return release


def _write_entries(release: Release, entries: Sequence[NewEntry]) -> None:
    """By plain SQL: a million objects of the ORM would take minutes."""
    with connection.cursor() as cursor:
        for start in range(0, len(entries), _AT_ONCE):
            rows = [
                (release.pk, one.image_id, one.sha256, one.split, one.label_id, one.verdict_id, one.label_quality)
                for one in entries[start : start + _AT_ONCE]
            ]
            cursor.executemany(
                "INSERT INTO labeling_releaseentry (release_id, image_id, sha256, split, label_id, verdict_id, "
                "label_quality) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                rows,
            )


def _moved(last: Release, release: Release) -> bool:
    """Whether bytes that are in both releases are in different splits."""
    before = ReleaseEntry.everything.filter(release=last, sha256=OuterRef("sha256")).exclude(split=OuterRef("split"))
    return ReleaseEntry.everything.filter(Exists(before), release=release).exists()


def _give_splits(release: Release) -> None:
    without = Image.objects.filter(dataset=release.dataset, split="")
    given = ReleaseEntry.everything.filter(release=release, image=OuterRef("pk")).values("split")
    without.filter(Exists(given)).update(split=Subquery(given))
