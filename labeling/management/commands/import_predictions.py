"""manage.py import_predictions"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.models import RunRefusal
from labeling.pipeline.foreign_predictions import PredictionsSummary, import_predictions

_LISTED = 10


class Command(WinnowCommand):
    help = "Take over what another program said about images, to be evaluated and compared like a model of one's own."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("file", type=Path, help="A .json, .jsonl or .csv of paths with probabilities by class.")
        parser.add_argument("--model", required=True, metavar="NAME", help="What to call the model.")
        parser.add_argument("--taxonomy", required=True, help="Of the answers: binary, five, seven, or a file.")
        parser.add_argument("--positive-class", help="Of two classes, what a single number is the probability of.")
        parser.add_argument("--trained-on", default="unknown", help="What it has learned from, such as 'slug 1.0'.")

    def carry_out(self, options: dict[str, Any]) -> PredictionsSummary:
        return import_predictions(
            find_dataset(options["dataset"]),
            options["file"].expanduser(),
            name=options["model"],
            taxonomy=options["taxonomy"],
            positive=options["positive_class"],
            trained_on=options["trained_on"],
            listener=self.progress,
        )

    def say(self, summary: PredictionsSummary) -> str:
        counts = f"{summary.added:,} answers added, {summary.already:,} were there already, {summary.refused:,} refused"
        refusals = RunRefusal.objects.filter(run=summary.run)[:_LISTED]
        lines = [f"{summary.dataset}: {summary.model}: {counts}."]
        return "\n".join([*lines, *(f"  refused: {one.path}: {one.reason}" for one in refusals)])
