"""manage.py diff_releases"""

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.errors import WrongUsage
from labeling.management.base import WinnowCommand
from labeling.models import Release
from labeling.pipeline.exporting import find_release
from labeling.queries.release_diff import KINDS, Change, changes, release_diff

_COLUMNS = list(Change.__dataclass_fields__)


class Command(WinnowCommand):
    help = "Say what changed between two releases, and who decided it."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("before", help="For example 1.0.")
        parser.add_argument("after", help="For example 1.1.")
        parser.add_argument(
            "--changes",
            type=Path,
            metavar="FILE",
            help="Write every changed image to a new .csv or .jsonl file: path, labels, splits, who, when and why.",
        )

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        before, after = find_release(dataset, options["before"]), find_release(dataset, options["after"])
        if options["changes"]:
            _write(options["changes"], before, after)
        diff = release_diff(before, after)
        return {
            "dataset": dataset.slug,
            "before": before.version,
            "after": after.version,
            **dict(diff.counts),
            "same": diff.same,
            "confirmed": diff.confirmed,
            "labels": [[flow.before.name, flow.after.name, flow.images] for flow in diff.flows],
            "decided_by": [[one.person, one.kind, one.images] for one in diff.deciders],
            "classes": {one.label.name: [one.before, one.after] for one in diff.balance},
            "models": [diff.model_before, diff.model_after],
        }

    def say(self, summary: dict[str, Any]) -> str:
        counts = ", ".join(f"{summary[kind]:,} {kind}" for kind in KINDS)
        lines = [
            f"{summary['dataset']} {summary['before']} → {summary['after']}: {counts}, {summary['same']:,} the same"
        ]
        lines += [f"  {images:,} from {old} to {new}" for old, new, images in summary["labels"]]
        lines += [f"  {images:,} by {person} ({kind})" for person, kind, images in summary["decided_by"]]
        if summary["confirmed"]:
            lines.append(f"  {summary['confirmed']:,} labels confirmed")
        lines += [
            f"  {name}: {old:,} → {new:,} images" for name, (old, new) in summary["classes"].items() if old != new
        ]
        if summary["models"][0] != summary["models"][1]:
            lines.append(f"  model: {summary['models'][0] or 'none'} → {summary['models'][1] or 'none'}")
        return "\n".join(lines)


def _write(path: Path, before: Release, after: Release) -> None:
    if path.suffix not in {".csv", ".jsonl"}:
        raise WrongUsage(f"Expected a file that ends in .csv or .jsonl for --changes, received {path}.")
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            add = _writer(path.suffix, file)
            for kind in KINDS:
                for change in changes(before, after, kind):
                    add(asdict(change) | {"at": change.at.isoformat(timespec="seconds") if change.at else ""})
    except OSError as error:
        raise WrongUsage(
            f"{path} cannot be written: {error.strerror}. Name a new file in a folder that is there."
        ) from error


def _writer(suffix: str, file: IO[str]) -> Callable[[dict[str, Any]], object]:
    if suffix == ".jsonl":
        return lambda facts: file.write(json.dumps(facts, ensure_ascii=False) + "\n")
    writer = csv.DictWriter(file, _COLUMNS)
    writer.writeheader()
    return writer.writerow
