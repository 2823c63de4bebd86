"""manage.py import_verdicts"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.models import RunRefusal
from labeling.pipeline.interchange import VerdictsSummary, find_reviewer, import_verdicts

_LISTED = 10


class Command(WinnowCommand):
    help = "Record what was decided elsewhere as verdicts of a person; the same file again changes nothing."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument(
            "file",
            type=Path,
            help="path,verdict,label as .csv, .tsv or .jsonl; Label Studio's .json; or CVAT's ImageNet .zip or folder.",
        )
        parser.add_argument("--reviewer", required=True, metavar="NAME", help="Whose verdicts they become.")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        reviewer = find_reviewer(dataset, options["reviewer"])
        return as_facts(import_verdicts(dataset, options["file"].expanduser(), reviewer, listener=self.progress))

    def refused(self, summary: dict[str, Any]) -> int:
        return int(summary["refused"])

    def say(self, summary: dict[str, Any]) -> str:
        recorded = f"{summary['recorded']:,} verdicts of {summary['reviewer']} recorded"
        counts = f"{summary['unchanged']:,} were there already, {summary['refused']:,} refused"
        lines = [f"{summary['dataset']}: {recorded}, {counts}."]
        lines += [f"  refused: {one['path']}: {one['reason']}" for one in summary["refusals"][:_LISTED]]
        if summary["refused"] > _LISTED:
            lines.append(f"  … and {summary['refused'] - _LISTED:,} more, on the page /runs/{summary['run']}/")
        return "\n".join(lines)


def as_facts(summary: VerdictsSummary) -> dict[str, Any]:
    """The summary with the rows that were refused."""
    refusals = RunRefusal.objects.filter(run=summary.run).values("path", "code", "reason")
    return {
        "dataset": summary.dataset,
        "run": summary.run,
        "file": summary.file,
        "reviewer": summary.reviewer,
        "recorded": summary.recorded,
        "unchanged": summary.unchanged,
        "refused": summary.refused,
        "refusals": list(refusals),
    }
