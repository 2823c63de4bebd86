"""manage.py order_queue"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.models import QueueOrder
from labeling.pipeline.ordering import OrderSummary, reorder


class Command(WinnowCommand):
    help = "Give a dataset's review queue another order, from what its last ranking stored; nothing is scored again."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument(
            "order",
            choices=[order.value for order in QueueOrder],
            help="; ".join(f"{order.value}: {order.label}" for order in QueueOrder),
        )

    def carry_out(self, options: dict[str, Any]) -> OrderSummary:
        return reorder(find_dataset(options["dataset"]), QueueOrder(options["order"]), listener=self.progress)

    def say(self, summary: OrderSummary) -> str:
        return (
            f"{summary.dataset}: {summary.items:,} items are ordered by “{QueueOrder(summary.order).label}”; "
            f"{summary.represented:,} of them are settled with a near duplicate."
        )
