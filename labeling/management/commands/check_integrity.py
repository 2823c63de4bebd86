"""manage.py check_integrity"""

from typing import Any

from labeling.errors import LabelingError
from labeling.management.base import WinnowCommand
from labeling.pipeline.policies import BandDifference, band_differences
from labeling.queries.integrity import Difference, differences


class Command(WinnowCommand):
    help = "Recompute everything that is derived from verdicts, releases and policies, and report any difference."

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        found: list[Difference | BandDifference] = [*differences(), *band_differences()]
        if found:
            listed = "\n".join(f"  {one.where}: {one.expected}, but {one.received}" for one in found[:50])
            raise LabelingError(f"{len(found)} differences:\n{listed}")
        return {"differences": 0}

    def say(self, summary: dict[str, Any]) -> str:
        return "No difference: labels, states, releases and bands are what verdicts and policies make of them."
