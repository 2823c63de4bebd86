"""manage.py add_person"""

from argparse import BooleanOptionalAction
from typing import Any

from django.core.management.base import CommandParser

from labeling.actions.datasets import find_dataset
from labeling.actions.escalations import set_permission
from labeling.actions.people import add_person, remove_member, set_role
from labeling.errors import WrongUsage
from labeling.management.base import WinnowCommand
from labeling.models import Role


class Command(WinnowCommand):
    help = "Add a person, give them a role in a dataset, or take it away."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--dataset", help="The dataset to be a member of.")
        parser.add_argument("--role", choices=Role.values, default=Role.ANNOTATOR, help="The role in that dataset.")
        parser.add_argument("--remove", action="store_true", help="Take the membership away; verdicts stay.")
        parser.add_argument(
            "--escalations",
            action=BooleanOptionalAction,
            help="May see and decide what is in quarantine; nobody may by default, superusers neither.",
        )
        parser.add_argument("--superuser", action="store_true", help="An admin of everything (for a new person).")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["remove"] and not options["dataset"]:
            raise WrongUsage("--remove takes a membership away, so it needs --dataset SLUG.")
        dataset = find_dataset(options["dataset"]) if options["dataset"] else None
        person, created = add_person(name=options["name"], superuser=options["superuser"])
        if options["escalations"] is not None:
            set_permission(person=person, escalations=options["escalations"])
        role = None
        if dataset is not None and options["remove"]:
            remove_member(dataset=dataset, person=person)
        elif dataset is not None:
            role = set_role(dataset=dataset, person=person, role=Role(options["role"])).role
        return {
            "person": person.username,
            "created": created,
            "dataset": options["dataset"],
            "role": role,
            "escalations": person.escalations,
        }

    def say(self, summary: dict[str, Any]) -> str:
        what = f"{summary['person']} {'was added' if summary['created'] else 'was there already'}"
        if summary["dataset"]:
            membership = f"is {summary['role']} in" if summary["role"] else "is no member any more of"
            what += f" and {membership} {summary['dataset']}"
        if summary["escalations"]:
            what += ", with the escalation permission"
        return f"{what}. A sign-in link: manage.py sign_in_link {summary['person']}"
