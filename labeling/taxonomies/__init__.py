"""Taxonomies as files: the built-in ones of this folder, and a dataset's own in TOML or JSON.

    title = "Two looks"

    [[classes]]              # in the order of a model's outputs
    name = "drawings"
    group = "safe"
    harm_rank = 0            # 0 harmless; images of a higher rank are shown blurred
    aliases = ["Drawing"]    # other names that mean this class
    guideline = "What belongs here."

A JSON file holds the same keys. Only `name` is required of a class.
"""

import hashlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labeling.errors import UnknownClass, UnknownTaxonomy, nearest

_FOLDER = Path(__file__).parent
BUILT_IN: tuple[str, ...] = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
MAX_NAME, MAX_HARM_RANK = 100, 9
_CLASS_KEYS = {"name", "group", "harm_rank", "aliases", "guideline"}


@dataclass(frozen=True)
class ClassSpec:
    """A class: its name, its group, its harm rank (0 harmless), other names for it, and what belongs there."""

    name: str
    group: str
    harm_rank: int = 0
    aliases: tuple[str, ...] = ()
    guideline: str = ""


@dataclass(frozen=True)
class TaxonomySpec:
    """An ordered class list; the order is the order of a model's outputs."""

    slug: str
    title: str
    classes: tuple[ClassSpec, ...]
    _by_name: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for known in self.classes:
            for name in (known.name, *known.aliases):
                taken = self._by_name.setdefault(name.casefold(), known.name)
                if taken != known.name:
                    raise UnknownTaxonomy(
                        f"Taxonomy {self.slug}: the name {name!r} stands for both {taken} and {known.name}; "
                        "each name and alias must belong to one class."
                    )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(known.name for known in self.classes)

    @property
    def content_hash(self) -> str:
        """sha256 of everything that the class list says, in order; a changed list is a new version."""
        content = json.dumps([asdict(known) for known in self.classes], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def resolve(self, label: str) -> str | None:
        """The class that a label or an alias names, whatever its letter case; None when there is none."""
        return self._by_name.get(label.strip().casefold())

    def require(self, label: str) -> str:
        """Like `resolve`.

        Raises:
            UnknownClass: with the classes that there are and the nearest names.
        """
        found = self.resolve(label)
        if found is None:
            raise UnknownClass(self._has_no(label))
        return found

    def unknown(self, label: str) -> str:
        """The sentence for a label of a source that this taxonomy does not know."""
        return f"{self._has_no(label)} Map it with --map {shlex.quote(f'{label}=CLASS')}."

    def _has_no(self, label: str) -> str:
        close = nearest(label, self._by_name, lambda name: self._by_name[name])
        return f"The taxonomy {self.slug} has no class {label!r} (it has {', '.join(self.names)}).{close}"


def load_taxonomy(reference: str) -> TaxonomySpec:
    """A built-in taxonomy by its slug, or one read from a .toml or .json file.

    Raises:
        UnknownTaxonomy: no such taxonomy, or the file is not a valid one (with what was expected).
    """
    path = Path(reference)
    if path.suffix.lower() in {".toml", ".json"}:
        return _read(path)
    if reference in BUILT_IN:
        return _read(_FOLDER / f"{reference}.toml")
    raise UnknownTaxonomy(
        f"There is no taxonomy {reference!r}: the built-in ones are {', '.join(BUILT_IN)}."
        f"{nearest(reference, BUILT_IN)} For your own, give the path of a .toml or .json file."
    )


def fitting_taxonomy(labels: Iterable[str]) -> TaxonomySpec:
    """The built-in taxonomy that knows every one of these labels.

    Raises:
        UnknownTaxonomy: none does; the text shows a file to start from.
    """
    found = sorted(set(labels))
    specs = [load_taxonomy(slug) for slug in BUILT_IN]
    fitting = [spec for spec in specs if found and all(spec.resolve(label) for label in found)]
    if fitting:
        return fitting[0]
    lines = "\n".join(f'[[classes]]\nname = "{label}"\n' for label in found)
    raise UnknownTaxonomy(
        f"No built-in taxonomy ({', '.join(BUILT_IN)}) has all of these classes: {', '.join(found) or 'none found'}. "
        "Put your class list into a file, in the order of your model's outputs, and name it with --taxonomy FILE.toml "
        f"(with `make run`: TAXONOMY=FILE.toml). To start from:\n\n{lines}"
    )


def _read(path: Path) -> TaxonomySpec:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownTaxonomy(f"The taxonomy file {path} cannot be read: {error}.") from error
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise UnknownTaxonomy(f"The taxonomy file {path} is not valid {path.suffix[1:].upper()}: {error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list) or not content["classes"]:
        raise UnknownTaxonomy(f"The taxonomy file {path} must hold a non-empty list “classes”.")
    slug = re.sub(r"[^a-z0-9]+", "-", str(content.get("slug") or path.stem).lower()).strip("-") or "custom"
    classes = tuple(_class(entry, path) for entry in content["classes"])
    names = [known.name for known in classes]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UnknownTaxonomy(f"The taxonomy file {path} names these classes twice: {', '.join(doubled)}.")
    return TaxonomySpec(slug=slug, title=str(content.get("title") or slug), classes=classes)


def _class(entry: Any, path: Path) -> ClassSpec:
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        raise UnknownTaxonomy(f"The taxonomy file {path}: each class needs a “name”, received {entry!r}.")
    name = entry["name"].strip()
    unknown = set(entry) - _CLASS_KEYS
    if unknown:
        raise UnknownTaxonomy(
            f"The taxonomy file {path}: class {name} has the unknown key {sorted(unknown)[0]!r} "
            f"(known: {', '.join(sorted(_CLASS_KEYS))})."
        )
    if len(name) > MAX_NAME or name in {".", ".."} or any(mark in "/\\" or not mark.isprintable() for mark in name):
        raise UnknownTaxonomy(
            f"The taxonomy file {path}: {name[:40]!r} cannot be a class, because classes become folders: expected at "
            f"most {MAX_NAME} printable characters without / and \\."
        )
    group = str(entry.get("group") or name)
    if len(group) > MAX_NAME:
        raise UnknownTaxonomy(f"The taxonomy file {path}: the group of {name} is longer than {MAX_NAME} characters.")
    rank, aliases = entry.get("harm_rank", 0), entry.get("aliases", [])
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank <= MAX_HARM_RANK:
        raise UnknownTaxonomy(
            f"The taxonomy file {path}: harm_rank of {name} must be a whole number from 0 to {MAX_HARM_RANK}, "
            f"received {rank!r}."
        )
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise UnknownTaxonomy(f"The taxonomy file {path}: aliases of {name} must be a list of names.")
    return ClassSpec(
        name=name,
        group=group,
        harm_rank=rank,
        aliases=tuple(aliases),
        guideline=str(entry.get("guideline", "")),
    )
