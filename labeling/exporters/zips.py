"""An export as a zip that is sent while it is written, and whose length is known before its first byte.

Images are stored, not compressed, so the length follows from what the database knows: it is an upper bound to a few
bytes an image. What is left over at the end, and the room of images that turn out to be missing, is a gap of zeros
before the central directory, where no reader looks (APPNOTE 6.3.10, 4.3.6; Android's signing block lies there too).
Memory holds one image, and the directory is kept in a temporary file: `zipfile` keeps an object of over half a
kilobyte an entry.
"""

import struct
import tempfile
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO

from labeling.errors import ExportRefused
from labeling.exporters.rows import COLUMNS, ExportHead, ExportRow, Missing
from labeling.exporters.targets import Target
from labeling.exporters.writing import Format

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END_64, _LOCATOR_64 = b"PK\x06\x06", b"PK\x06\x07"
_VERSION, _UTF8 = 45, 0x800
# 1 January 1980, when time begins for zips: the same release makes the same bytes.
_DATE = 0x21
_MOST_32, _MOST_16 = 0xFFFFFFFF, 0xFFFF
_LOCAL_SIZE, _CENTRAL_SIZE, _EXTRA_SIZE = 30, 46, 28
_END_SIZE = 56 + 20 + 22
_SPOOLED = 1 << 20
_BLOCK = 1 << 16
# What class list, card, metadata and head take, beside what grows with the number of classes.
_DESCRIPTIONS, _A_CLASS = 64 << 10, 2 << 10
_TIME, _QUALITY, _DECISION, _A_MISSING = 25, 12, 12, 512


class ZipTarget(Target):
    """What is put here waits in `take` to be sent, in order."""

    def __init__(self, key: str = "") -> None:
        super().__init__(key)
        self.size = 0
        self._entries = 0
        self._waiting: deque[bytes | IO[bytes]] = deque()

    def __str__(self) -> str:
        return "the download"

    @cached_property
    def _directory(self) -> IO[bytes]:
        # Made with the first entry: a download that nobody takes leaves nothing to close.
        return tempfile.SpooledTemporaryFile(_SPOOLED)

    def close(self) -> None:
        self._directory.close()
        for one in self._waiting:
            if not isinstance(one, bytes):
                one.close()

    def take(self) -> Iterator[bytes]:
        """What was written since the last time, in blocks."""
        while self._waiting:
            one = self._waiting.popleft()
            if isinstance(one, bytes):
                yield one
                continue
            with one:
                while block := one.read(_BLOCK):
                    yield block

    def put(self, name: str, content: bytes, sha256: str) -> None:
        self._begin(name, len(content), zlib.crc32(content))
        self._send(content)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        spooled = tempfile.SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115 - closed once it is sent
        try:
            yield spooled
        except BaseException:
            spooled.close()
            raise
        size = spooled.tell()
        spooled.seek(0)
        crc = 0
        while block := spooled.read(_BLOCK):
            crc = zlib.crc32(block, crc)
        spooled.seek(0)
        self._begin(name, size, crc)
        self._waiting.append(spooled)
        self.size += size

    def end(self, promised: int) -> None:
        """Write the directory so that the whole is as long as was promised.

        Raises:
            ExportRefused: it is longer already.
        """
        length = self._directory.tell()
        gap = promised - self.size - length - _END_SIZE
        if gap < 0:
            raise ExportRefused(f"The download was announced {-gap:,} bytes too short. Please report it.")
        while gap:
            self._send(bytes(min(gap, _BLOCK)))
            gap -= min(gap, _BLOCK)
        at = self.size
        self._directory.seek(0)
        while block := self._directory.read(_BLOCK):
            self._send(block)
        end_64 = self.size
        # Always both ends: the one of 1989 cannot count beyond 65,535 entries or 4 GB.
        self._send(
            _END_64
            + struct.pack("<QHHIIQQQQ", 44, _VERSION, _VERSION, 0, 0, self._entries, self._entries, length, at)
            + _LOCATOR_64
            + struct.pack("<IQI", 0, end_64, 1)
            + _END
            + struct.pack(
                "<HHHHIIH",
                0,
                0,
                min(self._entries, _MOST_16),
                min(self._entries, _MOST_16),
                min(length, _MOST_32),
                min(at, _MOST_32),
                0,
            )
        )

    def folder(self, name: str) -> None:
        self._begin(f"{name}/", 0, 0)

    def finished(self) -> list[Missing] | None:
        return None

    def begin(self) -> None:
        """There is nothing yet."""

    def commit(self) -> None:
        """What is sent is sent; `end` is still to come."""

    def whole(self, name: str, sha256: str) -> bool:
        """Nothing is there before it is put, and what is sent cannot be read back; entries carry a CRC."""
        return name in self.checksums

    def remove(self, name: str) -> None:
        """Nothing is left of a download that died."""

    def read_head(self) -> bytes:
        raise FileNotFoundError

    def read(self, name: str) -> bytes:
        raise FileNotFoundError(name)

    def read_in_place(self, name: str) -> AbstractContextManager[IO[bytes]]:
        raise FileNotFoundError(name)

    def in_place(self, name: str) -> bool:
        return False

    def _begin(self, name: str, size: int, crc: int) -> None:
        encoded, at = name.encode(), self.size
        # Sizes of 4 GB and more stand in an extra field; so does the place of what comes after 4 GB.
        large = struct.pack("<QQ", size, size) if size >= _MOST_32 else b""
        far = struct.pack("<Q", at) if at >= _MOST_32 else b""
        shown = _MOST_32 if large else size
        common = struct.pack("<HHHHHIIIH", _VERSION, _UTF8, 0, 0, _DATE, crc, shown, shown, len(encoded))
        extra = struct.pack("<HH", 1, len(large)) + large if large else b""
        self._send(_LOCAL + common + struct.pack("<H", len(extra)) + encoded + extra)
        extra = struct.pack("<HH", 1, len(large + far)) + large + far if large or far else b""
        mode = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
        tail = struct.pack("<HHHHII", len(extra), 0, 0, 0, mode, _MOST_32 if far else at)
        self._directory.write(_CENTRAL + struct.pack("<H", 3 << 8 | _VERSION) + common + tail + encoded + extra)
        self._entries += 1

    def _send(self, content: bytes) -> None:
        self._waiting.append(content)
        self.size += len(content)


@dataclass(frozen=True)
class Weight:
    """What the database knows of the images to send.

    Attributes:
        images: how many.
        image_bytes: of their files.
        path_bytes: of their original paths, in UTF-8.
        path_marks: how many of those characters a manifest writes as two.
        longest_name: the longest user name of those who decided, in bytes of UTF-8.
        model_bytes: of the name of what label qualities come from.
        withheld: how many are in quarantine; they count nowhere else here.
    """

    images: int
    image_bytes: int
    path_bytes: int
    path_marks: int
    longest_name: int
    model_bytes: int
    withheld: int


def zip_size(head: ExportHead, weight: Weight, *, with_images: bool) -> int:
    """The length of the zip of class folders, an imagefolder or a manifest: an upper bound that `end` fills up.

    An image that turns out to be missing gives its own room to the sentence that says so.
    """
    longest = max(len(name.encode()) for name in (*head.classes, *head.label_map))
    place = len("validation//") + longest + 64 + len(".jpeg")
    entry = _LOCAL_SIZE + _CENTRAL_SIZE + 2 * _EXTRA_SIZE + 2 * place
    # Names, hash, split, three labels and quotes, once in the manifest and once more in an imagefolder's metadata.
    names = sum(map(len, COLUMNS)) + 8 * len(COLUMNS)
    facts = 64 + len("validation") + 3 * longest + _DECISION + weight.longest_name + _TIME + _QUALITY
    line = names + place + facts + weight.model_bytes
    return (
        (weight.image_bytes if with_images else 0)
        + weight.images * (2 * line + (entry if with_images else 0))
        + weight.withheld * _A_MISSING
        + 2 * (weight.path_bytes + weight.path_marks)
        + len(head.splits) * len(head.classes) * (entry + _A_CLASS)
        + len(head.note.encode()) * 4
        + _DESCRIPTIONS
        + _END_SIZE
    )


def zipped(export_format: Format, steps: Generator[ExportRow, None, list[Missing]], promised: int) -> Iterator[bytes]:
    """The bytes of a zip, `promised` of them; `steps` is what `write_export` does into the format's target.

    Raises:
        ExportRefused: as `write_export` does. What was sent is then shorter than promised, which a browser notices.
    """
    target = export_format.target
    assert isinstance(target, ZipTarget)  # noqa: S101
    with closing(target), closing(steps):
        for _ in steps:
            yield from target.take()
        yield from target.take()
        target.end(promised)
        yield from target.take()
