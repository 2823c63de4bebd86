"""Reading the images of a release where they lie, and refusing those that are gone or have changed."""

import hashlib
from pathlib import Path

from labeling.exporters.rows import IN_QUARANTINE, ExportRow, Missing

_BLOCK = 1 << 20


def load(row: ExportRow) -> bytes | Missing:
    """The bytes of an image, which are the bytes that the release froze; otherwise why not."""
    try:
        content = row.source.read_bytes()
    except OSError as error:
        return gone(row, error)
    return content if hashlib.sha256(content).hexdigest() == row.sha256 else changed(row)


def look_at(row: ExportRow) -> Missing | None:
    """What `load` would find, without reading a file whose size and time are those of the import."""
    try:
        found = row.source.stat()
        if (found.st_size, found.st_mtime_ns) == (row.byte_size, row.modified_ns):
            return None
        return None if sha256_of(row.source) == row.sha256 else changed(row)
    except OSError as error:
        return gone(row, error)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def gone(row: ExportRow, error: OSError) -> Missing:
    reason = f"The source file cannot be read: {error.strerror}. It was not exported; the release stays valid."
    return Missing(row.original_path, "missing_source", reason)


def changed(row: ExportRow) -> Missing:
    reason = "The source file changed since it was imported (its sha256 differs), so it was not exported."
    return Missing(row.original_path, "changed_source", reason)


def withheld(number: int) -> Missing:
    """An image in quarantine: the export says that there is one, and nothing about it."""
    reason = "This image of the release is in quarantine now, so it was left out; the release itself stays as it is."
    return Missing(f"(in quarantine, {number})", IN_QUARANTINE, reason)
