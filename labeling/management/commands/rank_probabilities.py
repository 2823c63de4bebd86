"""manage.py rank_probabilities"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.management.base import WinnowCommand
from labeling.pipeline.own_probabilities import (
    ADJUSTABLE,
    DEFAULT_METHOD,
    METHODS,
    RankingSummary,
    rank_probabilities,
)


class Command(WinnowCommand):
    help = (
        "Rank labels by your own out-of-sample probabilities, worst first, into a CSV file: "
        "index,label_quality,suggested_label. label_quality is 0..1, low = the label is likely wrong; index is the row "
        "in the arrays. Each FILE is one model's opinion of the same images: given_labels (N,) whole numbers, "
        "pred_probs (N, K), and class_names (K,) if there are names. Several models are joined, weighted by how "
        "well they explain the given labels. None of them may have learned from the labels it judges."
    )
    needs_database = False
    requires_system_checks = []

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz")
        parser.add_argument("--out", required=True, type=Path, metavar="FILE.csv", help="An older one is replaced.")
        parser.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD, help="Default: %(default)s.")
        parser.add_argument(
            "--adjusted",
            action="store_true",
            help=f"Subtract each class's mean confidence first; with {' or '.join(ADJUSTABLE)}.",
        )

    def carry_out(self, options: dict[str, Any]) -> RankingSummary:
        return rank_probabilities(
            options["files"], options["out"], method=options["method"], adjusted=options["adjusted"]
        )

    def say(self, summary: RankingSummary) -> str:
        lines = [
            f"{summary.out}: {summary.images:,} labels ranked, worst first; another class beats {summary.suspected:,}."
        ]
        if len(summary.models) > 1:
            lines += [f"  {model.file}: weight {model.weight:.2f}" for model in summary.models]
        return "\n".join([*lines, *(f"  {note}" for note in summary.notes)])
