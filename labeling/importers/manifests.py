"""Manifests: a CSV or JSONL file of `path,label[,split,source]`, with paths below a root folder."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labeling.errors import WrongUsage
from labeling.importers.decisions import names_of, read_decisions
from labeling.importers.paths import escape, is_storable, unescape
from labeling.importers.records import Found, ImageRecord, Refusal, split_named, unknown_split

MAX_LABEL = 300
_MAX_FIELD = 1 << 24


def read_manifest(manifest: Path, root: Path) -> Found:
    """The rows of a manifest as records, in the order of their paths.

    Args:
        manifest: .csv (with a header line), .tsv, .jsonl, or .json as Label Studio exports it, whose addresses are
            looked for below `root`.
        root: the folder that relative paths start from; nothing outside it is read.

    Raises:
        WrongUsage: the file cannot be read at all, or a required column is missing.
    """
    found = Found()
    seen: dict[str, int] = {}
    resolved_root = root.resolve()
    for line, row in _rows(manifest, root, found):
        record = _record(row, f"{manifest.name}, line {line}", root, resolved_root, found)
        if record is None:
            continue
        first = seen.setdefault(record.stored_path, line)
        if first != line:
            reason = f"Listed twice, in line {first} and in line {line}; the first is used."
            found.refusals.append(Refusal(record.stored_path, "listed_twice", reason))
            continue
        found.records.append(record)
    found.records.sort(key=lambda record: record.stored_path)
    return found


def _record(row: Mapping[str, Any], where: str, root: Path, resolved_root: Path, found: Found) -> ImageRecord | None:
    given_path, label = row.get("path"), row.get("label")
    if not isinstance(given_path, str) or not given_path.strip() or not isinstance(label, str) or not label.strip():
        found.refusals.append(
            Refusal(
                where,
                "bad_row",
                f"Expected a path and a label, received path {given_path!r}, label {label!r}.",
            )
        )
        return None
    texts = [given_path, label, str(row.get("split") or ""), str(row.get("source") or "")]
    if not all(is_storable(text) for text in texts) or len(label) > MAX_LABEL:
        reason = f"Expected UTF-8 text without NUL and a label of at most {MAX_LABEL} characters."
        found.refusals.append(Refusal(where, "bad_row", reason))
        return None
    path = _located(given_path, root)
    if not path.is_relative_to(root) or not Path(os.path.realpath(path)).is_relative_to(resolved_root):
        found.refusals.append(
            Refusal(escape(Path(given_path)), "link_leaves", f"{where}: the path leads out of the folder {root}.")
        )
        return None
    stored = escape(path.relative_to(root))
    split_text = str(row.get("split") or "").strip()
    split = split_named(split_text) if split_text else ""
    if split is None:
        found.refusals.append(Refusal(stored, "unknown_split", f"{where}: {unknown_split(split_text)}"))
        return None
    source = str(row.get("source") or "").strip() or escape(Path(root.name))
    return ImageRecord(path=path, stored_path=stored, label=label.strip(), split=split, source=source[:300])


def _located(given_path: str, root: Path) -> Path:
    named = Path(given_path)
    if named.is_absolute():
        # The root was resolved; an absolute path may name it through a link.
        return Path(os.path.realpath(named.parent)) / named.name
    return Path(os.path.normpath(root / unescape(given_path)))


def _rows(manifest: Path, root: Path, found: Found) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        if manifest.suffix.lower() in {".csv", ".tsv"}:
            yield from _csv_rows(manifest)
        elif manifest.suffix.lower() in {".jsonl", ".ndjson"}:
            yield from _jsonl_rows(manifest, found)
        elif manifest.suffix.lower() == ".json":
            yield from _label_studio_rows(manifest, root, found)
        else:
            raise WrongUsage(f"The manifest {manifest} must end in .csv, .tsv, .jsonl or .json.")
    except OSError as error:
        raise WrongUsage(f"The manifest {manifest} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise WrongUsage(f"The manifest {manifest} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except csv.Error as error:
        raise WrongUsage(f"The manifest {manifest} is not valid CSV: {error}.") from error


def _label_studio_rows(manifest: Path, root: Path, found: Found) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Every image with one choice; of the paths that its address may mean, the first that is there."""
    decisions = read_decisions(manifest)
    found.refusals.extend(decisions.refusals)
    for number, one in enumerate(decisions.named, start=1):
        names = [name for name in names_of(one.name) if is_storable(name) and "://" not in name]
        there = next((name for name in names if _located(name, root).is_file()), names[0] if names else one.name)
        yield number, {"path": there, "label": one.label}


def _csv_rows(manifest: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(_MAX_FIELD)  # a long field costs its row, not the file
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if manifest.suffix.lower() == ".tsv" else ",")
        columns = [column.strip().casefold() for column in reader.fieldnames or []]
        missing = [name for name in ("path", "label") if name not in columns]
        if missing:
            raise WrongUsage(
                f"The manifest {manifest} needs the columns path and label (split and source may follow); "
                f"received {', '.join(columns) or 'an empty file'}."
            )
        reader.fieldnames = columns
        for row in reader:
            yield reader.line_num, row


def _jsonl_rows(manifest: Path, found: Found) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with manifest.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                row = error
            if isinstance(row, dict):
                yield line, row
            else:
                where = f"{manifest.name}, line {line}"
                found.refusals.append(
                    Refusal(where, "bad_row", f"Expected a JSON object, received {text.strip()[:80]!r}.")
                )
