"""manage.py estimate_errors"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.pipeline.auditing import Estimates, PartEstimate, Range, estimate_remaining

_ADVICE = {
    "stop": "Clean enough: surely at most {allowed:,} errors remain, which is what you allow.",
    "review": "Go on reviewing: more than the allowed {allowed:,} errors are expected to remain.",
    "audit": "Audit more: it may be clean enough, but the sample is too small to be sure; {more:,} more may settle it.",
}


class Command(WinnowCommand):
    help = "Estimate the errors that remain in a dataset, with 95 % intervals, from its audit sample."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")

    def carry_out(self, options: dict[str, Any]) -> Estimates:
        return estimate_remaining(find_dataset(options["dataset"]))

    def say(self, summary: Estimates) -> str:
        share = summary.remaining_share
        lines = [
            (
                f"{summary.dataset}: {_errors(summary.remaining)} remain among {summary.images:,} images "
                f"({100 * share.point:.2f} %, {100 * share.low:.2f} to {100 * share.high:.2f} %), 95 % interval."
            ),
            (
                f"  It rests on {summary.audited:,} blind answers, {summary.audited_wrong:,} of them wrong labels; "
                f"{summary.found:,} errors were found so far."
            ),
            *(_part("split", part) for part in summary.splits),
            *(_part("class", part) for part in summary.classes),
            *(
                f"  source {one.source} is noisier than the others: {_percent(one.rate)} wrong labels"
                for one in summary.sources
                if one.noisier
            ),
        ]
        if summary.precision:
            found = _percent(summary.precision)
            lines.append(f"  Of the queue's {summary.reviewed:,} reviews, {found} found an error.")
        lines.append(_reviews(summary))
        lines.append("  " + _ADVICE[summary.advice].format(allowed=summary.allowed, more=summary.more_audit or 0))
        if summary.waiting:
            lines.append(f"  {summary.waiting:,} audit images still wait for an answer.")
        if summary.uncovered:
            lines.append(
                f"  {summary.uncovered:,} images came after the draw and are not spoken of; "
                f"manage.py draw_audit {summary.dataset} --extend covers them."
            )
        return "\n".join(lines)


def _errors(numbers: Range) -> str:
    return f"{numbers.point:,.0f} errors ({numbers.low:,.0f} to {numbers.high:,.0f})"


def _part(kind: str, part: PartEstimate) -> str:
    return f"  {kind} {part.part or '(none yet)'}: {_errors(part.remaining)} among {part.images:,} images"


def _percent(share: Range) -> str:
    return f"{100 * share.point:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f} %)"


def _reviews(summary: Estimates) -> str:
    wanted = f"{100 * summary.recall:.0f} % of the errors"
    if summary.reviews is None:
        return f"  The audit cannot tell yet how many reviews find {wanted}."
    if not summary.reviews:
        return f"  {wanted} are found."
    return (
        f"  About {summary.reviews:,} more reviews down the queue ({summary.reviews_low:,} to "
        f"{summary.reviews_high:,}) find {wanted}."
    )
