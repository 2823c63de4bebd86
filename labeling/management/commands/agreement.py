"""manage.py agreement"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand, whole_number
from labeling.pipeline.agreement import LAST, Agreement, Figure, Reliability, measure_agreement, refresh_skills


class Command(WinnowCommand):
    help = "How much people agree, how right they are on golden images, how quick, and how far suggestions steer them."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument(
            "--last",
            type=whole_number(0),
            default=LAST,
            metavar="N",
            help=f"Measure the newest N verdicts (default {LAST:,}); 0 measures all.",
        )
        parser.add_argument(
            "--refresh-skills",
            action="store_true",
            help="Estimate each person's error rates again, by which the consensus Dawid–Skene weighs verdicts.",
        )

    def carry_out(self, options: dict[str, Any]) -> Agreement:
        dataset = find_dataset(options["dataset"])
        if options["refresh_skills"]:
            refresh_skills(dataset)
        return measure_agreement(dataset, last=options["last"] or None)

    def say(self, summary: Agreement) -> str:
        lines = [
            f"{summary.dataset}: {summary.answers:,} verdicts, {summary.compared:,} images judged by several people.",
            f"  Krippendorff's alpha {_number(summary.alpha)}, Fleiss' kappa {_number(summary.fleiss_kappa)}",
            *(f"  {pair.first} and {pair.second}: Cohen's kappa {_plain(pair.kappa)} on {pair.images:,} images"
              for pair in summary.pairs[:10]),
            *map(_line, (*summary.people, *summary.classes)),
        ]  # fmt: skip
        steering = summary.steering
        if steering.hidden.observations:
            lines.append(
                f"  The suggestion is followed {_share(steering.shown)} when shown and {_share(steering.hidden)} when "
                f"hidden: {_number(steering.difference)} apart."
            )
        return "\n".join(lines)


def _line(one: Reliability) -> str:
    seconds = f", {one.seconds:.1f} s an image" if one.seconds is not None else ""
    return (
        f"  {one.name}: {one.answers:,} verdicts{seconds}, agrees with others {_share(one.agreement)}, "
        f"golden images right {_share(one.golden)}"
    )


def _share(figure: Figure) -> str:
    if figure.point is None or figure.low is None or figure.high is None:
        return "–"
    return f"{figure.point:.0%} ({figure.low:.0%}–{figure.high:.0%} of {figure.observations:,})"


def _number(figure: Figure) -> str:
    if figure.point is None:
        return "–"
    bounds = f" ({figure.low:.2f} to {figure.high:.2f})" if figure.low is not None and figure.high is not None else ""
    return f"{figure.point:.2f}{bounds}"


def _plain(kappa: float | None) -> str:
    return "–" if kappa is None else f"{kappa:.2f}"
