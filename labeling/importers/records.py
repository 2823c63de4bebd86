"""What importers produce."""

from dataclasses import dataclass, field
from pathlib import Path

from labeling.errors import nearest

SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class ImageRecord:
    """A file that says it is an image of a class: nothing of it has been read yet."""

    path: Path
    stored_path: str
    label: str
    split: str
    source: str


@dataclass(frozen=True)
class Refusal:
    """A file or folder that cannot be used, with a short code and a sentence for people."""

    path: str
    code: str
    reason: str


@dataclass
class Found:
    """All that a source holds: records in a fixed order, what is refused, and what is passed over on purpose."""

    records: list[ImageRecord] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    passed_over: list[Refusal] = field(default_factory=list)


def split_named(name: str) -> str | None:
    """train, validation or test for one of the names that mean it; None for any other word."""
    return SPLIT_NAMES.get(name.strip().casefold())


def unknown_split(name: str) -> str:
    return (
        f"Unknown split {name!r}: expected train, validation (val, valid) or test.{nearest(name, SPLIT_NAMES)} "
        "Rename the folder or the entry and import again."
    )
