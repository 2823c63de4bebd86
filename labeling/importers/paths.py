"""File names as text that any database and any CSV can hold, and back.

A path is stored relative to its root with '/' between its parts. Bytes that are not UTF-8, control characters
(a newline, say) and the backslash itself are written as `\\xNN`, so that every name survives and none breaks a line.
"""

import os
import re
from pathlib import Path, PurePath

MAX_STORED_BYTES = 2000
"""A longer path does not fit PostgreSQL's index, which holds 2,704 bytes with all that goes with it."""
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def escape(relative: PurePath) -> str:
    """The stored form of a relative path."""
    return _escape_text("/".join(relative.parts))


def escape_root(root: Path) -> str:
    """The stored form of an absolute path."""
    return _escape_text(str(root))


def is_storable(text: str) -> bool:
    """Whether a database and a file system can hold this text: no NUL, nothing that UTF-8 cannot write."""
    return "\0" not in text and not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _escape_text(text: str) -> str:
    written = []
    for character in text:
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode keeps it
            written.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F or character == "\\":
            written.append(f"\\x{code:02x}")
        elif 0x80 <= code <= 0x9F or code in {0x2028, 0x2029}:
            written.extend(f"\\x{byte:02x}" for byte in character.encode())
        else:
            written.append(character)
    return "".join(written)


def unescape(stored: str) -> PurePath:
    """The path that `escape` or `escape_root` stored."""
    if "\\" not in stored:
        return PurePath(stored)
    raw = b"".join(
        bytes([int(part, 16)]) if index % 2 else part.encode("utf-8", "surrogateescape")
        for index, part in enumerate(_ESCAPED.split(stored))
    )
    return PurePath(os.fsdecode(raw))


def absolute_path(root: str, stored: str) -> Path:
    """Where the file lies. The result is checked to be inside the root after links are followed.

    Raises:
        ValueError: the path leaves the root (a link was changed after the import).
    """
    base = Path(unescape(root))
    path = base / unescape(stored)
    if not path.resolve().is_relative_to(base.resolve()):
        raise ValueError(f"{stored} leads out of its source folder {root}.")
    return path
