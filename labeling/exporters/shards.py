"""Many images a file: what TFRecord and WebDataset have in common.

A shard ends after so many images or bytes, by what the release says of them, so that the same rows give the same
shards. What a finished shard holds is noted beside it until the export is in place: a run that goes on keeps such a
shard, and writes one again that had missed an image.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import IO, Any, ClassVar

from labeling.exporters.rows import ExportHead, ExportRow, Missing, Options
from labeling.exporters.sources import load
from labeling.exporters.targets import Target, as_json
from labeling.exporters.writing import Format, Outcome, put

SHARD_IMAGES = 5000


class Shards(Format):
    """A subclass says what a shard is called and how images get into it."""

    suffix: ClassVar[str]
    media_type: ClassVar[str]

    def __init__(self, head: ExportHead, target: Target, options: Options) -> None:
        super().__init__(head, target, options)
        self.shards: dict[str, int] = {}
        """Shard → how many images it holds."""

    @contextmanager
    def writing(self, file: IO[bytes]) -> Iterator[Callable[[ExportRow, bytes], object]]:
        """What puts one image after another into a shard."""
        raise NotImplementedError
        yield

    def write(self, rows: Iterable[ExportRow]) -> Iterator[Outcome]:
        split, number = "", 0
        for part in self._parts(rows):
            number = number + 1 if part[0].split == split else 0
            split = part[0].split
            yield from self._one(self._name(split, number), part)

    def end(self) -> None:
        for name in self.shards:
            self.target.remove(_note_of(name))
        for split in self.head.splits:
            # Shards of a run that died, where there are fewer now.
            for number in count(sum(name.startswith(f"{split}-") for name in self.shards)):
                name = self._name(split, number)
                if not self._found(name):
                    break
                self.target.remove(name)
                self.target.remove(_note_of(name))

    def distribution(self) -> tuple[dict[str, Any], ...]:
        return tuple(
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "encodingFormat": self.media_type,
                "sha256": self.target.checksums[name],
            }
            for name in self.shards
        )

    def _parts(self, rows: Iterable[ExportRow]) -> Iterator[list[ExportRow]]:
        part: list[ExportRow] = []
        size = 0
        for row in rows:
            full = len(part) == SHARD_IMAGES or size + row.byte_size > self.options.shard_bytes
            if part and (full or row.split != part[0].split):
                yield part
                part, size = [], 0
            part.append(row)
            size += row.byte_size
        if part:
            yield part

    def _one(self, name: str, rows: list[ExportRow]) -> Iterator[Outcome]:
        wanted = hashlib.sha256("".join(f"{row.sha256} {row.label}\n" for row in rows).encode()).hexdigest()
        found = self._found(name)
        if found.get("rows") == wanted and self.target.kept(name, found["sha256"]):
            self.target.checksums[name] = found["sha256"]
            self.shards[name] = len(rows)
            yield from ((row, name) for row in rows)
            return
        self.shards[name] = 0
        # Noted beforehand too, so that a shard is never there unnoted.
        self._note(name, "", "")
        with self.target.open(name) as file, self.writing(file) as add:
            for row in rows:
                content = load(row)
                if isinstance(content, Missing):
                    yield row, content
                else:
                    add(row, content)
                    self.shards[name] += 1
                    yield row, name
        # One that misses something is written again the next time: the file may be back.
        self._note(name, wanted if self.shards[name] == len(rows) else "", self.target.checksums[name])

    def _note(self, name: str, rows: str, sha256: str) -> None:
        put(self.target, _note_of(name), as_json({"rows": rows, "sha256": sha256}))
        del self.target.checksums[_note_of(name)]

    def _found(self, name: str) -> dict[str, str]:
        try:
            return {str(key): str(value) for key, value in json.loads(self.target.read(_note_of(name))).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _name(self, split: str, number: int) -> str:
        return f"{split}-{number:05}{self.suffix}"


def _note_of(shard: str) -> str:
    return f".{shard}.json"
