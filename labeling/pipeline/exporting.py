"""Exporting a release: entries → files on disk."""

import itertools
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from labeling.actions.runs import Listener, running
from labeling.errors import ExportRefused, WrongUsage
from labeling.exporters.folders import IN_QUARANTINE, export_folders, finished_export, holds_any
from labeling.exporters.rows import ExportHead, ExportRow, Missing
from labeling.importers.paths import unescape
from labeling.models import SPLITS, Dataset, Person, Release, ReleaseEntry, Run, RunKind, VerdictKind

_EXTENSIONS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "MPO": ".jpg",
}
FORMATS = {"folders": export_folders}


@dataclass(frozen=True)
class ExportSummary:
    """Where a release was written, how many images, and which could not be written."""

    dataset: str
    version: str
    target: str
    format: str
    written: int
    missing: tuple[Missing, ...]


def find_release(dataset: Dataset, version: str) -> Release:
    """The release of this version (`1.0`).

    Raises:
        WrongUsage: there is none, with those that there are.
    """
    for release in dataset.releases.all():
        if release.version == version:
            return release
    known = ", ".join(release.version for release in dataset.releases.all())
    raise WrongUsage(
        f"{dataset.slug} has no release {version!r} (there is {known or 'none yet'}). "
        f"Cut one with: manage.py cut_release {dataset.slug}"
    )


def free_target(release: Release) -> Path:
    """Where the web pages export to: below WINNOW_HOME, beside earlier exports that miss files or hold another release.

    A finished export that misses nothing is named again, so that exporting twice does nothing.
    """
    head = _head(release)
    for number in itertools.count(1):
        suffix = "" if number == 1 else f"-{number}"
        target = Path(settings.EXPORTS_ROOT) / f"{release.dataset.slug}-{release.version}{suffix}"
        repeated = finished_export(head, target) == [] and not holds_any(target, _withheld(release))
        if not target.exists() or repeated:
            return target
    raise AssertionError("unreachable: the numbers do not end")


def export_release(
    release: Release,
    target: Path,
    *,
    export_format: str = "folders",
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> ExportSummary:
    """Write a release to a new folder. Repeating a finished export does nothing. What is in quarantine is left out.

    Raises:
        ExportRefused: see the exporter.
        WrongUsage: an unknown format.
    """
    if export_format not in FORMATS:
        raise WrongUsage(f"Unknown export format {export_format!r}: expected {', '.join(FORMATS)}.")
    head = _head(release)
    target = target.expanduser().absolute()
    _check_outside_sources(release.dataset, target)
    with running(
        dataset=release.dataset,
        kind=RunKind.EXPORT,
        parameters={"release": release.pk, "target": str(target), "format": export_format},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        total = release.entries.count()
        already = finished_export(head, target) is not None
        reporter.stage("already exported" if already else "copying images", total, done=total if already else 0)
        with closing(_rows(release)) as rows:
            missing = FORMATS[export_format](
                head, rows, target, advance=reporter.advance, withheld=lambda: _withheld(release)
            )
        for one in missing:
            reporter.refuse(one.original_path, one.code, one.reason)
        summary = ExportSummary(
            dataset=release.dataset.slug,
            version=release.version,
            target=str(target),
            format=export_format,
            written=total - sum(one.code != IN_QUARANTINE for one in missing),
            missing=tuple(missing),
        )
        reporter.run.summary = asdict(summary) | {"missing": len(missing)}
    return summary


def _check_outside_sources(dataset: Dataset, target: Path) -> None:
    """Source folders are never written, and an export inside one would be imported as images the next time."""
    for root in dataset.roots.values_list("path", flat=True):
        if target.resolve().is_relative_to(Path(unescape(root)).resolve()):
            raise ExportRefused(f"{target} lies inside the source folder {root}: name a folder outside of it.")


def _head(release: Release) -> ExportHead:
    taxonomy = release.dataset.taxonomy
    present = set(ReleaseEntry.everything.filter(release=release).values_list("split", flat=True).distinct())
    return ExportHead(
        dataset=release.dataset.slug,
        version=release.version,
        content_hash=release.content_hash,
        taxonomy=str(taxonomy),
        classes=tuple(taxonomy.classes.order_by("index").values_list("name", flat=True)),
        splits=tuple(split for split in SPLITS if split in present),
    )


def _rows(release: Release) -> Generator[ExportRow, None, None]:
    return _rows_of(release, release.entries.all())


def _withheld(release: Release) -> list[ExportRow]:
    """The images of the release that are in quarantine now."""
    return list(_rows_of(release, ReleaseEntry.everything.filter(release=release, image__quarantine__isnull=False)))


def _rows_of(release: Release, of: QuerySet[ReleaseEntry]) -> Generator[ExportRow, None, None]:
    model = str((release.issues_run.summary or {}).get("model", "")) if release.issues_run else ""
    entries = of.order_by("split", "label__index", "sha256").select_related(
        "image__root", "image__given_class", "label", "verdict__reviewer"
    )
    for entry in entries.iterator(chunk_size=1000):
        image, verdict = entry.image, entry.verdict
        yield ExportRow(
            source=Path(unescape(image.root.path)) / unescape(image.path),
            sha256=entry.sha256,
            extension=_EXTENSIONS.get(image.format, ".img"),
            original_path=image.path,
            split=entry.split,
            given_label=image.given_class.name,
            label=entry.label.name,
            decision=VerdictKind(verdict.kind).value if verdict else "",
            decided_by=verdict.reviewer.username if verdict else "",
            decided_at=verdict.created_at.isoformat(timespec="seconds") if verdict else "",
            label_quality=round(entry.label_quality, 6) if entry.label_quality is not None else None,
            model=model,
        )
