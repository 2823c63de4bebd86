"""manage.py promote"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.pipeline.model_versions import current_model
from labeling.pipeline.promoting import PromotionSummary, promote


class Command(WinnowCommand):
    help = "Make a model the one that a dataset works with: score what it has not seen, and find issues anew."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="A registered model: NAME, or NAME@VERSION.")
        parser.add_argument("dataset")
        parser.add_argument("--reason", default="", help="Why, for the history.")

    def carry_out(self, options: dict[str, Any]) -> PromotionSummary:
        dataset = find_dataset(options["dataset"])
        return promote(current_model(options["model"]), dataset, reason=options["reason"], listener=self.progress)

    def say(self, summary: PromotionSummary) -> str:
        before = f" in the place of {summary.replaced}" if summary.replaced else ""
        return (
            f"{summary.dataset} works with {summary.model} now{before}; {summary.scored:,} images were scored, "
            f"{summary.suspected:,} are suspected. Back: manage.py rollback {summary.dataset}"
        )
