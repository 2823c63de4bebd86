"""What an export says about itself: a dataset card, Croissant metadata, and the class list.

Croissant 1.1: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html (MLCommons, 2026).
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labeling.exporters.rows import COLUMNS, ExportHead

_CR, _SC = "http://mlcommons.org/croissant/", "https://schema.org/"
_ABBREVIATED = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileProperty fileObject fileSet format "
    "includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
)
# The context that the specification gives, in its appendix; readers warn of any other.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": _SC,
    **{name: f"cr:{name}" for name in _ABBREVIATED.split()},
    "conformsTo": "dct:conformsTo",
    "cr": _CR,
    "rai": f"{_CR}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": _SC,
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "description": {"@container": "@language"},
    "name": {"@container": "@language"},
}
_NUMBERS = {"label_quality": "sc:Float"}


@dataclass(frozen=True)
class Described:
    """An export as its card and its metadata need it.

    Attributes:
        title: of the format.
        counts: (split, class) → images written.
        missing: how many could not be written.
        settings: of the card, for Hugging Face's `datasets`.
        distribution: Croissant's words for what lies beside the manifest.
    """

    head: ExportHead
    title: str
    counts: Mapping[tuple[str, str], int]
    missing: int
    manifest: str
    manifest_sha256: str
    settings: Mapping[str, Any]
    how_to_load: str
    distribution: tuple[dict[str, Any], ...]


def class_labels(head: ExportHead) -> bytes:
    """The classes in index order, one a line."""
    return "".join(f"{name}\n" for name in head.classes).encode()


def dataset_card(one: Described) -> bytes:
    """README.md. Its front matter is JSON line by line, which is YAML, so that no name can break it."""
    head = one.head
    settings = {"pretty_name": f"{head.title} {head.version}", "task_categories": ["image-classification"]}
    front = "".join(
        f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in (settings | dict(one.settings)).items()
    )
    by_split = Counter[str]()
    for (split, _), number in one.counts.items():
        by_split[split] += number
    table = "\n".join(
        [
            f"| split | {' | '.join(_cell(name) for name in head.classes)} | all |",
            "|---" * (len(head.classes) + 2) + "|",
            *(
                f"| {split} | {' | '.join(str(one.counts.get((split, name), 0)) for name in head.classes)} "
                f"| {by_split[split]} |"
                for split in head.splits
            ),
        ]
    )
    mapped = "".join(f"\n- {_cell(old)} → {_cell(new)}" for old, new in head.label_map.items())
    parts = [
        f"# {_cell(head.title)} {head.version}",
        head.note,
        f"{head.images:,} images, frozen {head.created_at} by Winnow; content hash `{head.content_hash}`. {one.title}.",
        table,
        f"{one.missing:,} images of the release are not here; `winnow.json` says why." if one.missing else "",
        f"The labels were mapped at this export:\n{mapped}" if mapped else "",
        f"""Classes, in the order of their index, stand in `class_labels.txt`. Images of one near-duplicate group lie in
one split. Files are named by the sha256 of their bytes; original names, and who decided which label, stand in
`{one.manifest}`:""",
        "\n".join(f"- `{name}`: {meaning}" for name, meaning in COLUMNS.items()),
        f"## Loading\n\n```python\n{one.how_to_load.strip()}\n```",
    ]
    return (f"---\n{front}---\n\n" + "\n\n".join(part for part in parts if part) + "\n").encode()


def croissant(one: Described) -> dict[str, Any]:
    """Croissant 1.1 metadata: the manifest and what lies beside it, the classes and splits, and a record an image."""
    head = one.head
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": f"{_CR}1.1",
        "name": _identifier(f"{head.dataset}-{head.version}"),
        "description": f"{head.title}, release {head.version}: {head.images} labelled images. {head.note}".strip(),
        "version": f"{head.version}.0",
        "datePublished": head.created_at,
        "keywords": ["image classification"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "manifest",
                "name": one.manifest,
                "contentUrl": one.manifest,
                "encodingFormat": "text/csv" if one.manifest.endswith(".csv") else "application/jsonlines",
                "sha256": one.manifest_sha256,
            },
            *one.distribution,
        ],
        "recordSet": [
            _enumeration("classes", "cr:Label", [{"name": name, "index": at} for at, name in enumerate(head.classes)]),
            _enumeration("splits", "cr:Split", [{"name": name} for name in head.splits]),
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "description": "One record an image.",
                "key": {"@id": "images/sha256"},
                "field": [_field(name, meaning) for name, meaning in COLUMNS.items()],
            },
        ],
    }


def _field(name: str, meaning: str) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": meaning,
        "dataType": _NUMBERS.get(name, "sc:Text"),
        "source": {"fileObject": {"@id": "manifest"}, "extract": {"column": name}},
    }
    if name == "label":
        field |= {"dataType": ["sc:Text", "cr:Label"], "references": {"field": {"@id": "classes/name"}}}
    if name == "split":
        field |= {"references": {"field": {"@id": "splits/name"}}}
    return field


def _enumeration(name: str, kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    types = {str: "sc:Text", int: "sc:Integer"}
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind if kind == "cr:Split" else "sc:Enumeration",
        "key": {"@id": f"{name}/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": f"{column} of one of the {name}",
                "dataType": types[type(value)],
            }
            for column, value in (rows[0] if rows else {"name": ""}).items()
        ],
        "data": [{f"{name}/{column}": value for column, value in row.items()} for row in rows],
    }


def _identifier(text: str) -> str:
    return "".join(mark if mark.isalnum() or mark in "-_." else "-" for mark in text)


def _cell(text: str) -> str:
    """A name that can stand in a table of Markdown."""
    return text.replace("\\", "\\\\").replace("|", "\\|")
