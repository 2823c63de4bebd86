"""manage.py purge_escalations"""

from typing import Any

from labeling.management.base import WinnowCommand
from labeling.pipeline.retention import PurgeSummary, purge_escalations


class Command(WinnowCommand):
    help = "Remove Winnow's own copies of escalated images past their retention date; hashes and logs stay."

    def carry_out(self, options: dict[str, Any]) -> PurgeSummary:
        return purge_escalations()

    def say(self, summary: PurgeSummary) -> str:
        return (
            f"{summary.purged:,} cases purged, {summary.files:,} files removed; {summary.held:,} are due but under "
            f"legal hold, {summary.waiting:,} are not due. Files in source folders are never touched."
        )
