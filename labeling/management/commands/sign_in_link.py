"""manage.py sign_in_link"""

from typing import Any

from django.core.management.base import CommandParser
from django.urls import reverse

from labeling.actions.people import make_sign_in_token
from labeling.errors import WrongUsage, nearest
from labeling.management.base import WinnowCommand
from labeling.models import Person


class Command(WinnowCommand):
    help = "Print a one-time sign-in link for a person; it is good for one sign-in within a day."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--base", default="http://127.0.0.1:8000", help="Where Winnow is reached.")

    def carry_out(self, options: dict[str, Any]) -> dict[str, str]:
        person = Person.objects.filter(username=options["name"]).first()
        if person is None:
            known = list(Person.objects.values_list("username", flat=True))
            raise WrongUsage(
                f"There is no person {options['name']!r} (there is {', '.join(known) or 'nobody yet'})."
                f"{nearest(options['name'], known)} Add one with: manage.py add_person NAME"
            )
        path = reverse("sign_in_link", kwargs={"pk": person.pk, "token": make_sign_in_token(person)})
        return {"person": person.username, "link": options["base"].rstrip("/") + path}

    def say(self, summary: dict[str, str]) -> str:
        return summary["link"]
