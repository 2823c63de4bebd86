"""What exporters write."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

HEAD_NAME = "winnow.json"
IN_QUARANTINE = "in_quarantine"


class Placing(StrEnum):
    """How the image files of a folder export come to be there."""

    COPY = "copy"
    HARDLINK = "hardlink"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One image of a release.

    `source` is where its file lies, `byte_size` and `modified_ns` what it was at the import. `label` is the label as it
    is exported, `release_label` that of the release: they differ where a label map was given.
    """

    source: Path
    byte_size: int
    modified_ns: int
    sha256: str
    extension: str
    original_path: str
    split: str
    given_label: str
    label: str
    release_label: str
    decision: str
    decided_by: str
    decided_at: str
    label_quality: float | None
    model: str

    @property
    def file(self) -> str:
        """The place in class folders. The name is the content hash, so no word in a file name can mean anything."""
        return f"{self.split}/{self.label}/{self.sha256}{self.extension}"

    def facts(self, file: str) -> dict[str, Any]:
        """The row as a manifest has it; `file` is where the image lies in the export, empty where it does not."""
        return {
            "file": file,
            "sha256": self.sha256,
            "original_path": self.original_path,
            "split": self.split,
            "given_label": self.given_label,
            "label": self.label,
            "release_label": self.release_label,
            "decision": self.decision,
            "decided_by": self.decided_by,
            "decided_at": self.decided_at,
            "label_quality": self.label_quality,
            "model": self.model,
        }


COLUMNS: dict[str, str] = {
    "file": "where the image lies in this export",
    "sha256": "of the image's bytes",
    "original_path": "below the folder that it was imported from",
    "split": "train, validation or test",
    "given_label": "the label that it arrived with",
    "label": "the label to train on",
    "release_label": "the label in the release, before any label map",
    "decision": "the kind of verdict that decided the label; empty: nobody did",
    "decided_by": "who gave that verdict",
    "decided_at": "when",
    "label_quality": "0..1, low = likely wrong, when the release was cut",
    "model": "what the label quality comes from",
}
"""The columns of a manifest and what they mean."""


@dataclass(frozen=True)
class ExportHead:
    """What is said once about an export.

    Attributes:
        classes: in index order, after the label map if there is one.
        label_map: the release's class → the exported one; empty without a map.
        images: how many the release holds.
    """

    dataset: str
    title: str
    version: str
    content_hash: str
    taxonomy: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    images: int
    created_at: str
    note: str = ""
    label_map: Mapping[str, str] = field(default_factory=dict)

    def index_of(self, label: str) -> int:
        """The index of a class, as a model trained on this export has it."""
        return self.classes.index(label)


@dataclass(frozen=True)
class Options:
    """What can be chosen about an export.

    Attributes:
        placing: how image files come to be in a folder.
        base_url: what the addresses of a URL list begin with.
        shard_bytes: after how many bytes of images a shard ends.
    """

    placing: Placing = Placing.COPY
    base_url: str = ""
    shard_bytes: int = 256 << 20


@dataclass(frozen=True)
class Missing:
    """An image of the release that could not be written, with the reason."""

    original_path: str
    code: str
    reason: str


def export_key(head: ExportHead, export_format: str, options: Options) -> str:
    """What tells one export from another: the same key, the same files."""
    asked = [head.content_hash, export_format, list(head.classes), dict(head.label_map), asdict(options)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
