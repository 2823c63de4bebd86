"""Class folders: `split/class/<sha256>.<ext>`, beside `manifest.csv` and `winnow.json`.

Everything is written to a hidden folder beside the target and renamed into place at the end, so a half-written
export is never seen. The hidden folder is found again after a crash, and files that are whole are kept.
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from labeling.errors import ExportRefused
from labeling.exporters.rows import ExportHead, ExportRow, Missing

HEAD_NAME = "winnow.json"
MANIFEST_NAME = "manifest.csv"
IN_QUARANTINE = "in_quarantine"
_WITHHELD = "This image of the release is in quarantine now, so it was left out; the release itself stays as it is."
_COLUMNS = ["file", *(field.name for field in fields(ExportRow) if field.name not in {"source", "extension"})]


def export_folders(
    head: ExportHead,
    rows: Iterable[ExportRow],
    target: Path,
    *,
    advance: Callable[[], None] | None = None,
    withheld: Callable[[], Sequence[ExportRow]] = tuple,
) -> list[Missing]:
    """Copy a release into class folders; constant memory, resumable, atomic.

    Args:
        advance: called after each image.
        withheld: what must not be exported now; asked before the first image and after the last.

    Returns:
        the images that could not be written because their source file is gone or changed. The export is complete
        without them and its manifest does not name them; once they are back, export to another folder.

    Raises:
        ExportRefused: the target holds something else, or cannot be written.
    """
    left_out = withheld()
    exported = finished_export(head, target)
    if exported is not None:
        if holds_any(target, left_out):
            raise ExportRefused(
                f"{target} was exported before an image of it went into quarantine, and still holds it. Delete that "
                "folder, and export again: the image is then left out."
            )
        return exported
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportRefused(
            f"{target} exists and is not empty: an export replaces nothing. Name a new folder, or empty this one."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{head.content_hash[:12]}.partial"
    try:
        missing = _write(head, rows, partial, advance, left_out)
        if len(withheld()) > len(left_out):
            raise ExportRefused(
                "An image of this release went into quarantine while it was exported, so nothing was put in place. Run "
                "the same export again: it leaves the image out."
            )
        if target.exists():
            target.rmdir()
        partial.rename(target)
    except OSError as error:
        raise ExportRefused(
            f"Cannot write to {error.filename or partial}: {error.strerror}. What is written so far is kept in "
            f"{partial}; make room or fix the rights and run the same export again."
        ) from error
    return missing


def finished_export(head: ExportHead, target: Path) -> list[Missing] | None:
    """What a finished export of this very release in `target` is missing; None when there is no such export."""
    try:
        written = json.loads((target / HEAD_NAME).read_text(encoding="utf-8"))
        if written["content_hash"] != head.content_hash:
            return None
        return [Missing(**one) for one in written["missing"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def holds_any(target: Path, rows: Iterable[ExportRow]) -> bool:
    """Whether the files of some of these rows lie in an export."""
    return any((target / row.file).exists() for row in rows)


def _write(
    head: ExportHead,
    rows: Iterable[ExportRow],
    partial: Path,
    advance: Callable[[], None] | None,
    withheld: Sequence[ExportRow],
) -> list[Missing]:
    # Every class has a folder in every split, also when it is empty: a trainer that reads folders then sees the
    # same class list everywhere.
    for split in head.splits:
        for name in head.classes:
            (partial / split / name).mkdir(parents=True, exist_ok=True)
    missing = [
        Missing(f"(in quarantine, {number})", IN_QUARANTINE, _WITHHELD) for number in range(1, len(withheld) + 1)
    ]
    for row in withheld:
        # An export that died may have written it before it went into quarantine.
        (partial / row.file).unlink(missing_ok=True)
    manifest = partial / f".{MANIFEST_NAME}.partial"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        for row in rows:
            place = partial / row.file
            if not place.resolve().is_relative_to(partial.resolve()):
                raise ExportRefused(f"The class {row.label!r} cannot be a folder; nothing was exported.")
            refused = _copy(row, place)
            if refused is None:
                writer.writerow({name: getattr(row, name) for name in _COLUMNS})
            else:
                missing.append(refused)
            if advance:
                advance()
        file.flush()
        os.fsync(file.fileno())
    manifest.replace(partial / MANIFEST_NAME)
    content: dict[str, Any] = asdict(head) | {"missing": [asdict(one) for one in missing]}
    (partial / HEAD_NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return missing


def _copy(row: ExportRow, place: Path) -> Missing | None:
    """Copy one file, checking its bytes against the release on the way."""
    if place.exists() and _sha256(place) == row.sha256:
        return None
    beside = place.with_name(f".{place.name}.partial")
    try:
        source = row.source.open("rb")
    except OSError as error:
        reason = f"The source file cannot be read: {error.strerror}. It was not exported; the release stays valid."
        return Missing(row.original_path, "missing_source", reason)
    digest = hashlib.sha256()
    with source, beside.open("wb") as out:
        while block := source.read(1 << 20):
            digest.update(block)
            out.write(block)
    if digest.hexdigest() != row.sha256:
        beside.unlink()
        reason = "The source file changed since it was imported (its sha256 differs), so it was not exported."
        return Missing(row.original_path, "changed_source", reason)
    shutil.copystat(row.source, beside)
    beside.replace(place)
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
