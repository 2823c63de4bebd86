"""manage.py show_policy"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.errors import NothingToDo, WrongUsage
from labeling.management.base import WinnowCommand, whole_number
from labeling.queries.policies import count_bands, newest_policy


class Command(WinnowCommand):
    help = "Show a dataset's policy: its sides, thresholds and rules, and the images in each band."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument(
            "--policy", type=whole_number(1), metavar="VERSION", help="An earlier version, without its bands."
        )

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        newest = newest_policy(dataset)
        if newest is None:
            raise NothingToDo(f"{dataset.slug} has no policy yet; save one with: manage.py set_policy {dataset.slug}")
        wanted = options["policy"] or newest.version
        policy = dataset.policies.select_related("model_version", "created_by").filter(version=wanted).first()
        if policy is None:
            raise WrongUsage(f"Expected a version from 1 to {newest.version}, received {wanted}.")
        shown: dict[str, Any] = {
            "dataset": dataset.slug,
            "policy": policy.version,
            "model": str(policy.model_version),
            "definition": policy.definition,
            "note": policy.note,
            "created_by": policy.created_by.username if policy.created_by else None,
            "created_at": policy.created_at,
            "applied_at": policy.applied_at,
        }
        if policy == newest and policy.applied_at is not None:
            counts = count_bands(dataset)
            shown["bands"] = {"safe": counts.safe, "unknown": counts.unknown, "adult": counts.adult}
        return shown

    def say(self, summary: dict[str, Any]) -> str:
        definition = summary["definition"]
        rules = "".join(
            f"\n  {rule['class']} at or above {rule['at']:g}: {rule['action']}" for rule in definition["rules"]
        )
        bands = summary.get("bands")
        counted = f"\n  {', '.join(f'{images:,} {band}' for band, images in bands.items())}" if bands else ""
        return (
            f"{summary['dataset']}: policy {summary['policy']}, by {summary['model']}"
            f"{'' if summary['applied_at'] else ', not in force yet'}\n"
            f"  safe up to {definition['safe_up_to']:g}, as 1 − ({' + '.join(definition['safe'])})\n"
            f"  adult from {definition['adult_from']:g}, as {' + '.join(definition['adult'])}{rules}{counted}"
        )
