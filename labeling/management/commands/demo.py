"""manage.py demo"""

from typing import Any

from labeling.management.base import WinnowCommand
from labeling.pipeline.demo import DemoSummary, make_demo


class Command(WinnowCommand):
    help = "Make the demo dataset: harmless images with known wrong labels, imported, scored and ranked."

    def carry_out(self, options: dict[str, Any]) -> DemoSummary:
        return make_demo(say=lambda step: self.stderr.write(step), listener=self.progress)

    def say(self, summary: DemoSummary) -> str:
        return (
            f"The first {summary.first} of {summary.images} ranked images hold {summary.found_first} of the "
            f"{summary.planted} planted errors; the first 8 % hold {summary.found_share:.0%}. "
            f"The truth is in {summary.truth}."
        )
