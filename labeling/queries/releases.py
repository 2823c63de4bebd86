"""Releases with their counts and exports."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from django.db.models import Count

from labeling.models import SPLITS, Dataset, Release, ReleaseEntry, Run, RunKind, RunState, TaxonomyClass
from labeling.queries.counts import KEEPER
from labeling.queries.overview import SplitRow
from labeling.queries.queue import classes_of
from labeling.queries.runs import RunProgress, progress_of, progress_of_all


@dataclass(frozen=True)
class ReleaseSummary:
    release: Release
    rows: tuple[SplitRow, ...]
    left_out: tuple[tuple[str, int], ...]
    export: RunProgress | None
    previous: Release | None
    scarce: tuple[tuple[str, str], ...]
    """Classes that have images, but none in some split that was to have a share; and those splits in words."""

    @property
    def images(self) -> int:
        return sum(row.images for row in self.rows)

    @property
    def ratios(self) -> str:
        return "/".join(str(part) for part in self.release.ratios)


@dataclass(frozen=True)
class Releases:
    """`cut` is the last cut while it works, or when it ended without a release."""

    classes: tuple[TaxonomyClass, ...]
    releases: tuple[ReleaseSummary, ...]
    cut: RunProgress | None


def releases(dataset: Dataset) -> Releases:
    """All releases of the dataset, newest first; at most eight SQL queries."""
    classes = classes_of(dataset)
    found = list(dataset.releases.select_related("created_by").order_by("-major", "-minor"))
    # A release never changes; what is in quarantine does, and a count may follow it a little later.
    key = ("releases", dataset.pk, tuple(release.pk for release in found))
    counted = KEEPER.counted(key, lambda: _counted(found)).value
    exports = _exports(dataset)
    return Releases(
        tuple(classes),
        tuple(
            ReleaseSummary(
                release=release,
                rows=_rows(release, classes, counted),
                left_out=tuple(sorted(release.left_out.items())),
                export=exports.get(release.pk),
                previous=previous,
                scarce=_scarce(release, classes, counted),
            )
            for release, previous in zip_longest(found, found[1:])
        ),
        _unfinished_cut(dataset),
    )


def release_pair(dataset: Dataset, before: str, after: str) -> tuple[Release, Release] | None:
    """Two releases of the dataset by their versions; None unless there are both."""
    found = {release.version: release for release in dataset.releases.select_related("issues_run", "cut_run")}
    for release in found.values():
        release.dataset = dataset
    return (found[before], found[after]) if before in found and after in found else None


def _unfinished_cut(dataset: Dataset) -> RunProgress | None:
    last = dataset.runs.filter(kind=RunKind.CUT).select_related("created_by").order_by("-id").first()
    return None if last is None or last.state == RunState.DONE else progress_of(last)


def _rows(
    release: Release, classes: Sequence[TaxonomyClass], counted: Counter[tuple[int, str, int]]
) -> tuple[SplitRow, ...]:
    return tuple(
        SplitRow(split, tuple(counted[release.pk, split, known.pk] for known in classes), 0) for split in SPLITS
    )


def _counted(found: Sequence[Release]) -> Counter[tuple[int, str, int]]:
    """(release, split, class) → images."""
    grouped = (
        ReleaseEntry.objects.filter(release__in=found)
        .values_list("release", "split", "label")
        .annotate(entries=Count("pk"))
        .order_by()
    )
    return Counter({(release, split, label): entries for release, split, label, entries in grouped})


def _scarce(
    release: Release, classes: Sequence[TaxonomyClass], counted: Counter[tuple[int, str, int]]
) -> tuple[tuple[str, str], ...]:
    asked = [split for split, ratio in zip(SPLITS, release.ratios, strict=True) if ratio]
    empty = {
        one.name: [split for split in asked if not counted[release.pk, split, one.pk]]
        for one in classes
        if any(counted[release.pk, split, one.pk] for split in SPLITS)
    }
    return tuple((name, " and ".join(splits)) for name, splits in empty.items() if splits)


def _exports(dataset: Dataset) -> dict[int, RunProgress]:
    """The last export of each release."""
    last: dict[int, Run] = {}
    for run in dataset.runs.filter(kind=RunKind.EXPORT).select_related("created_by").order_by("id"):
        release = run.parameters.get("release")
        if isinstance(release, int):
            last[release] = run
    progress = progress_of_all(last.values())
    return dict(zip(last, progress, strict=True))
