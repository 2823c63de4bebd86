"""manage.py score"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.errors import WrongUsage
from labeling.management.base import WinnowCommand, whole_number
from labeling.pipeline.scoring import ScoreSummary, score


class Command(WinnowCommand):
    help = "Score every image of a dataset that the model has not scored yet."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--model", help="NAME or NAME@VERSION; the dataset's current model when left out.")
        parser.add_argument("--batch-size", type=whole_number(1, 1024), default=8, help="Images a batch (default 8).")
        parser.add_argument(
            "--engine",
            choices=("local", "ray"),
            default="local",
            help="Where to score: this process (local, the default), or a Ray cluster; see docs/scoring.md.",
        )
        parser.add_argument(
            "--ray-address",
            metavar="HOST:PORT|auto",
            help="The cluster of --engine ray, of which this machine is a node; this machine alone when left out.",
        )

    def carry_out(self, options: dict[str, Any]) -> ScoreSummary:
        if options["ray_address"] and options["engine"] != "ray":
            raise WrongUsage(f"--ray-address {options['ray_address']} belongs to --engine ray: say both, or neither.")
        return score(
            find_dataset(options["dataset"]),
            model=options["model"],
            batch_size=options["batch_size"],
            engine=options["engine"],
            ray_address=options["ray_address"],
            listener=self.progress,
        )

    def say(self, summary: ScoreSummary) -> str:
        counts = f"{summary.scored:,} images scored by {summary.model}, {summary.already:,} were already"
        return f"{summary.dataset}: {counts}, {summary.refused:,} refused."
