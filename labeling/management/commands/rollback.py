"""manage.py rollback"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.pipeline.finding import find_issues
from labeling.pipeline.model_versions import STARTER
from labeling.pipeline.promoting import how_again, roll_back


class Command(WinnowCommand):
    help = "Take the last promotion of a model back, and find issues anew with the model before it."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        event = roll_back(dataset)
        found = find_issues(dataset, how_again(dataset), listener=self.progress)
        return {
            "dataset": dataset.slug,
            "model": str(event.model_version or STARTER),
            "replaced": str(event.replaced),
            "suspected": found.suspected,
        }

    def say(self, summary: dict[str, Any]) -> str:
        return (
            f"{summary['dataset']} works with {summary['model']} again, not with {summary['replaced']}; "
            f"{summary['suspected']:,} images are suspected."
        )
