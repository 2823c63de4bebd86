"""WebDataset: tar files in which the members of one image follow each other under one name.

`<sha256>.jpg` the image, `<sha256>.cls` the index of its class, `<sha256>.json` its row of the manifest.
https://github.com/webdataset/webdataset
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, ClassVar

from labeling.exporters.rows import ExportRow
from labeling.exporters.shards import Shards


class WebDataset(Shards):
    name: ClassVar[str] = "webdataset"
    title: ClassVar[str] = "WebDataset tar files"
    suffix: ClassVar[str] = ".tar"
    media_type: ClassVar[str] = "application/x-tar"

    @contextmanager
    def writing(self, file: IO[bytes]) -> Iterator[Callable[[ExportRow, bytes], object]]:
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:

            def member(name: str, content: bytes) -> None:
                # A tar of our own facts only: its bytes are the same whoever writes it, and whenever.
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))

            def add(row: ExportRow, content: bytes) -> None:
                member(f"{row.sha256}{row.extension}", content)
                member(f"{row.sha256}.cls", str(self.head.index_of(row.label)).encode())
                facts = row.facts(f"{row.sha256}{row.extension}")
                member(f"{row.sha256}.json", json.dumps(facts, ensure_ascii=False).encode())

            yield add

    def how_to_load(self) -> str:
        first = self.head.splits[0]
        of_split = [name for name in self.shards if name.startswith(f"{first}-")]
        last = f"{len(of_split) - 1:05}"
        return (
            "import webdataset\n\n"
            f'images = webdataset.WebDataset("{first}-{{00000..{last}}}.tar", shardshuffle=False).decode("pil")'
        )
