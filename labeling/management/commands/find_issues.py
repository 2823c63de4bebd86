"""manage.py find_issues"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.pipeline.finding import IssuesSummary, find_issues


class Command(WinnowCommand):
    help = "Rank a dataset's images by how likely their label is wrong, and fill the review queue."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--model", help="The model whose embeddings are used; the starter model when left out.")

    def carry_out(self, options: dict[str, Any]) -> IssuesSummary:
        return find_issues(find_dataset(options["dataset"]), model=options["model"], listener=self.progress)

    def say(self, summary: IssuesSummary) -> str:
        lines = [
            (
                f"{summary.dataset}: {summary.ranked:,} images ranked out of sample in {summary.folds} folds, "
                f"{summary.suspected:,} of them suspected."
            )
        ]
        if summary.unscored:
            lines.append(f"  {summary.unscored:,} images are not scored and so not ranked.")
        return "\n".join([*lines, *(f"  {note}" for note in summary.notes)])
