"""Where an export is written: a folder, or a place in an object store. Nothing of it is seen before it is whole.

A folder is written under a hidden name beside its own and renamed at the end. An object store cannot rename, so there
`winnow.json`, written last, is what makes an export one. Either is found again after a crash by its key, and what is
whole in it is kept.
"""

import hashlib
import io
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from typing_extensions import Buffer

from labeling.errors import ExportRefused
from labeling.exporters.rows import HEAD_NAME, Missing, Placing
from labeling.exporters.sources import sha256_of

_MARK = ".winnow.partial.json"


class Target(ABC):
    """A place for one export. Names are relative, with `/` between their parts.

    Attributes:
        key: of the export that is written; see `rows.export_key`.
        checksums: sha256 of every file that was written through `open`.
        goes_on: whether `begin` found what a run that died had left.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.goes_on = False
        self.checksums: dict[str, str] = {}

    @abstractmethod
    def __str__(self) -> str: ...

    def finished(self) -> list[Missing] | None:
        """What a finished export of this key is missing; None when there is none here."""
        try:
            written = json.loads(self.read_head())
            if written["key"] != self.key:
                return None
            return [Missing(**one) for one in written["missing"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @abstractmethod
    def read_head(self) -> bytes:
        """The `winnow.json` of what is in place already."""

    @abstractmethod
    def in_place(self, name: str) -> bool:
        """Whether an export in place holds this file."""

    @abstractmethod
    def begin(self) -> None:
        """Make room, or find again what a run that died left.

        Raises:
            ExportRefused: there is something else.
        """

    @abstractmethod
    def folder(self, name: str) -> None:
        """Have an empty folder, where there is such a thing."""

    @abstractmethod
    def whole(self, name: str, sha256: str) -> bool:
        """Whether a file of what is being written is there with these bytes."""

    def kept(self, name: str, sha256: str) -> bool:
        """Whether a run that died has left this file whole."""
        return self.goes_on and self.whole(name, sha256)

    @abstractmethod
    def put(self, name: str, content: bytes, sha256: str) -> None:
        """Write a file, and read it back.

        Raises:
            ExportRefused: what is read back is not what was written.
        """

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write into, which is there, read back and with its hash noted, once the block ends well.

        Raises:
            ExportRefused: what is read back is not what was written.
        """
        with self._open(name) as file:
            hashed = _Hashed(file)
            yield cast("IO[bytes]", hashed)
        self.checksums[name] = hashed.sha256
        self._check(name, hashed.sha256)

    @abstractmethod
    def _open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file that is there once the block ends without an error."""

    def _check(self, name: str, sha256: str) -> None:
        if not self.whole(name, sha256):
            raise ExportRefused(
                f"{name} in {self} does not hold what was written to it: its sha256 differs when it is read back. "
                "The disk or the network is at fault; nothing was put in place. Run the same export again."
            )

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A small file of what is being written.

        Raises:
            OSError: it is not there.
        """

    @abstractmethod
    def read_in_place(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file of the export in place, to read."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take a file away again, if it is there."""

    @abstractmethod
    def commit(self) -> None:
        """Put it all in place."""

    def not_empty(self) -> ExportRefused:
        return ExportRefused(
            f"{self} exists and is not empty: an export replaces nothing. Name a new folder, or empty this one."
        )


class FolderTarget(Target):
    """A folder of this machine."""

    def __init__(self, path: Path, key: str) -> None:
        super().__init__(key)
        self.path = path
        self._inside: set[Path] = set()
        self.partial = path.parent / f".{path.name}.{key}.partial"

    def __str__(self) -> str:
        return str(self.path)

    def read_head(self) -> bytes:
        return (self.path / HEAD_NAME).read_bytes()

    def in_place(self, name: str) -> bool:
        return (self.path / name).exists()

    def begin(self) -> None:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise self.not_empty()
        self.goes_on = self.partial.exists()
        self.partial.mkdir(parents=True, exist_ok=True)

    def folder(self, name: str) -> None:
        self._place(name).mkdir(parents=True, exist_ok=True)

    def whole(self, name: str, sha256: str) -> bool:
        try:
            return sha256_of(self.partial / name) == sha256
        except OSError:
            return False

    def put(self, name: str, content: bytes, sha256: str) -> None:
        place = self._place(name)
        beside = place.with_name(f".{place.name}.partial")
        beside.write_bytes(content)
        beside.replace(place)
        self._check(name, sha256)

    def link(self, name: str, source: Path, placing: Placing) -> None:
        """Have a hard or a symbolic link to a source file.

        Raises:
            OSError: the source is not there.
            ExportRefused: the file system cannot link.
        """
        place = self._place(name)
        if self.goes_on:
            place.unlink(missing_ok=True)
        if placing == Placing.SYMLINK:
            place.symlink_to(source.resolve(strict=True))
            return
        try:
            os.link(source, place)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ExportRefused(
                f"{source} cannot be linked into {self}: {error.strerror}. Hard links need source and export on one "
                "file system, and the right to link; export with --files copy or --files symlink instead."
            ) from error

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        place = self._place(name)
        beside = place.with_name(f".{place.name}.partial")
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)

    def read(self, name: str) -> bytes:
        return (self.partial / name).read_bytes()

    def read_in_place(self, name: str) -> AbstractContextManager[IO[bytes]]:
        return (self.path / name).open("rb")

    def remove(self, name: str) -> None:
        place = self.partial / name
        place.unlink(missing_ok=True)
        place.with_name(f".{place.name}.partial").unlink(missing_ok=True)

    def commit(self) -> None:
        if self.path.exists():
            self.path.rmdir()
        self.partial.rename(self.path)

    def _place(self, name: str) -> Path:
        place = self.partial / name
        if place.parent not in self._inside:
            if not place.parent.resolve().is_relative_to(self.partial.resolve()):
                raise ExportRefused(f"{name!r} leads out of the export; nothing was exported.")
            self._inside.add(place.parent)
        return place


class ObjectStoreTarget(Target):
    """A prefix in any store that fsspec reaches: `s3://bucket/sets/1.0`, `gs://…`, `abfs://…`, `sftp://…`."""

    def __init__(self, url: str, key: str) -> None:
        try:
            from fsspec.core import url_to_fs

            self.files, prefix = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ExportRefused(
                f"{url} cannot be written to: {error}. Install what fsspec needs for this kind of address (s3fs for "
                "s3://, gcsfs for gs://, adlfs for abfs://) beside Winnow, or name a folder."
            ) from error
        super().__init__(key)
        self.url = url
        self.prefix = str(prefix).rstrip("/")

    def __str__(self) -> str:
        return self.url

    def read_head(self) -> bytes:
        return bytes(self.files.cat_file(self._at(HEAD_NAME)))

    def in_place(self, name: str) -> bool:
        return bool(self.files.exists(self._at(name)))

    def begin(self) -> None:
        try:
            there = self.files.ls(self.prefix, detail=False)
        except FileNotFoundError:
            there = []
        if there:
            try:
                mark = json.loads(self.files.cat_file(self._at(_MARK)))
            except (OSError, ValueError):
                mark = None
            if mark != {"key": self.key}:
                raise self.not_empty()
            self.goes_on = True
        self.files.makedirs(self.prefix, exist_ok=True)
        self.files.pipe_file(self._at(_MARK), json.dumps({"key": self.key}).encode())

    def folder(self, name: str) -> None:
        """An object store has no folders."""

    def whole(self, name: str, sha256: str) -> bool:
        try:
            digest = hashlib.sha256()
            with self.read_in_place(name) as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            return digest.hexdigest() == sha256
        except OSError:
            return False

    def put(self, name: str, content: bytes, sha256: str) -> None:
        self._make_parent(name)
        self.files.pipe_file(self._at(name), content)
        self._check(name, sha256)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        # By way of a file of ours: closing a file of the store after an error would leave half of it there for good.
        with tempfile.TemporaryDirectory(prefix="winnow-export-") as folder:
            local = Path(folder) / "whole"
            with local.open("wb") as file:
                yield file
            self._make_parent(name)
            self.files.put_file(str(local), self._at(name))

    def read(self, name: str) -> bytes:
        return bytes(self.files.cat_file(self._at(name)))

    @contextmanager
    def read_in_place(self, name: str) -> Iterator[IO[bytes]]:
        with self.files.open(self._at(name), "rb") as file:
            yield file

    def remove(self, name: str) -> None:
        if self.files.exists(self._at(name)):
            self.files.rm_file(self._at(name))

    def commit(self) -> None:
        self.remove(_MARK)

    def _at(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def _make_parent(self, name: str) -> None:
        self.files.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)


def is_address(text: str) -> bool:
    """Whether this names a place in an object store rather than a folder."""
    return "://" in text


def target_at(place: str, key: str) -> Target:
    """The target at a folder or an address.

    Raises:
        ExportRefused: nothing that is installed reaches this kind of address.
    """
    return ObjectStoreTarget(place, key) if is_address(place) else FolderTarget(Path(place), key)


class _Hashed(io.RawIOBase):
    """A file that is written to, with the hash of all that was."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._digest = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: Buffer, /) -> int:
        self._digest.update(content)
        return self._file.write(content)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def as_json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
