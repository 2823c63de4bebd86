"""manage.py list_issues"""

import csv
import json
import sys
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand, whole_number
from labeling.queries.ranking import RankedRow, ranking


class Command(WinnowCommand):
    help = "Print the ranked images of a dataset, worst first: path,given_label,suggested_label,label_quality,reasons."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--format", choices=["csv", "jsonl"], default="csv")
        parser.add_argument(
            "--order",
            choices=["label_quality", "queue"],
            default="label_quality",
            help="Worst label quality first (default), or as the review queue is ordered.",
        )
        parser.add_argument("--limit", type=whole_number(0), help="Only the first LIMIT images.")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        write = _WRITERS[options["format"]]
        count = 0
        for row in ranking(dataset, limit=options["limit"], as_queued=options["order"] == "queue"):
            write(row, count == 0)
            count += 1
        sys.stdout.flush()
        return {"dataset": dataset.slug, "listed": count}

    def say(self, summary: dict[str, Any]) -> str:
        return ""


def _write_csv(row: RankedRow, first: bool) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if first:
        writer.writerow(["path", "given_label", "suggested_label", "label_quality", "reasons"])
    writer.writerow(
        [row.path, row.given_label, row.suggested_label, f"{row.label_quality:.6f}", " · ".join(row.reasons)]
    )


def _write_jsonl(row: RankedRow, first: bool) -> None:
    facts = {
        "path": row.path,
        "given_label": row.given_label,
        "suggested_label": row.suggested_label,
        "label_quality": round(row.label_quality, 6),
        "reasons": list(row.reasons),
    }
    sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")


_WRITERS = {"csv": _write_csv, "jsonl": _write_jsonl}
