"""manage.py export_release"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.pipeline.exporting import FORMATS, ExportSummary, export_release, find_release


class Command(WinnowCommand):
    help = "Write a release to a new folder; complete or not at all, and repeatable after any end."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("version", help="For example 1.0.")
        parser.add_argument("out", type=Path, help="A folder that does not exist yet, or is empty.")
        parser.add_argument("--format", choices=sorted(FORMATS), default="folders")

    def carry_out(self, options: dict[str, Any]) -> ExportSummary:
        release = find_release(find_dataset(options["dataset"]), options["version"])
        return export_release(release, options["out"], export_format=options["format"], listener=self.progress)

    def refused(self, summary: ExportSummary) -> int:
        return len(summary.missing)

    def say(self, summary: ExportSummary) -> str:
        lines = [f"{summary.dataset} {summary.version}: {summary.written:,} images written to {summary.target}"]
        return "\n".join([*lines, *(f"  missing: {one.original_path}: {one.reason}" for one in summary.missing)])
