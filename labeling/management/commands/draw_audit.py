"""manage.py draw_audit"""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.pipeline.auditing import DEFAULT_HALF_WIDTH, AuditSummary, draw_audit


def _points(text: str) -> float:
    """Percentage points as a share."""
    try:
        points = float(text)
    except ValueError:
        points = 0.0
    if not 0 < points < 100:
        raise ArgumentTypeError(f"expected percentage points between 0 and 100, such as 1, received {text!r}")
    return points / 100


class Command(WinnowCommand):
    help = "Draw a random sample of a dataset for blind review: the only honest source for how many errors remain."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument(
            "--half-width",
            type=_points,
            default=DEFAULT_HALF_WIDTH,
            metavar="POINTS",
            help="Half of the interval's width in percentage points of the images (default 1).",
        )
        parser.add_argument("--extend", action="store_true", help="Add to the sample that there is, and keep it.")

    def carry_out(self, options: dict[str, Any]) -> AuditSummary:
        return draw_audit(
            find_dataset(options["dataset"]),
            half_width=options["half_width"],
            extend=options["extend"],
            listener=self.progress,
        )

    def say(self, summary: AuditSummary) -> str:
        return (
            f"{summary.dataset}: {summary.new:,} images drawn ({summary.drawn:,} in all) of {summary.population:,}; "
            f"expect ± {100 * summary.expected_half_width:.1f} points.\n"
            f"  Judge them blind at /d/{summary.dataset}/review/?audit=1, then: manage.py estimate_errors "
            f"{summary.dataset}"
        )
