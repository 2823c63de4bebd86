"""FiftyOne's image classification layout: a dataset a split, with `data/` and one `labels.json`.

A label is a number of the class list that stands in the same file; an image is named by its file without the suffix.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any, ClassVar

from labeling.exporters.folders import ClassFolders
from labeling.exporters.rows import ExportRow
from labeling.exporters.writing import Outcome


class FiftyOne(ClassFolders):
    """`split/data/<sha256>.<ext>` and `split/labels.json`, written line by line."""

    name: ClassVar[str] = "fiftyone"
    title: ClassVar[str] = "FiftyOne image classification"

    def begin(self) -> None:
        self._labels: dict[str, IO[str]] = {}
        self._begun: set[str] = set()
        for split in self.head.splits:
            self.target.folder(f"{split}/data")
            self._labels[split] = self.lines_of(f"{split}/labels.json")
            self._labels[split].write(f'{{"classes": {json.dumps(self.head.classes, ensure_ascii=False)}, "labels": {{')

    def write(self, rows: Iterable[ExportRow]) -> Iterator[Outcome]:
        yield from super().write(rows)
        for file in self._labels.values():
            file.write("\n}}\n")

    def note(self, row: ExportRow, file: str) -> None:
        comma = "," if row.split in self._begun else ""
        self._begun.add(row.split)
        stem = PurePosixPath(file).stem
        self._labels[row.split].write(f"{comma}\n{json.dumps(stem)}: {self.head.index_of(row.label)}")

    def place(self, row: ExportRow) -> str:
        return f"{row.split}/data/{row.sha256}{row.extension}"

    def how_to_load(self) -> str:
        return (
            "import fiftyone\n\n"
            "images = fiftyone.Dataset.from_dir(\n"
            f'    dataset_dir="PATH/OF/THIS/FOLDER/{self.head.splits[0]}",\n'
            "    dataset_type=fiftyone.types.FiftyOneImageClassificationDataset,\n)"
        )

    def distribution(self) -> tuple[dict[str, Any], ...]:
        (files,) = super().distribution()
        return (files | {"description": "The images, by split, named by the sha256 of their bytes."},)
