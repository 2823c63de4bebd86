"""What exporters write."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportRow:
    """One image of a release. `source` is where its file lies; the rest goes into the manifest as it is."""

    source: Path
    sha256: str
    extension: str
    original_path: str
    split: str
    given_label: str
    label: str
    decision: str
    decided_by: str
    decided_at: str
    label_quality: float | None
    model: str

    @property
    def file(self) -> str:
        """The place in the export. The name is the content hash, so no word in a file name can mean anything."""
        return f"{self.split}/{self.label}/{self.sha256}{self.extension}"


@dataclass(frozen=True)
class ExportHead:
    """What is said once about an export; `classes` in index order."""

    dataset: str
    version: str
    content_hash: str
    taxonomy: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """An image of the release that could not be written, with the reason."""

    original_path: str
    code: str
    reason: str
