"""Exporting a release: entries → files in a folder or an object store."""

import itertools
import json
import tomllib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Count, Exists, Func, Max, OuterRef, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, Length, Replace
from django.db.models.sql.compiler import SQLCompiler

from labeling.actions.runs import Listener, running
from labeling.errors import ExportRefused, UnknownClass, WrongUsage
from labeling.exporters.formats import FORMATS
from labeling.exporters.rows import IN_QUARANTINE, ExportHead, ExportRow, Missing, Options, Placing, export_key
from labeling.exporters.targets import is_address, target_at
from labeling.exporters.writing import Format, holds_any, write_export
from labeling.exporters.zips import Weight, ZipTarget, zip_size, zipped
from labeling.importers.paths import unescape
from labeling.models import SPLITS, Dataset, Person, Quarantine, Release, ReleaseEntry, Run, RunKind, TaxonomyClass
from labeling.queries.counts import KEEPER
from labeling.queries.escalations import is_quarantined
from labeling.taxonomies import BUILT_IN, ClassSpec, load_taxonomy
from labeling.taxonomies.class_maps import map_classes

_EXTENSIONS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "MPO": ".jpg",
}
DOWNLOADS = ("folders", "imagefolder", "csv", "jsonl")
"""The formats that can be downloaded as a zip."""
_PAGE = 2000
_OF_ENTRY = (
    "sha256",
    "label_id",
    "label_quality",
    "image__root_id",
    "image__path",
    "image__byte_size",
    "image__modified_ns",
    "image__format",
    "image__given_class_id",
    "verdict__kind",
    "verdict__reviewer__username",
    "verdict__created_at",
)


@dataclass(frozen=True)
class LabelMap:
    """What each class of a release is exported as; `classes` in the order of their index."""

    taxonomy: str
    classes: tuple[str, ...]
    names: Mapping[str, str]


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


def read_label_map(dataset: Dataset, reference: str) -> LabelMap:
    """What the dataset's classes become: those of a built-in taxonomy, or what a file says.

    Args:
        reference: `binary`, `five` or `seven`: each class goes where its name, an alias or its group leads. Or a .toml
            or .json file with `classes`, the new classes in the order of their index, and `map`, old class → new one.

    Raises:
        WrongUsage: a class has no counterpart, or the file does not say what it should.
        UnknownTaxonomy: no such taxonomy.
    """
    own = [_spec(known) for known in dataset.taxonomy.classes.order_by("index")]
    if Path(reference).suffix.lower() in {".toml", ".json"}:
        classes, given = _read_map_file(Path(reference))
        wanted = [ClassSpec(name, group=name) for name in classes]
        found = map_classes(own, wanted, given)
    else:
        spec = load_taxonomy(reference)
        wanted = list(spec.classes)
        found = map_classes(own, wanted)
    without = [one.name for one, place in zip(own, found.classes, strict=True) if place is None]
    if without:
        raise WrongUsage(
            f"The label map {reference} says nothing about {', '.join(without)}, and a release is exported whole. Name "
            f'every class of {dataset.slug} in a file: classes = ["…"] and, below [map], {without[0]} = "…".'
        )
    names = {one.name: wanted[place].name for one, place in zip(own, found.classes, strict=True) if place is not None}
    return LabelMap(reference, tuple(one.name for one in wanted), names)


def fitting_maps(classes: Sequence[TaxonomyClass]) -> tuple[str, ...]:
    """The built-in taxonomies that each of these classes maps onto, other than their own."""
    own = [_spec(known) for known in classes]
    specs = [load_taxonomy(slug) for slug in BUILT_IN]
    names = [one.name for one in own]
    return tuple(spec.slug for spec in specs if list(spec.names) != names and map_classes(own, spec.classes).by_class)


def free_target(
    release: Release,
    export_format: str = "folders",
    *,
    label_map: LabelMap | None = None,
    options: Options | None = None,
) -> str:
    """Where the web pages export to: below WINNOW_HOME, beside earlier exports that miss files or hold another release.

    A finished export that misses nothing is named again, so that exporting twice does nothing.
    """
    kind = "" if export_format == "folders" else f"-{export_format}"
    mapped = f"-{label_map.taxonomy}" if label_map else ""
    for number in itertools.count(1):
        suffix = "" if number == 1 else f"-{number}"
        target = Path(settings.EXPORTS_ROOT) / f"{release.dataset.slug}-{release.version}{kind}{mapped}{suffix}"
        if not target.exists():
            return str(target)
        export = export_to(release, str(target), export_format, label_map=label_map, options=options)
        if export.target.finished() == [] and not holds_any(export, list(_withheld(release, label_map))):
            return str(target)
    raise AssertionError("unreachable: the numbers do not end")


def export_to(
    release: Release,
    place: str,
    export_format: str,
    *,
    label_map: LabelMap | None = None,
    options: Options | None = None,
) -> Format:
    """An export that can be written: its format, its head and its target.

    Raises:
        WrongUsage: an unknown format, or options that do not fit it.
        ExportRefused: nothing that is installed reaches the place.
    """
    if export_format not in FORMATS:
        raise WrongUsage(f"Unknown export format {export_format!r}: expected {', '.join(FORMATS)}.")
    head, chosen = head_of(release, label_map), options or Options()
    return FORMATS[export_format](head, target_at(place, export_key(head, export_format, chosen)), chosen)


def export_release(
    release: Release,
    target: Path | str,
    *,
    export_format: str = "folders",
    label_map: LabelMap | None = None,
    options: Options | None = None,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> ExportSummary:
    """Write a release to a new folder, or to a new place in an object store.

    Repeating a finished export does nothing. What is in quarantine is left out.

    Raises:
        ExportRefused: see `write_export`.
        WrongUsage: an unknown format, or options that do not fit it.
    """
    place = str(target)
    if not is_address(place):
        place = str(Path(place).expanduser().absolute())
        _check_outside_sources(release.dataset, Path(place))
    export = export_to(release, place, export_format, label_map=label_map, options=options)
    with running(
        dataset=release.dataset,
        kind=RunKind.EXPORT,
        parameters={
            "release": release.pk,
            "target": place,
            "format": export_format,
            "labels": label_map.taxonomy if label_map else "",
            "placing": export.options.placing.value,
            "base_url": export.options.base_url,
        },
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        total = release.entries.count()
        already = export.target.finished() is not None
        reporter.stage("already exported" if already else "writing images", total, done=total if already else 0)
        with closing(_rows(release, label_map)) as rows:
            steps = write_export(export, rows, withheld=lambda: list(_withheld(release, label_map)))
            missing = _carry_out(steps, reporter.advance)
        for one in missing:
            reporter.refuse(one.original_path, one.code, one.reason)
        summary = ExportSummary(
            dataset=release.dataset.slug,
            version=release.version,
            target=place,
            format=export_format,
            written=total - sum(one.code != IN_QUARANTINE for one in missing),
            missing=tuple(missing),
        )
        reporter.run.summary = asdict(summary) | {"missing": len(missing)}
    return summary


@dataclass(frozen=True)
class Download:
    """A zip on its way: its name, its length in bytes, and its blocks, which are written as they are taken."""

    name: str
    size: int
    blocks: Iterator[bytes]


def zip_release(release: Release, export_format: str, *, label_map: LabelMap | None = None) -> Download:
    """A release as a zip, sent while it is written; nothing of it is kept.

    Raises:
        WrongUsage: a format that does not go into a zip.
    """
    if export_format not in DOWNLOADS:
        raise WrongUsage(f"A download is one of {', '.join(DOWNLOADS)}, but received {export_format!r}.")
    export = FORMATS[export_format](head_of(release, label_map), ZipTarget(), Options())
    withheld = list(_withheld(release, label_map))
    size = zip_size(export.head, _weigh(release, withheld), with_images=export.by_file)
    # Looked at image by image: a slow line may take hours between the page of rows and its last image.
    rows = (row for row in _rows(release, label_map) if not is_quarantined(row.sha256))
    steps = write_export(export, rows, withheld=lambda: list(_withheld(release, label_map)))
    mapped = f"-{label_map.taxonomy}" if label_map else ""
    return Download(
        f"{release.dataset.slug}-{release.version}-{export_format}{mapped}.zip", size, zipped(export, steps, size)
    )


def _weigh(release: Release, withheld: Sequence[ExportRow]) -> Weight:
    """What a release without these images weighs; it never changes, so what took long to add up is kept for a while."""
    key = ("weight", release.pk, tuple(row.sha256 for row in withheld))
    found = KEEPER.counted(key, lambda: _sums(release)).value
    longest = Person.objects.aggregate(longest=Coalesce(Max(Length("username")), 0))["longest"]
    model_bytes = len(_model_of(release).encode())
    return Weight(**found, longest_name=4 * longest, model_bytes=model_bytes, withheld=len(withheld))


def _sums(release: Release) -> dict[str, int]:
    marks = [Length("path") - Length(Replace("path", Value(mark))) for mark in ('"', "\\")]
    # By way of the images: their rows lie in the order in which this reads them, those of the entries do not.
    of_release = Exists(release.entries.filter(image=OuterRef("pk")))
    return release.dataset.images.filter(of_release).aggregate(
        images=Count("pk"),
        image_bytes=Coalesce(Sum("byte_size"), 0),
        path_bytes=Coalesce(Sum(_Octets("path")), 0),
        path_marks=Coalesce(Sum(marks[0] + marks[1]), 0),
    )


class _Octets(Func):
    """How many bytes a text has in UTF-8."""

    function = "OCTET_LENGTH"
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


def export_again(run: Run) -> ExportSummary:
    """Carry out an export that a page asked for; one that died goes on where it was writing."""
    release = Release.objects.select_related("dataset__taxonomy", "issues_run").get(pk=run.parameters["release"])
    export_format = run.parameters.get("export_format") or run.parameters.get("format") or "folders"
    labels = run.parameters.get("labels") or ""
    label_map = read_label_map(release.dataset, labels) if labels else None
    target = run.parameters.get("target") or free_target(release, export_format, label_map=label_map)
    return export_release(
        release,
        target,
        export_format=export_format,
        label_map=label_map,
        options=Options(
            placing=Placing(run.parameters.get("placing", Placing.COPY)), base_url=run.parameters.get("base_url", "")
        ),
        person=run.created_by,
        queued=run,
    )


def head_of(release: Release, label_map: LabelMap | None = None) -> ExportHead:
    """What an export of this release says about itself."""
    taxonomy = release.dataset.taxonomy
    entries = ReleaseEntry.everything.filter(release=release)
    present = [split for split in SPLITS if entries.filter(split=split).exists()]
    own = tuple(taxonomy.classes.order_by("index").values_list("name", flat=True))
    return ExportHead(
        dataset=release.dataset.slug,
        title=release.dataset.title,
        version=release.version,
        content_hash=release.content_hash,
        taxonomy=str(taxonomy),
        classes=label_map.classes if label_map else own,
        splits=tuple(present),
        images=entries.count(),
        created_at=release.created_at.isoformat(timespec="seconds"),
        note=release.note,
        label_map=dict(label_map.names) if label_map else {},
    )


def _carry_out(steps: Generator[ExportRow, None, list[Missing]], advance: Any) -> list[Missing]:
    with closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as ended:
                missing: list[Missing] = ended.value
                return missing
            advance()


def _check_outside_sources(dataset: Dataset, target: Path) -> None:
    """Source folders are never written, and an export inside one would be imported as images the next time."""
    for root in dataset.roots.values_list("path", flat=True):
        if target.resolve().is_relative_to(Path(unescape(root)).resolve()):
            raise ExportRefused(f"{target} lies inside the source folder {root}: name a folder outside of it.")


def _rows(release: Release, label_map: LabelMap | None = None) -> Generator[ExportRow, None, None]:
    """The images of a release, by split, and within one by sha256."""
    return _rows_of(release, release.entries.all(), label_map)


def _withheld(release: Release, label_map: LabelMap | None = None) -> Iterator[ExportRow]:
    """The images of the release that are in quarantine now."""
    hidden = list(Quarantine.objects.filter(image__dataset=release.dataset).values_list("image", flat=True))
    if not hidden:
        return iter(())
    return _rows_of(release, ReleaseEntry.everything.filter(release=release, image__in=hidden), label_map)


def _rows_of(
    release: Release, of: QuerySet[ReleaseEntry], label_map: LabelMap | None
) -> Generator[ExportRow, None, None]:
    """Page by page along the unique index of hashes: no sorting, and no cursor that stays open all the while."""
    names = dict(release.dataset.taxonomy.classes.values_list("pk", "name"))
    exported = {pk: label_map.names[name] if label_map else name for pk, name in names.items()}
    roots = {pk: Path(unescape(path)) for pk, path in release.dataset.roots.values_list("pk", "path")}
    model = _model_of(release)
    for split in SPLITS:
        last = ""
        while True:
            page = of.filter(split=split, sha256__gt=last).order_by("sha256").values_list(*_OF_ENTRY)[:_PAGE]
            found = list(page)
            for sha256, label, quality, root, path, size, modified, kind, given, decision, who, when in found:
                yield ExportRow(
                    source=roots[root] / unescape(path),
                    byte_size=size,
                    modified_ns=modified,
                    sha256=sha256,
                    extension=_EXTENSIONS.get(kind, ".img"),
                    original_path=path,
                    split=split,
                    given_label=names[given],
                    label=exported[label],
                    release_label=names[label],
                    decision=decision or "",
                    decided_by=who or "",
                    decided_at=when.isoformat(timespec="seconds") if when else "",
                    label_quality=round(quality, 6) if quality is not None else None,
                    model=model,
                )
            if len(found) < _PAGE:
                break
            last = found[-1][0]


def _model_of(release: Release) -> str:
    return str((release.issues_run.summary or {}).get("model", "")) if release.issues_run else ""


def _spec(known: TaxonomyClass) -> ClassSpec:
    return ClassSpec(known.name, known.group, known.harm_rank, tuple(known.aliases), known.guideline)


def _read_map_file(path: Path) -> tuple[list[str], dict[str, str]]:
    expected = 'expected classes = ["…", "…"] in the order of their index, and a table map of old class = new class'
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise WrongUsage(f"The label map {path} cannot be read: {error}; {expected}.") from error
    classes = content.get("classes") if isinstance(content, dict) else None
    given = content.get("map") if isinstance(content, dict) else None
    if not isinstance(classes, list) or not classes or not isinstance(given, dict):
        raise WrongUsage(f"The label map {path} is not one: {expected}.")
    # The same rules as for a taxonomy's classes: they become folders.
    names = [str(one) for one in classes]
    if len(set(names)) < len(names) or any(
        not name.strip() or name in {".", ".."} or any(mark in "/\\" or not mark.isprintable() for mark in name)
        for name in names
    ):
        raise WrongUsage(f"The classes of the label map {path} must be different names that can be folders.")
    unknown = sorted({str(new) for new in given.values()} - set(names))
    if unknown:
        raise UnknownClass(f"The label map {path} maps onto {', '.join(unknown)}, which its classes do not name.")
    return names, {str(old): str(new) for old, new in given.items()}
