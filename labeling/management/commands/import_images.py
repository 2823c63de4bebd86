"""manage.py import_images"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import dataset_for_import
from labeling.actions.imports import move_root
from labeling.errors import WrongUsage
from labeling.importers.paths import escape_root
from labeling.management.base import WinnowCommand
from labeling.models import RunRefusal
from labeling.pipeline.importing import ImportPlan, ImportSummary, import_images, plan_import
from labeling.taxonomies import load_taxonomy

_LISTED = 10


@dataclass(frozen=True)
class DryRun:
    """What an import would do."""

    dry_run: bool
    files: int
    classes: dict[str, dict[str, int]]
    unmapped: dict[str, int]
    refused: int
    passed_over: int
    refusals: list[dict[str, str]]


class Command(WinnowCommand):
    help = "Import images from class folders or a manifest. Source files are read in place and never changed."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", type=Path, help="A folder ([SPLIT/]CLASS/FILE), or a .csv or .jsonl manifest.")
        parser.add_argument("--dataset", required=True, help="The dataset's slug; made when it is new.")
        parser.add_argument("--taxonomy", required=True, help="binary, five, seven, or a .toml or .json file.")
        parser.add_argument(
            "--labels",
            type=Path,
            help="A manifest path,label[,split,source] with paths in SOURCE, or Label Studio's JSON.",
        )
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="Read the class name OLD as NEW; repeatable.",
        )
        parser.add_argument(
            "--moved-from", metavar="OLD", type=Path, help="SOURCE is the folder OLD of this dataset in its new place."
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would happen; read and write nothing.")

    def carry_out(self, options: dict[str, Any]) -> ImportSummary | DryRun:
        spec = load_taxonomy(options["taxonomy"])
        plan = plan_import(
            options["source"].expanduser(), spec, labels=options["labels"], mapping=_mapping(options["map"])
        )
        if options["dry_run"]:
            return _dry_run(plan)
        dataset = dataset_for_import(options["dataset"], spec)
        if options["moved_from"]:
            old = escape_root(options["moved_from"].expanduser().resolve())
            move_root(dataset=dataset, old=old, new=plan.source)
        return import_images(dataset, plan, listener=self.progress)

    def say(self, summary: ImportSummary | DryRun) -> str:
        return _say_dry_run(summary) if isinstance(summary, DryRun) else _say(summary)


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        old, sign, new = pair.partition("=")
        if not sign or not old.strip() or not new.strip():
            raise WrongUsage(f"--map takes OLD=NEW, but received {pair!r}.")
        mapping[old] = new
    return mapping


def _dry_run(plan: ImportPlan) -> DryRun:
    return DryRun(
        dry_run=True,
        files=len(plan.records),
        classes=plan.classes,
        unmapped=plan.unmapped,
        refused=len(plan.refusals),
        passed_over=len(plan.passed_over),
        refusals=[asdict(refusal) for refusal in plan.refusals],
    )


def _say_dry_run(summary: DryRun) -> str:
    lines = [f"Dry run: {summary.files:,} files would be read; nothing was imported."]
    for name, splits in summary.classes.items():
        counts = ", ".join(f"{count:,} {split or 'without a split'}" for split, count in sorted(splits.items()))
        lines.append(f"  {name}: {counts or 'none'}")
    lines += [f"  refused: {one['path']}: {one['reason']}" for one in summary.refusals[:_LISTED]]
    if summary.refused > _LISTED:
        lines.append(f"  … and {summary.refused - _LISTED} more; --json lists them all")
    if summary.passed_over:
        lines.append(f"  passed over on purpose (hidden or set aside): {summary.passed_over}")
    return "\n".join(lines)


def _say(summary: ImportSummary) -> str:
    parts = [
        f"{summary.added:,} added",
        f"{summary.unchanged:,} already there",
        f"{summary.refused:,} refused",
    ]
    if summary.passed_over:
        parts.append(f"{summary.passed_over:,} passed over (hidden or set aside)")
    if summary.missing:
        parts.append(f"{summary.missing:,} imported before and not there any more")
    if summary.near_duplicate_groups:
        parts.append(f"{summary.near_duplicate_groups:,} groups of near duplicates")
    lines = [f"{summary.dataset}: {', '.join(parts)}."]
    refusals = RunRefusal.objects.filter(run=summary.run)[:_LISTED]
    lines += [f"  refused: {refusal.path}: {refusal.reason}" for refusal in refusals]
    if summary.refused > _LISTED:
        lines.append(f"  … and {summary.refused - _LISTED} more, on the page /runs/{summary.run}/")
    return "\n".join(lines)
