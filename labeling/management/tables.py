"""Commands that print a table of a dataset, row by row."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.exporters.records import LINES
from labeling.management.base import WinnowCommand
from labeling.models import Dataset


class TableCommand(WinnowCommand):
    """The base of such commands; a subclass gives the columns and the rows."""

    columns: ClassVar[tuple[str, ...]]

    def rows(self, dataset: Dataset) -> Iterator[Mapping[str, Any]]:
        """The rows, by the names of the columns."""
        raise NotImplementedError

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--format", choices=sorted(LINES), default="csv")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        # The first line of a CSV is no row.
        count = -1 if options["format"] == "csv" else 0
        for line in LINES[options["format"]](self.rows(dataset), self.columns):
            sys.stdout.write(line)
            count += 1
        sys.stdout.flush()
        return {"dataset": dataset.slug, "listed": count}

    def say(self, summary: dict[str, Any]) -> str:
        return ""
