"""manage.py export_release"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.exporters.formats import FORMATS
from labeling.exporters.rows import Options, Placing
from labeling.management.base import WinnowCommand
from labeling.pipeline.exporting import ExportSummary, export_release, find_release, read_label_map


class Command(WinnowCommand):
    help = "Write a release to a new place; complete or not at all, and repeatable after any end."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("version", help="For example 1.0.")
        parser.add_argument(
            "out", help="A folder that does not exist yet or is empty, or an address such as s3://bucket/sets/1.0."
        )
        parser.add_argument("--format", choices=sorted(FORMATS), default="folders")
        parser.add_argument(
            "--files",
            choices=[placing.value for placing in Placing],
            default=Placing.COPY.value,
            help="How images come into a folder: copied, or as links to their sources.",
        )
        parser.add_argument(
            "--label-map",
            metavar="TAXONOMY|FILE",
            help="Export other classes: binary, five, seven, or a .toml or .json file with classes and a map.",
        )
        parser.add_argument("--base-url", default="", help="What addresses begin with; for --format urls.")

    def carry_out(self, options: dict[str, Any]) -> ExportSummary:
        dataset = find_dataset(options["dataset"])
        reference = options["label_map"]
        return export_release(
            find_release(dataset, options["version"]),
            options["out"],
            export_format=options["format"],
            label_map=read_label_map(dataset, reference) if reference else None,
            options=Options(placing=Placing(options["files"]), base_url=options["base_url"]),
            listener=self.progress,
        )

    def refused(self, summary: ExportSummary) -> int:
        return len(summary.missing)

    def say(self, summary: ExportSummary) -> str:
        lines = [f"{summary.dataset} {summary.version}: {summary.written:,} images written to {summary.target}"]
        return "\n".join([*lines, *(f"  missing: {one.original_path}: {one.reason}" for one in summary.missing)])
