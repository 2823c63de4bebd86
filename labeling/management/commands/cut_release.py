"""manage.py cut_release"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.management.base import WinnowCommand
from labeling.pipeline.cutting import cut_release, parse_ratios


class Command(WinnowCommand):
    help = "Freeze a dataset's current labels as a release with clean splits."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--ratios", default="80/10/10", help="train/validation/test in percent (default 80/10/10).")
        parser.add_argument(
            "--leave-out-conflicts",
            action="store_true",
            help="Leave out identical files that carry different labels instead of refusing the cut.",
        )
        parser.add_argument("--note", default="", help="A word on what this release is.")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        release = cut_release(
            dataset,
            ratios=parse_ratios(options["ratios"]),
            note=options["note"],
            leave_out_conflicts=options["leave_out_conflicts"],
        )
        splits: dict[str, int] = {}
        for split in release.entries.values_list("split", flat=True).iterator():
            splits[split] = splits.get(split, 0) + 1
        return {
            "dataset": dataset.slug,
            "version": release.version,
            "content_hash": release.content_hash,
            "images": sum(splits.values()),
            "splits": splits,
            "left_out": release.left_out,
        }

    def say(self, summary: dict[str, Any]) -> str:
        splits = ", ".join(f"{count:,} {split}" for split, count in summary["splits"].items())
        lines = [
            (
                f"{summary['dataset']} {summary['version']}: {summary['images']:,} images ({splits}), "
                f"content hash {summary['content_hash'][:12]}…"
            )
        ]
        lines += [f"  left out: {count:,} {reason}" for reason, count in summary["left_out"].items()]
        return "\n".join(lines)
