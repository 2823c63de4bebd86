"""What people decided elsewhere, from files: CSV, JSONL, Label Studio's JSON, and the ImageNet layout of CVAT.

Each reader gives decisions by the name that the other tool has for an image; which image that is, is found later. No
Django here.
"""

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from labeling.errors import NothingToDo, WrongUsage, nearest
from labeling.importers.paths import is_storable
from labeling.importers.records import Refusal

KINDS = ("keep", "relabel", "exclude", "unsure")
"""What can be decided in a file."""

PASSED_OVER = ("undo", "ask", "reopen", "escalate")
"""What stands in a log beside decisions, and decides nothing by itself."""

_MAX_FIELD = 1 << 24
_MOST_BYTES = 1 << 30
_SYNSETS = "synsets.txt"


@dataclass(frozen=True)
class NamedDecision:
    """A decision about the image that is called `name`; `kind` is empty where only a label is given.

    Attributes:
        where: the place in the file, for people.
        name: a path, a URL, or the name of a file.
        kind: one of `KINDS`, or empty: keep where the label is the given one, relabel elsewhere.
        label: a class by name or alias; empty where the kind needs none.
    """

    where: str
    name: str
    kind: str
    label: str


@dataclass
class Decisions:
    """All decisions of a file, in its order, and what of it cannot be used."""

    named: list[NamedDecision] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, where: str, name: object, kind: object, label: object) -> None:
        """One more, or its refusal."""
        texts = [str(part or "").strip() for part in (name, kind, label)]
        if not texts[0] or not all(is_storable(text) for text in texts):
            reason = f"{where}: expected the path of an image in UTF-8, received {str(name)[:80]!r}."
            self.refusals.append(Refusal(where, "bad_row", reason))
            return
        called = texts[1].casefold()
        if called and called not in KINDS:
            hint = nearest(called, KINDS)
            reason = f"{where}: expected a verdict of {', '.join(KINDS)}, received {texts[1][:40]!r}.{hint}"
            self.refusals.append(Refusal(texts[0], "unknown_verdict", reason))
        elif called in {"", "relabel"} and not texts[2]:
            self.refusals.append(Refusal(texts[0], "bad_row", f"{where}: expected a label, received none."))
        else:
            self.named.append(NamedDecision(where, texts[0], called, texts[2]))


def read_decisions(path: Path) -> Decisions:
    """The decisions of a file; its suffix says what it is.

    .csv, .tsv: a header line with `path` and `label`, and `verdict` where it is to say more. .jsonl: the same keys.
    .json: Label Studio's export, JSON or JSON-MIN. .zip or a folder: ImageNet's layout, as CVAT writes it: class
    folders, or lists of files beside `synsets.txt`.

    Raises:
        WrongUsage: another suffix, or a file that cannot be read at all.
        NothingToDo: it holds no decision.
    """
    read = _zip if path.is_dir() else _READERS.get(path.suffix.lower())
    if read is None:
        raise WrongUsage(f"Expected a file ending in {', '.join(_READERS)}, or a folder, received {path.name}.")
    try:
        found = read(path)
    except FileNotFoundError as error:
        raise WrongUsage(f"There is no file {path}.") from error
    except OSError as error:
        raise WrongUsage(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except csv.Error as error:
        raise WrongUsage(f"{path} is not valid CSV: {error}.") from error
    if not found.named and not found.refusals:
        raise NothingToDo(f"{path} holds no decision.")
    return found


def _csv(path: Path) -> Decisions:
    csv.field_size_limit(_MAX_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", skipinitialspace=True)
        reader.fieldnames = [column.strip().casefold() for column in reader.fieldnames or []]
        if "path" not in reader.fieldnames or not {"verdict", "label"} & set(reader.fieldnames):
            raise WrongUsage(
                f"Expected the columns path, and verdict or label, received {', '.join(reader.fieldnames) or 'none'}."
            )
        return _of_rows((f"{path.name}, line {reader.line_num}", row) for row in reader)


def _jsonl(path: Path) -> Decisions:
    refused: list[Refusal] = []

    def rows() -> Iterator[tuple[str, Mapping[str, Any]]]:
        with path.open(encoding="utf-8-sig") as file:
            for line, text in enumerate(file, start=1):
                where = f"{path.name}, line {line}"
                row = _parsed(text) if text.strip() else {}
                if not isinstance(row, dict):
                    reason = f"{where}: expected a JSON object, received {text.strip()[:80]!r}."
                    refused.append(Refusal(where, "bad_row", reason))
                elif row:
                    yield where, row

    found = _of_rows(rows())
    found.refusals += refused
    return found


def _of_rows(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Decisions:
    """The rows of a table. A log of verdicts has a column `stands`: what was taken back is passed over."""
    found = Decisions()
    for where, row in rows:
        taken_back = str(row.get("stands", "1")).strip().casefold() in {"0", "false", "no"}
        if taken_back or str(row.get("verdict") or "").strip().casefold() in PASSED_OVER:
            continue
        found.add(where, row.get("path"), row.get("verdict"), row.get("label"))
    return found


def _label_studio(path: Path) -> Decisions:
    """Label Studio's JSON (a list of its items with `data` and `annotations`) or JSON-MIN (one flat object an item).

    An item's last annotation that was not cancelled counts. An image without one is passed over.
    """
    items = _parsed(path.read_text(encoding="utf-8-sig"))
    if not isinstance(items, list):
        raise WrongUsage(f"Expected Label Studio's JSON export, a list, in {path.name}.")
    found = Decisions()
    for number, item in enumerate(items, start=1):
        where = f"{path.name}, item {number}"
        if not isinstance(item, dict):
            found.refusals.append(Refusal(where, "bad_row", f"{where}: expected a JSON object."))
            continue
        facts = item["data"] if isinstance(item.get("data"), dict) else item
        name = _image_of(facts)
        choices = _choices(item)
        if len(choices) == 1:
            found.add(where, name, "", choices[0])
        elif choices:
            reason = f"{where}: expected one choice, received {', '.join(choices)[:200]}."
            found.refusals.append(Refusal(name or where, "bad_row", reason))
    return found


def _image_of(facts: Mapping[str, Any]) -> str:
    """The address of the image: the key `image`, else the first text that names a file with a suffix."""
    texts = [facts["image"]] if "image" in facts else list(facts.values())
    return next((text for text in texts if isinstance(text, str) and PurePosixPath(_plain(text)).suffix), "")


def _choices(item: Mapping[str, Any]) -> list[str]:
    annotations = item.get("annotations")
    if not isinstance(annotations, list):
        said = item.get("choice", item.get("choices"))
        said = said.get("choices") if isinstance(said, dict) else said
        return [str(one) for one in (said if isinstance(said, list) else [said]) if one]
    for annotation in reversed([one for one in annotations if isinstance(one, dict)]):
        if annotation.get("was_cancelled"):
            continue
        regions = [region for region in annotation.get("result") or () if isinstance(region, dict)]
        values = [region.get("value") for region in regions if region.get("type") == "choices"]
        chosen = [value.get("choices") for value in values if isinstance(value, dict)]
        return [str(one) for part in chosen if isinstance(part, list) for one in part]
    return []


def _zip(path: Path) -> Decisions:
    """ImageNet's layout in a zip or a folder: `CLASS/FILE`, or `LIST.txt` with lines `FILE NUMBER` and `synsets.txt`.

    Pictures are never unpacked nor opened: their names say it all. CVAT puts the class's name before each file's.
    """
    if path.is_dir():
        names = sorted(one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        return _imagenet(names, lambda name: (path / name).read_text(encoding="utf-8-sig"))
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}

            def text_of(name: str) -> str:
                if sizes[name] > _MOST_BYTES:
                    raise WrongUsage(f"The list {name[:80]} in {path.name} is larger than 1 GB unpacked.")
                return archive.read(name).decode("utf-8-sig")

            return _imagenet(sorted(sizes), text_of)
    except zipfile.BadZipFile as error:
        raise WrongUsage(f"{path.name} is not a zip that can be read: {error}.") from error


def _imagenet(names: list[str], text_of: Callable[[str], str]) -> Decisions:
    found = Decisions()
    synsets = next((name for name in names if PurePosixPath(name).name == _SYNSETS), None)
    if synsets is None:
        for name in names:
            place = PurePosixPath(name)
            if len(place.parts) > 1 and not place.name.startswith("."):
                label = place.parent.name
                found.add(name, place.name.removeprefix(f"{label}_"), "", label)
        return found
    labels = [line.strip() for line in text_of(synsets).splitlines() if line.strip()]
    for name in names:
        if name == synsets or not name.endswith(".txt"):
            continue
        for line, text in enumerate(text_of(name).splitlines(), start=1):
            image, _, number = text.strip().rpartition(" ")
            where = f"{name}, line {line}"
            if number.isdecimal() and image and int(number) < len(labels):
                found.add(where, image, "", labels[int(number)])
            elif text.strip():
                reason = f"{where}: expected FILE NUMBER with a number below {len(labels)}, received {text[:80]!r}."
                found.refusals.append(Refusal(where, "bad_row", reason))
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def names_of(name: str) -> list[str]:
    """The paths that an image may have here that is called so elsewhere, the likeliest first.

    The name itself; then of an address its path, ever shorter from the left; and of an upload to Label Studio, which
    gets eight characters and a hyphen before its name, that name without them.
    """
    plain = _plain(name)
    parts = [part for part in plain.split("/") if part not in {"", ".", ".."}]
    shorter = ["/".join(parts[start:]) for start in range(len(parts))]
    last = parts[-1] if parts else ""
    uploaded = [last[9:]] if len(last) > 9 and last[8] == "-" and last[:8].isalnum() else []
    return list(dict.fromkeys([name, *shorter, *uploaded]))


def _plain(name: str) -> str:
    """The path of an address; a name that is none stays as it is."""
    if "://" not in name and "?d=" not in name:
        return name
    parts = urlsplit(name)
    local = parse_qs(parts.query).get("d")
    return unquote(local[0] if local else f"{parts.netloc}{parts.path}")


_READERS: dict[str, Callable[[Path], Decisions]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".json": _label_studio,
    ".zip": _zip,
}
SUFFIXES = tuple(_READERS)
