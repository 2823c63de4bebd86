"""manage.py find_issues"""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand, class_pair
from labeling.pipeline.finding import (
    ADJUSTABLE,
    DEFAULT_METHOD,
    METHODS,
    HowToFind,
    IssuesSummary,
    find_issues,
)
from labeling.pipeline.quality_limits import NAMES, change_quality_limits


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if name not in NAMES or not number >= 0:
        raise ArgumentTypeError(f"expected NAME=NUMBER with one of {', '.join(NAMES)}, received {text!r}")
    return name, number


class Command(WinnowCommand):
    help = "Rank a dataset's images by how likely their label is wrong, and fill the review queue."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument(
            "--model",
            action="append",
            default=[],
            help="A model whose embeddings are used; several may be named. The dataset's current one when left out.",
        )
        parser.add_argument(
            "--method", choices=METHODS, default=DEFAULT_METHOD, help=f"Label quality score (default {DEFAULT_METHOD})."
        )
        parser.add_argument("--adjusted", action="store_true", help=f"Class-adjusted ({', '.join(ADJUSTABLE)}).")
        parser.add_argument(
            "--map",
            action="append",
            type=class_pair,
            default=[],
            metavar="MODEL_CLASS=CLASS",
            help="What a class of the model means in the dataset, where names, aliases and groups do not tell.",
        )
        parser.add_argument(
            "--shapes",
            choices=["auto", "always", "never"],
            default="auto",
            help="Look at the shapes in the pictures too, which know no field (auto: up to 50,000 images).",
        )
        parser.add_argument(
            "--fine-tune",
            action="store_true",
            help="Train the model's network itself once a fold: hours, and worth it where frozen embeddings are weak.",
        )
        parser.add_argument("--backbone", default="", metavar="PATH", help="The original file of a registered model.")
        parser.add_argument(
            "--quality-limit",
            action="append",
            type=_limit,
            default=[],
            metavar="NAME=NUMBER",
            help=f"Change a threshold of the image quality findings, for good: {', '.join(NAMES)}.",
        )

    def carry_out(self, options: dict[str, Any]) -> IssuesSummary:
        dataset = find_dataset(options["dataset"])
        if options["quality_limit"]:
            change_quality_limits(dataset, dict(options["quality_limit"]))
        how = HowToFind(
            models=tuple(options["model"]),
            method=options["method"],
            adjusted=options["adjusted"],
            class_map=dict(options["map"]),
            shapes=options["shapes"],
            fine_tune=options["fine_tune"],
            backbone=options["backbone"],
        )
        return find_issues(dataset, how, listener=self.progress)

    def say(self, summary: IssuesSummary) -> str:
        return said_of(summary)


def said_of(summary: IssuesSummary) -> str:
    """A ranking in words."""
    lines = [
        (
            f"{summary.dataset}: {summary.ranked:,} images ranked out of sample in {summary.folds} folds, "
            f"{summary.suspected:,} of them suspected."
        ),
        f"  Judged by {', '.join(summary.members)}; label quality by {summary.method}.",
    ]
    if summary.groups:
        lines.append(
            f"  {summary.groups:,} near-duplicate groups; {summary.represented:,} images are settled with another."
        )
    if summary.outliers or summary.poor_quality:
        lines.append(f"  {summary.outliers:,} may be off-topic, {summary.poor_quality:,} are of poor image quality.")
    lines += [
        f"  {row.given} is given for {row.true}: {100 * row.share:.1f} % ({100 * row.low:.1f} to "
        f"{100 * row.high:.1f} %) of what is labelled {row.given}, about {row.estimated:,} images."
        for row in summary.confusions
    ]
    if summary.unscored:
        lines.append(f"  {summary.unscored:,} images are not scored and so not ranked.")
    return "\n".join([*lines, *(f"  {note}" for note in summary.notes)])
