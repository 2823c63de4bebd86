"""manage.py rerank"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.management.commands.find_issues import said_of
from labeling.pipeline.finding import IssuesSummary, rerank


class Command(WinnowCommand):
    help = "Rank the open images of a dataset again with the labels as they are now, in seconds."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")

    def carry_out(self, options: dict[str, Any]) -> IssuesSummary:
        return rerank(find_dataset(options["dataset"]), listener=self.progress)

    def say(self, summary: IssuesSummary) -> str:
        return said_of(summary)
