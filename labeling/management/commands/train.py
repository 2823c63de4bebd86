"""manage.py train"""

from argparse import ArgumentTypeError, BooleanOptionalAction
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand, whole_number
from labeling.pipeline.exporting import find_release
from labeling.pipeline.training import ALSO, RECIPES, TrainOptions, train
from labeling.queries.training import TrainingSummary, training_summary


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 10:
        raise ArgumentTypeError(f"expected a number above 0, such as 0.001, received {text!r}")
    return number


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in ALSO]
    if unknown or not names:
        raise ArgumentTypeError(f"expected some of {','.join(ALSO)}, received {text!r}")
    return names


class Command(WinnowCommand):
    help = "Train a model on a release; a killed training goes on where it was when it is called again."

    def arguments(self, parser: CommandParser) -> None:
        number: Callable[[str], int] = whole_number(1, 1000)
        parser.add_argument("dataset")
        parser.add_argument("version", help="The release, for example 1.0.")
        parser.add_argument("--recipe", required=True, metavar="NAME", help=f"One of {', '.join(RECIPES)}.")
        parser.add_argument("--epochs", type=number, help="At most.")
        parser.add_argument("--batch-size", type=whole_number(1, 1024), help="Images a step.")
        parser.add_argument("--learning-rate", type=_above_zero, help="Of Adam.")
        parser.add_argument("--patience", type=number, help="Epochs without a better validation loss before it ends.")
        parser.add_argument(
            "--weights",
            default="",
            metavar="imagenet|none|MODEL|PATH",
            help="Where training starts: ImageNet weights (default), chance, a registered model, or a model file.",
        )
        parser.add_argument("--size", default="", help="How large the backbone is made, where the recipe offers sizes.")
        parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, help="Of everything random.")
        parser.add_argument(
            "--class-weights", action=BooleanOptionalAction, default=None, help="Let every class count alike."
        )
        parser.add_argument(
            "--also",
            type=_formats,
            default=(),
            metavar=",".join(ALSO),
            help="Further forms to keep beside the Keras file.",
        )
        parser.add_argument("--name", default="", help="What the model is called; dataset and recipe when left out.")

    def carry_out(self, options: dict[str, Any]) -> TrainingSummary:
        release = find_release(find_dataset(options["dataset"]), options["version"])
        chosen = TrainOptions.of(options)
        return training_summary(train(release, recipe=options["recipe"], options=chosen, listener=self.progress))

    def say(self, summary: TrainingSummary) -> str:
        lines = [
            (
                f"{summary.model} is ready: trained on {summary.learned_from:,} images of {summary.dataset} "
                f"{summary.version}, watched on {summary.validated_on:,}, by {summary.recipe}."
            )
        ]
        for epoch in summary.history:
            judged = (
                f", validation {epoch.validation_loss:.4f} ({epoch.validation_accuracy:.1%} right)"
                if epoch.validation_loss is not None and epoch.validation_accuracy is not None
                else ""
            )
            best = "  ← kept" if epoch.number == summary.best_epoch else ""
            lines.append(f"  epoch {epoch.number}: loss {epoch.loss:.4f} ({epoch.accuracy:.1%} right){judged}{best}")
        if summary.refused:
            lines.append(f"  {summary.refused:,} images could not be used; they are listed on the run's page.")
        if summary.in_quarantine:
            lines.append(f"  {summary.in_quarantine:,} images are in quarantine and were left out.")
        return "\n".join([*lines, *(f"  {note}" for note in summary.notes), f"  Files: {summary.folder}"])
