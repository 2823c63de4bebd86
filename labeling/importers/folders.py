"""Class folders: `[split/]class/…/file`, read in place.

A top-level folder named like a split makes the source one with splits. Everything else at the top is a class.
Words in file names mean nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from labeling.importers.paths import escape
from labeling.importers.records import Found, ImageRecord, Refusal, split_named, unknown_split

PASSED_OVER = {"mistakes", "false_positives"}


def read_folder(root: Path) -> Found:
    """Every file below `root` as a record, in a fixed order. Nothing is opened but folders."""
    found = Found()
    top = list(_entries(root, root, found))
    with_splits = any(entry.is_dir(follow_symlinks=False) and split_named(entry.name) for entry in top)
    for entry in top:
        if not _is_folder(entry, root, found):
            continue
        folder = Path(entry.path)
        if not with_splits:
            _read_class(folder, root, entry.name, "", found)
            continue
        split = split_named(entry.name)
        if split is None:
            found.refusals.append(Refusal(_stored(folder, root), "unknown_split", unknown_split(entry.name)))
            continue
        for class_entry in _entries(folder, root, found):
            if _is_folder(class_entry, root, found):
                _read_class(Path(class_entry.path), root, class_entry.name, split, found)
    return found


def _read_class(folder: Path, root: Path, label: str, split: str, found: Found) -> None:
    # Sub-folders of a class are usually one scraper or host each; IMAGES is the scraper's own container.
    for path in _files(folder, root, found):
        inner = path.relative_to(folder).parts[:-1]
        named = [part for part in inner if part != "IMAGES"]
        source = escape(Path(named[0])) if named else escape(Path(root.name))
        found.records.append(
            ImageRecord(path=path, stored_path=_stored(path, root), label=_text(label), split=split, source=source)
        )


def _files(folder: Path, root: Path, found: Found) -> Iterator[Path]:
    for entry in _entries(folder, root, found):
        path = Path(entry.path)
        if entry.is_symlink():
            refusal = _refused_link(entry, root)
            if refusal is None:
                yield path
            else:
                found.refusals.append(refusal)
        elif entry.is_dir(follow_symlinks=False):
            yield from _files(path, root, found)
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            found.refusals.append(
                Refusal(_stored(path, root), "not_a_file", "A device, pipe or socket is not an image file.")
            )


def _entries(folder: Path, root: Path, found: Found) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        found.refusals.append(
            Refusal(_stored(folder, root), "unreadable", f"The folder cannot be read: {error.strerror}.")
        )
        return
    for entry in entries:
        if entry.name.startswith("."):
            found.passed_over.append(Refusal(_stored(Path(entry.path), root), "hidden", "Hidden, passed over."))
        elif entry.name.casefold() in PASSED_OVER and entry.is_dir(follow_symlinks=False):
            found.passed_over.append(
                Refusal(_stored(Path(entry.path), root), "set_aside", "A folder of set-aside images, passed over.")
            )
        else:
            yield entry


def _is_folder(entry: "os.DirEntry[str]", root: Path, found: Found) -> bool:
    stored = _stored(Path(entry.path), root)
    if entry.is_symlink():
        refusal = _refused_link(entry, root)
        found.refusals.append(refusal or Refusal(stored, "no_class", _NO_CLASS))
        return False
    if entry.is_dir(follow_symlinks=False):
        return True
    found.refusals.append(Refusal(stored, "no_class", _NO_CLASS))
    return False


_NO_CLASS = "This file lies in no class folder: expected CLASS/FILE or SPLIT/CLASS/FILE, or name it in a --labels file."


def _refused_link(entry: "os.DirEntry[str]", root: Path) -> Refusal | None:
    """Why a link is not followed; None for a link to a file inside the source."""
    stored = _stored(Path(entry.path), root)
    target = Path(os.path.realpath(entry.path))
    if not target.is_relative_to(root.resolve()):
        return Refusal(stored, "link_leaves", "This link leads out of the source folder, so it is not followed.")
    if target.is_dir():
        return Refusal(stored, "link_to_folder", "A link to a folder of the same source: its files are read there.")
    if not target.exists():
        return Refusal(stored, "broken_link", "This link leads to a file that is not there.")
    return None


def _stored(path: Path, root: Path) -> str:
    return escape(path.relative_to(root)) or "."


def _text(name: str) -> str:
    return escape(Path(name))
