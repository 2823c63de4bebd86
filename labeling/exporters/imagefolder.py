"""Hugging Face `imagefolder`: class folders with a `metadata.jsonl` a split, and a card that names the splits.

Split and label come from the card and the metadata, so neither the words in a path nor the order of folders decides
anything. https://huggingface.co/docs/datasets/image_dataset
"""

import json
from typing import IO, Any, ClassVar

from labeling.exporters.folders import ClassFolders
from labeling.exporters.rows import ExportRow

# Columns that are never empty: a reader takes a column of nothing in one split for one of another type.
_KEPT = ("label", "sha256", "original_path", "given_label", "decision", "decided_by")


class ImageFolder(ClassFolders):
    name: ClassVar[str] = "imagefolder"
    title: ClassVar[str] = "Hugging Face imagefolder"

    def begin(self) -> None:
        super().begin()
        self._metadata: dict[str, IO[str]] = {
            split: self.lines_of(f"{split}/metadata.jsonl") for split in self.head.splits
        }

    def note(self, row: ExportRow, file: str) -> None:
        facts = row.facts(file)
        line = {"file_name": file.removeprefix(f"{row.split}/")} | {name: facts[name] for name in _KEPT}
        self._metadata[row.split].write(json.dumps(line, ensure_ascii=False) + "\n")

    def settings(self) -> dict[str, Any]:
        names = {str(index): name for index, name in enumerate(self.head.classes)}
        kinds: dict[str, Any] = dict.fromkeys(_KEPT, "string") | {"label": {"class_label": {"names": names}}}
        config = {
            "config_name": "default",
            "data_files": [{"split": split, "path": f"{split}/**"} for split in self.head.splits],
            "features": [{"name": name, "dtype": kind} for name, kind in ({"image": "image"} | kinds).items()],
        }
        return {"configs": [config]}

    def how_to_load(self) -> str:
        return 'import datasets\n\nimages = datasets.load_dataset("PATH/OF/THIS/FOLDER")'
