"""Import: files in a folder → images of a dataset."""

import hashlib
import os
import shlex
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from django.conf import settings

from inference.errors import ImageRefused
from inference.inspection import ImageFacts, inspect_image
from labeling.actions import imports
from labeling.actions.runs import Listener, RunReporter, running
from labeling.errors import LabelingError, NothingToDo, WrongUsage
from labeling.importers.folders import read_folder
from labeling.importers.manifests import read_manifest
from labeling.importers.paths import MAX_STORED_BYTES, escape_root, unescape
from labeling.importers.records import Found, ImageRecord, Refusal
from labeling.models import Dataset, Image, ImageRoot, Person, Quarantine, Run, RunKind
from labeling.pipeline.grouping import group_duplicates
from labeling.queries.escalations import images_in_quarantine
from labeling.taxonomies import TaxonomySpec

CHUNK = 64
_FILE_REFUSALS = (
    "empty",
    "truncated",
    "not_an_image",
    "not_a_file",
    "too_many_pixels",
    "too_many_bytes",
    "unreadable",
    "unsupported",
)
T = TypeVar("T")


@dataclass(frozen=True)
class ImportPlan:
    """What an import would do; nothing has been decoded yet.

    `classes` counts files by class and split; `unmapped` holds folder or manifest names that the taxonomy does not
    know, with their number of files.
    """

    source: str
    records: tuple[ImageRecord, ...] = field(repr=False)
    classes: dict[str, dict[str, int]]
    unmapped: dict[str, int]
    refusals: tuple[Refusal, ...]
    passed_over: tuple[Refusal, ...]


@dataclass(frozen=True)
class ImportSummary:
    """How many files were added, were there already, were refused, were passed over, and are gone since before."""

    dataset: str
    run: int
    added: int
    unchanged: int
    refused: int
    passed_over: int
    missing: int
    near_duplicate_groups: int


def plan_import(source: Path, spec: TaxonomySpec, *, labels: Path | None, mapping: Mapping[str, str]) -> ImportPlan:
    """Look at a source without reading any image.

    Args:
        labels: a manifest with paths below `source`; None reads class folders. A `source` that is itself a manifest
            stands for the folder it lies in.
        mapping: class names of the source → classes of the taxonomy, for names that the taxonomy does not know.

    Raises:
        WrongUsage: the source is not there, or a mapping names an unknown class.
        NothingToDo: the source holds no image at all.
    """
    if labels is None and source.is_file():
        source, labels = source.parent, source
    if not source.is_dir():
        raise WrongUsage(f"{source} is not a folder: expected a folder of images, or a .csv or .jsonl manifest.")
    root = source.resolve()
    if len(escape_root(root).encode()) > MAX_STORED_BYTES:
        raise WrongUsage(
            f"The path of the folder {root.name} is longer than {MAX_STORED_BYTES} bytes; use a shorter one."
        )
    named = {old.strip().casefold(): spec.require(new) for old, new in mapping.items()}
    found = read_folder(root) if labels is None else read_manifest(labels, root)
    records, unmapped = _mapped(found, spec, named)
    if not found.records:
        raise NothingToDo(_nothing_in(root, found))
    classes: dict[str, dict[str, int]] = {name: {} for name in spec.names}
    for record in records:
        classes[record.label][record.split] = classes[record.label].get(record.split, 0) + 1
    return ImportPlan(
        source=escape_root(root),
        records=tuple(records),
        classes=classes,
        unmapped=dict(unmapped),
        refusals=tuple(found.refusals),
        passed_over=tuple(found.passed_over),
    )


def import_images(
    dataset: Dataset,
    plan: ImportPlan,
    *,
    person: Person | None = None,
    listener: Listener | None = None,
) -> ImportSummary:
    """Read every planned file once and add those that are new; repeatable, and resumable after any end.

    Raises:
        RunInProgress, RunStopped: see `actions.runs`.
        NothingToDo: no file of the source could be used.
    """
    with running(
        dataset=dataset,
        kind=RunKind.IMPORT,
        parameters={"source": plan.source},
        person=person,
        listener=listener,
    ) as reporter:
        summary = _import(dataset, plan, reporter)
        reporter.run.summary = asdict(summary)
    return summary


def _import(dataset: Dataset, plan: ImportPlan, reporter: RunReporter) -> ImportSummary:
    if not plan.records:
        why = "; ".join(f"{refusal.path}: {refusal.reason}" for refusal in plan.refusals[:1])
        raise NothingToDo(f"Nothing in {plan.source} can be imported. The first reason: {why}")
    _check_not_moved(dataset, plan.source)
    root = imports.root_for_import(dataset, plan.source)
    for refusal in plan.refusals:
        reporter.refuse(refusal.path, refusal.code, refusal.reason)
    known = _known_files(root)
    blocked = {one.sha256: one for one in images_in_quarantine()}
    # A resumed run does not try again what it refused before it died.
    tried = set(reporter.run.refusals.filter(code__in=_FILE_REFUSALS).values_list("path", flat=True))
    records = [record for record in plan.records if record.stored_path not in tried]
    reporter.stage("reading images", len(plan.records), done=len(plan.records) - len(records))
    classes = dict(dataset.taxonomy.classes.values_list("name", "pk"))
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="inspect") as pool:
        for chunk in batched(records, CHUNK):
            new: list[tuple[ImageRecord, int, imports.Measured]] = []
            touched: dict[int, int] = {}
            inspected = pool.map(lambda record: _inspect(record, known.get(record.stored_path), blocked), chunk)
            for record, outcome in zip(chunk, inspected, strict=True):
                before = known.get(record.stored_path)
                if isinstance(outcome, Refusal):
                    reporter.refuse(outcome.path, outcome.code, outcome.reason)
                elif before is None and outcome is not None:
                    new.append((record, classes[record.label], outcome))
                elif before is not None and outcome is not None:
                    touched[before.pk] = outcome.modified_ns
                if before is not None and not before.hidden and before.given_label != record.label:
                    reason = f"Imported as {before.given_label} before; a given label is never changed."
                    reporter.refuse(record.stored_path, "label_differs", reason)
            imports.touch_images(touched)
            imports.add_images(dataset=dataset, root=root, images=new)
            reporter.advance(len(chunk))
    if not dataset.images.exists():
        first = reporter.run.refusals.first()
        raise NothingToDo(
            f"None of the {len(plan.records)} files in {plan.source} could be used"
            + (f"; the first: {first.path}: {first.reason}" if first else ".")
        )
    reporter.stage("grouping near duplicates")
    groups = group_duplicates(dataset)
    return _summary(dataset, root, plan, reporter.run, groups)


def _check_not_moved(dataset: Dataset, source: str) -> None:
    """Refuse to import a folder that looks like one of the dataset's in a new place: every image would be there twice.

    Raises:
        WrongUsage: another folder of the dataset is gone, and this one is new.
    """
    places = list(dataset.roots.exclude(images=None).values_list("path", flat=True).distinct())
    gone = [place for place in places if not Path(unescape(place)).is_dir()]
    if source not in places and gone:
        raise WrongUsage(
            f"The folder {gone[0]}, which images of {dataset.slug} came from, is not there. If {source} is that "
            f"folder in its new place, say so: manage.py import_images … --moved-from {shlex.quote(gone[0])}. If it is "
            "another folder, bring the first one back, or import into another dataset."
        )


def _summary(dataset: Dataset, root: ImageRoot, plan: ImportPlan, run: Run, groups: int) -> ImportSummary:
    stored = set(root.images.values_list("path", flat=True).iterator())
    planned = {record.stored_path for record in plan.records}
    changed = run.refusals.filter(code="changed").count()
    # By time and not by counting, so that a resumed run also counts what it added before it died.
    added = root.images.filter(imported_at__gte=run.created_at).count()
    return ImportSummary(
        dataset=dataset.slug,
        run=run.pk,
        added=added,
        unchanged=len(stored & planned) - added - changed,
        refused=run.refusals.count(),
        passed_over=len(plan.passed_over),
        missing=len(stored - planned),
        near_duplicate_groups=groups,
    )


@dataclass(frozen=True)
class _Known:
    pk: int
    byte_size: int
    modified_ns: int
    sha256: str
    given_label: str
    hidden: bool


def _known_files(root: ImageRoot) -> dict[str, _Known]:
    hidden = set(Quarantine.objects.filter(image__root=root).values_list("image", flat=True))
    rows = Image.everything.filter(root=root).values_list(
        "path", "pk", "byte_size", "modified_ns", "sha256", "given_class__name"
    )
    return {row[0]: _Known(*row[1:], hidden=row[1] in hidden) for row in rows.iterator()}


def _inspect(
    record: ImageRecord, known: _Known | None, blocked: Mapping[str, Image]
) -> imports.Measured | Refusal | None:
    """The facts of a file that is new or was touched, or why it is refused; None for one that is as it was.

    A file in quarantine is not opened. One with bytes that are in quarantine (`blocked`, by sha256) is not decoded: it
    gets the facts of the image that is there, and joins it as it is added.
    """
    if known is not None and known.hidden:
        return None
    stored = record.stored_path
    try:
        found = record.path.stat()
        if not stat.S_ISREG(found.st_mode):
            return Refusal(stored, "not_a_file", "A folder, device, pipe or socket is not an image file.")
        untouched = known is not None and (known.byte_size, known.modified_ns) == (found.st_size, found.st_mtime_ns)
        if untouched and known is not None and thumbnail_path(known.sha256).exists():
            return None
        if blocked and known is None and (same := blocked.get(_sha256(record.path))) is not None:
            return _measured_before(same, found.st_mtime_ns)
        facts = inspect_image(record.path, max_pixels=settings.MAX_IMAGE_PIXELS)
        if known is not None and known.sha256 != facts.sha256:
            reason = "The file changed since it was imported; the image keeps what it was. Restore it or rename it."
            return Refusal(stored, "changed", reason)
    except ImageRefused as refused:
        return Refusal(stored, refused.code, refused.reason)
    except OSError as error:
        return Refusal(stored, "unreadable", f"The file cannot be read: {error.strerror or error}.")
    keep_thumbnail(facts)
    return measured(facts, found.st_mtime_ns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _measured_before(image: Image, modified_ns: int) -> imports.Measured:
    names = (one.name for one in fields(imports.Measured) if one.name != "modified_ns")
    return imports.Measured(**{name: getattr(image, name) for name in names}, modified_ns=modified_ns)


def measured(facts: ImageFacts, modified_ns: int) -> imports.Measured:
    """The columns of an image row, from what was read of its file."""
    return imports.Measured(
        sha256=facts.sha256,
        pixel_sha256=facts.pixel_sha256,
        byte_size=facts.byte_size,
        modified_ns=modified_ns,
        width=facts.width,
        height=facts.height,
        format=facts.format,
        mode=facts.mode,
        phash=facts.phash,
        dhash=facts.dhash,
        brightness=facts.brightness,
        contrast=facts.contrast,
        sharpness=facts.sharpness,
        entropy=facts.entropy,
    )


def keep_thumbnail(facts: ImageFacts) -> None:
    """Write the thumbnail of an image where `thumbnail_path` says, unless it is there."""
    path = thumbnail_path(facts.sha256)
    if path.exists():
        return
    # Threads may meet at the same bytes, so each writes a file of its own.
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(facts.thumbnail)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise LabelingError(
            f"The thumbnail {path} cannot be written: {error.strerror}. Make room or fix the rights; the same import "
            "then goes on."
        ) from error


def thumbnail_path(sha256: str) -> Path:
    """Where the thumbnail of these bytes lies."""
    return Path(settings.THUMBNAILS_ROOT) / sha256[:2] / f"{sha256}.jpg"


def _mapped(found: Found, spec: TaxonomySpec, named: Mapping[str, str]) -> tuple[list[ImageRecord], Counter[str]]:
    records = []
    unmapped: Counter[str] = Counter()
    for record in found.records:
        if len(record.stored_path.encode()) > MAX_STORED_BYTES:
            reason = f"The path is longer than {MAX_STORED_BYTES} bytes; move the file to a shorter one."
            found.refusals.append(Refusal(record.stored_path, "path_too_long", reason))
            continue
        label = named.get(record.label.casefold()) or spec.resolve(record.label)
        if label is None:
            unmapped[record.label] += 1
        else:
            records.append(record if label == record.label else replace(record, label=label))
    for label, count in unmapped.items():
        files = "1 file" if count == 1 else f"{count:,} files"
        found.refusals.append(Refusal(label, "unmapped_class", f"{spec.unknown(label)} {files} left aside."))
    return records, unmapped


def _nothing_in(root: Path, found: Found) -> str:
    first = (
        f" The first thing refused was {found.refusals[0].path}: {found.refusals[0].reason}" if found.refusals else ""
    )
    return f"There are no images in {root}: expected CLASS/FILE or SPLIT/CLASS/FILE, or a manifest by --labels.{first}"


def batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in order, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
