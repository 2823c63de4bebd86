"""manage.py set_golden"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.actions.golden import GoldenSet, set_golden
from labeling.errors import WrongUsage
from labeling.importers.golden import read_golden
from labeling.management.base import WinnowCommand

_LISTED = 10


class Command(WinnowCommand):
    help = "Mark images whose label is known as golden; mixed in unseen, they measure reviewers and change no label."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("file", type=Path, help="A CSV with the columns path and label (a class, or exclude).")

    def carry_out(self, options: dict[str, Any]) -> GoldenSet:
        dataset = find_dataset(options["dataset"])
        try:
            with options["file"].open(encoding="utf-8-sig", newline="") as lines:
                labels = read_golden(lines)
        except (OSError, UnicodeDecodeError) as error:
            raise WrongUsage(f"Expected a CSV in UTF-8 at {options['file']}: {error}.") from error
        return set_golden(dataset=dataset, labels=labels, person=None)

    def say(self, summary: GoldenSet) -> str:
        lines = [f"{summary.dataset}: {summary.golden:,} golden images set, {summary.refused:,} rows refused."]
        lines += [f"  {path}: {reason}" for path, reason in summary.refusals[:_LISTED]]
        if summary.refused > _LISTED:
            lines.append(f"  … and {summary.refused - _LISTED:,} more")
        return "\n".join(lines)
