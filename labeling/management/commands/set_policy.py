"""manage.py set_policy"""

from argparse import ArgumentTypeError
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.errors import NothingToDo
from labeling.management.base import WinnowCommand
from labeling.models import Dataset, ModelVersion
from labeling.pipeline.policies import (
    Action,
    Band,
    PolicyDefinition,
    apply_policy,
    default_definition,
    definition_of,
    model_for_policy,
    read_definition,
    save_policy,
)
from labeling.queries.policies import newest_policy


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"expected a number from 0 to 1, received {text!r}")
    return share


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _rule(text: str) -> tuple[str, float, str]:
    label, _, rest = text.rpartition(":")
    label, _, at = label.rpartition(":")
    if not label:
        raise ArgumentTypeError(f"expected CLASS:THRESHOLD:ACTION such as porn:0.85:blur, received {text!r}")
    return label, _share(at), rest


class Command(WinnowCommand):
    help = (
        "Save the next version of a dataset's policy and put it in force: every scored image gets its band, and what "
        "became unknown is queued. What is not named stays as it is; a first policy begins with harmful classes "
        "against the others."
    )

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument(
            "--safe", type=_names, metavar="NAMES", help="Classes or groups of the safe side, by comma."
        )
        parser.add_argument("--adult", type=_names, metavar="NAMES", help="Classes or groups of the adult side.")
        parser.add_argument(
            "--safe-up-to", type=_share, metavar="SCORE", help="The safe band: unsafe score up to this (1 − safe side)."
        )
        parser.add_argument("--adult-from", type=_share, metavar="SCORE", help="The adult band: adult score from this.")
        parser.add_argument(
            "--rule",
            type=_rule,
            action="append",
            metavar="CLASS:AT:ACTION",
            help=f"From this probability of a class, one of {', '.join(Action)}; may be given again, the first that "
            "holds decides. Takes the place of the rules that there are.",
        )
        parser.add_argument("--no-rules", action="store_true", help="Take all rules away.")
        parser.add_argument("--model", default="", metavar="NAME", help="Decide by the newest version of this model.")
        parser.add_argument("--note", default="", help="Why; kept with the version.")
        parser.add_argument(
            "--expect",
            type=int,
            metavar="VERSION",
            help="Refuse if the newest version is another one (0: there is none).",
        )

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        model = model_for_policy(dataset, options["model"])
        newest = newest_policy(dataset)
        version = newest.version if newest else 0
        try:
            policy = save_policy(
                dataset,
                self._definition(dataset, model, options),
                model,
                expected=version if options["expect"] is None else options["expect"],
                note=options["note"],
            )
        except NothingToDo:
            # A version whose run was killed, or that the web interface left to a worker, is applied by saying it again.
            if newest is None or newest.applied_at is not None:
                raise
            policy = newest
        applied = asdict(apply_policy(dataset, listener=self.progress))
        bands = {band: applied.pop(band) for band in Band}
        return applied | {"model": str(policy.model_version), "definition": policy.definition, "bands": bands}

    def _definition(self, dataset: Dataset, model: ModelVersion, options: dict[str, Any]) -> PolicyDefinition:
        newest = newest_policy(dataset)
        named = options["safe"] is not None and options["adult"] is not None
        if newest is not None and newest.model_version.taxonomy_id == model.taxonomy_id:
            before = definition_of(newest)
        elif named:
            before = PolicyDefinition(options["safe"], options["adult"], 0.2, 0.8)
        else:
            before = default_definition(model)
        rules = [(rule.label, rule.at, rule.action.value) for rule in before.rules]
        return read_definition(
            model,
            safe=before.safe if options["safe"] is None else options["safe"],
            adult=before.adult if options["adult"] is None else options["adult"],
            safe_up_to=before.safe_up_to if options["safe_up_to"] is None else options["safe_up_to"],
            adult_from=before.adult_from if options["adult_from"] is None else options["adult_from"],
            rules=[] if options["no_rules"] else options["rule"] or rules,
        )

    def say(self, summary: dict[str, Any]) -> str:
        return (
            f"{summary['dataset']}: policy {summary['policy']} is in force ({summary['model']}): "
            f"{', '.join(f'{images:,} {band}' for band, images in summary['bands'].items())}; "
            f"{summary['changed']:,} changed their band, {summary['queued']:,} queued, "
            f"{summary['withdrawn']:,} withdrawn."
        )
