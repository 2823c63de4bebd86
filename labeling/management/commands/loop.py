"""manage.py loop"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand, whole_number
from labeling.pipeline.cutting import parse_ratios
from labeling.pipeline.looping import LoopOptions, run_loop
from labeling.pipeline.training import RECIPES


class Command(WinnowCommand):
    help = "One round: find issues, cut a release of what was decided, train on it, evaluate, and promote when better."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--recipe", choices=sorted(RECIPES), default="quick_head", help="Default quick_head.")
        parser.add_argument("--epochs", type=whole_number(1), help="As the recipe has it when left out.")
        parser.add_argument("--weights", default="", help="Where training starts; see manage.py train.")
        parser.add_argument("--ratios", default="80/10/10", help="train/validation/test in percent (default 80/10/10).")
        parser.add_argument(
            "--leave-out-conflicts",
            action="store_true",
            help="Leave out identical files that carry different labels instead of refusing the cut.",
        )

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        asked = LoopOptions(
            recipe=options["recipe"],
            epochs=options["epochs"],
            weights=options["weights"],
            ratios=parse_ratios(options["ratios"]),
            leave_out_conflicts=options["leave_out_conflicts"],
        )
        return {"dataset": dataset.slug, **run_loop(dataset, asked, listener=self.progress)}

    def say(self, summary: dict[str, Any]) -> str:
        def share(accuracy: dict[str, dict[str, float]]) -> str:
            return ", ".join(f"{100 * one['point']:.1f} % by {level}" for level, one in accuracy.items())

        return "\n".join(
            [
                (
                    f"{summary['dataset']} {summary['release']}: {summary['reviewed']:,} images reviewed, "
                    f"{summary['corrected']:,} labels corrected, {summary['suspected']:,} suspected."
                ),
                f"  {summary['model']}: {share(summary['accuracy'])} of test right.",
                f"  {summary['current']} (current): {share(summary['accuracy_of_current']) or 'not comparable'}.",
                f"  {'Promoted' if summary['promoted'] else 'Not promoted'}. {summary['why']}",
            ]
        )
