"""What another program said about images: every form that the classifiers in use write. No Django here.

    {"a.jpg": {"drawings": 0.1, …}, …}                        a file of paths, as nsfw-predict prints it
    {"a.jpg": [{"className": "Drawing", "probability": 0.1}, …]}   nsfwjs; also with label and score
    {"a.jpg": {"scores_dict_sub_cat": {"safe_person": "0.95", …}, …}}   numbers as text
    {"a.jpg": 0.83}                                           one number: of the positive class, which has to be named
    {"path": "a.jpg", "drawings": 0.1, …}                     one object an image: a list, or JSONL; or a CSV

The object of an image may hold its answer under `predictions`, `prediction` or `scores` as well.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labeling.errors import NothingToDo, WrongUsage
from labeling.importers.records import Refusal

SUM_TOLERANCE = 0.02
"""Answers are printed with few digits; what is further from 1 than this is no list of probabilities."""

_NAMES, _VALUES = ("className", "label", "class", "name"), ("probability", "score", "p", "confidence")
_INSIDE = ("predictions", "prediction", "scores", "score")
_BOTH_LEVELS = ("scores_dict_sub_cat", "scores_dict_cat")
_PATHS = ("path", "file", "image", "filename")


@dataclass(frozen=True)
class NamedAnswer:
    """The probabilities of every class, in the order of the taxonomy, for the image that is called `name`."""

    where: str
    name: str
    probabilities: tuple[float, ...]


@dataclass
class ReadAnswers:
    """All answers of a file, in its order, and what of it cannot be used."""

    named: list[NamedAnswer] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class AnswerClasses:
    """The classes of the answers.

    Attributes:
        names: in the order of the taxonomy.
        resolve: a name or an alias → a name, None for no class.
        positive: what a single number is the probability of; None: not said.
    """

    names: tuple[str, ...]
    resolve: Callable[[str], str | None]
    positive: str | None = None


def read_predictions(path: Path, classes: AnswerClasses) -> ReadAnswers:
    """The answers of a .json, .jsonl or .csv file in any of the forms above.

    Raises:
        WrongUsage: another suffix, a file that cannot be read, or single numbers without a positive class.
        NothingToDo: it holds no answer.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise WrongUsage(f"Expected a file ending in {', '.join(_READERS)}, received {path.name}.")
    found = ReadAnswers()
    try:
        for where, name, answer in read(path):
            try:
                if not name:
                    raise ValueError("expected the path of an image, received none")
                found.named.append(NamedAnswer(where, name, _probabilities(answer, classes)))
            except ValueError as error:
                found.refusals.append(Refusal(name or where, "bad_answer", f"{where}: {error}."))
    except FileNotFoundError as error:
        raise WrongUsage(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise WrongUsage(f"{path} cannot be read: {error}.") from error
    if not found.named and not found.refusals:
        raise NothingToDo(f"{path} holds no answer.")
    return found


_Rows = Iterator[tuple[str, str, Any]]


def _json(path: Path) -> _Rows:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(content, Mapping) and not any(key in content for key in _PATHS):
        for name, answer in content.items():
            yield f"{path.name}, {name}", name, answer
    else:
        rows = content if isinstance(content, list) else [content]
        yield from _objects((f"{path.name}, entry {number}", row) for number, row in enumerate(rows, start=1))


def _jsonl(path: Path) -> _Rows:
    with path.open(encoding="utf-8-sig") as file:
        lines = [(f"{path.name}, line {line}", json.loads(text)) for line, text in enumerate(file, 1) if text.strip()]
    yield from _objects(lines)


def _csv(path: Path) -> _Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        yield from _objects((f"{path.name}, line {reader.line_num}", row) for row in reader)


def _objects(rows: Iterable[tuple[str, Any]]) -> _Rows:
    for where, row in rows:
        if not isinstance(row, Mapping):
            yield where, "", None
            continue
        name = next((str(row[key]) for key in _PATHS if row.get(key)), "")
        inside = next((row[key] for key in _INSIDE if key in row), None)
        yield where, name, {key: value for key, value in row.items() if key not in _PATHS} if inside is None else inside


def _probabilities(answer: Any, classes: AnswerClasses) -> tuple[float, ...]:
    """The probability of every class.

    Raises:
        WrongUsage: a single number, and nobody said of what.
        ValueError: an answer that is no list of probabilities of these classes.
    """
    if isinstance(answer, Mapping):
        levels = [answer[key] for key in _BOTH_LEVELS if isinstance(answer.get(key), Mapping)]
        for scores in levels or [answer]:
            if all(classes.resolve(str(name)) for name in scores):
                return _in_order(((str(name), value) for name, value in scores.items()), classes)
        unknown = next(str(name) for name in (levels or [answer])[0] if not classes.resolve(str(name)))
        raise ValueError(f"expected the classes {', '.join(classes.names)}, received {unknown[:80]!r}")
    if isinstance(answer, list):
        return _in_order((_pair(one) for one in answer), classes)
    if classes.positive is None:
        raise WrongUsage(
            f"An answer is the single number {answer!r}: say of which class it is the probability with "
            f"--positive-class {' or '.join(classes.names)}."
        )
    number = _number(answer)
    return tuple(number if name == classes.positive else 1 - number for name in classes.names)


def _pair(entry: Any) -> tuple[str, Any]:
    if isinstance(entry, Mapping):
        name = next((entry[key] for key in _NAMES if key in entry), None)
        value = next((entry[key] for key in _VALUES if key in entry), None)
        if name is not None and value is not None:
            return str(name), value
    raise ValueError(f'expected entries such as {{"label": …, "score": …}}, received {str(entry)[:80]}')


def _in_order(pairs: Iterable[tuple[str, Any]], classes: AnswerClasses) -> tuple[float, ...]:
    scores = dict.fromkeys(classes.names, 0.0)
    for label, value in pairs:
        name = classes.resolve(label)
        if name is None:
            raise ValueError(f"expected the classes {', '.join(classes.names)}, received {label[:80]!r}")
        scores[name] += _number(value)
    total = sum(scores.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"expected probabilities that sum to 1, received a sum of {total:.3f}")
    return tuple(score / total for score in scores.values())


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise ValueError(f"expected a probability from 0 to 1, received {str(value)[:40]!r}")
    return number


_READERS: dict[str, Callable[[Path], _Rows]] = {".json": _json, ".jsonl": _jsonl, ".csv": _csv}
