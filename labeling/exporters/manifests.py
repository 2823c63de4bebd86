"""Formats without images: a manifest as CSV or JSONL, and lists of paths or addresses."""

from collections.abc import Iterable, Iterator
from typing import IO, ClassVar
from urllib.parse import quote

from labeling.errors import WrongUsage
from labeling.exporters.rows import ExportHead, ExportRow, Options
from labeling.exporters.sources import look_at
from labeling.exporters.targets import Target
from labeling.exporters.writing import Format, Outcome


class CsvManifest(Format):
    """The manifest alone. A source whose size and time are those of the import is not read."""

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "CSV manifest"

    def write(self, rows: Iterable[ExportRow]) -> Iterator[Outcome]:
        for row in rows:
            yield row, look_at(row) or ""


class JsonlManifest(CsvManifest):
    name: ClassVar[str] = "jsonl"
    title: ClassVar[str] = "JSONL manifest"
    manifest: ClassVar[str] = "manifest.jsonl"


class PathList(CsvManifest):
    """`<split>.txt`: the path of each source file, a tab, and the index of its class."""

    name: ClassVar[str] = "paths"
    title: ClassVar[str] = "Path lists"

    def begin(self) -> None:
        self._lists: dict[str, IO[str]] = {split: self.lines_of(f"{split}.txt") for split in self.head.splits}

    def note(self, row: ExportRow, file: str) -> None:
        path = str(row.source).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self._lists[row.split].write(f"{path}\t{self.head.index_of(row.label)}\n")


class UrlList(CsvManifest):
    """`<split>/urls_<class>.txt`, as nsfw_data_scraper keeps them: an address a line."""

    name: ClassVar[str] = "urls"
    title: ClassVar[str] = "URL lists"

    def __init__(self, head: ExportHead, target: Target, options: Options) -> None:
        super().__init__(head, target, options)
        if not options.base_url.startswith(("https://", "http://", "s3://", "gs://", "abfs://")):
            raise WrongUsage(
                f"A URL list needs to know where the images are served from, but received {options.base_url!r}. "
                "Name it with --base-url https://host/folder; each image's path is put behind it."
            )

    def begin(self) -> None:
        for split in self.head.splits:
            self.target.folder(split)
        self._lists: dict[tuple[str, str], IO[str]] = {
            (split, name): self.lines_of(f"{split}/urls_{name}.txt")
            for split in self.head.splits
            for name in self.head.classes
        }

    def note(self, row: ExportRow, file: str) -> None:
        address = f"{self.options.base_url.rstrip('/')}/{quote(row.original_path)}"
        self._lists[row.split, row.label].write(address + "\n")
