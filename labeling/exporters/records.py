"""Rows as CSV or JSONL, line by line. No Django here."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """A header line and one line a row; nothing stands for None."""
    writer = csv.writer(_Echo(), lineterminator="\n")
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow(["" if row[column] is None else row[column] for column in columns])


def jsonl_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """One JSON object a line."""
    for row in rows:
        yield json.dumps({column: row[column] for column in columns}, ensure_ascii=False) + "\n"


LINES: dict[str, Callable[[Iterable[Mapping[str, Any]], Sequence[str]], Iterator[str]]] = {
    "csv": csv_lines,
    "jsonl": jsonl_lines,
}
