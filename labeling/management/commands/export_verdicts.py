"""manage.py export_verdicts"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.exporters.records import LINES
from labeling.management.base import WinnowCommand
from labeling.queries.interchange import VERDICT_COLUMNS, verdict_log


class Command(WinnowCommand):
    help = "Print every verdict of a dataset: who, when, why, and whether it stands; import_verdicts reads it."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--format", choices=sorted(LINES), default="csv")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        return {
            "dataset": dataset.slug,
            "listed": self.write_lines(
                LINES[options["format"]](verdict_log(dataset), VERDICT_COLUMNS), options["format"]
            ),
        }

    def say(self, summary: dict[str, Any]) -> str:
        return ""
