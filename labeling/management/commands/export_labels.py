"""manage.py export_labels"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.exporters.records import LINES
from labeling.management.base import WinnowCommand
from labeling.queries.interchange import LABEL_COLUMNS, current_labels


class Command(WinnowCommand):
    help = (
        "Print every image of a dataset with its current label and how it came about; import_images --labels reads it."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--format", choices=sorted(LINES), default="csv")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        return {
            "dataset": dataset.slug,
            "listed": self.write_lines(
                LINES[options["format"]](current_labels(dataset), LABEL_COLUMNS), options["format"]
            ),
        }

    def say(self, summary: dict[str, Any]) -> str:
        return ""
