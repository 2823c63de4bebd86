"""manage.py api_token"""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from labeling.actions.datasets import find_dataset
from labeling.actions.tokens import MOST_PER_MINUTE, PER_MINUTE, make_token, revoke_token
from labeling.errors import WrongUsage
from labeling.management.base import WinnowCommand, whole_number
from labeling.models import ApiToken, Scope


class Command(WinnowCommand):
    help = "Make, list or revoke the tokens by which programs use a dataset over the HTTP API."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset")
        parser.add_argument("--name", help="What will use the token; makes one and prints it, once.")
        parser.add_argument("--scopes", default=",".join(Scope.values), help=f"Of {', '.join(Scope.values)}; all.")
        parser.add_argument("--per-minute", type=whole_number(1, MOST_PER_MINUTE), default=PER_MINUTE)
        parser.add_argument("--days", type=whole_number(1, 36500), help="Days until it expires; never when left out.")
        parser.add_argument("--revoke", metavar="ID", help="Revoke the token with this id (the list shows it).")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        dataset = find_dataset(options["dataset"])
        if options["revoke"] and options["name"]:
            raise WrongUsage("--name makes a token and --revoke takes one away: give one of them.")
        if options["revoke"]:
            token = dataset.api_tokens.filter(public_part=options["revoke"]).first()
            if token is None:
                raise WrongUsage(f"{dataset.slug} has no token {options['revoke']!r}; list them without --revoke.")
            return {"dataset": dataset.slug, "revoked": token.public_part, "changed": revoke_token(token=token)}
        if options["name"]:
            days = options["days"]
            token, text = make_token(
                dataset=dataset,
                name=options["name"],
                scopes=[scope.strip() for scope in options["scopes"].split(",") if scope.strip()],
                per_minute=options["per_minute"],
                expires_at=timezone.now() + timedelta(days=days) if days else None,
            )
            return {"dataset": dataset.slug, "id": token.public_part, "scopes": token.scopes, "token": text}
        return {"dataset": dataset.slug, "tokens": [_facts(token) for token in dataset.api_tokens.all()]}

    def say(self, summary: dict[str, Any]) -> str:
        if "token" in summary:
            return str(summary["token"])
        if "revoked" in summary:
            return f"{summary['revoked']} is refused from now on."
        lines = [
            f"{one['id']}  {one['state']:8}  {','.join(one['scopes'])}  {one['name']}" for one in summary["tokens"]
        ]
        return "\n".join(lines) or f"{summary['dataset']} has no token. Make one with --name."


def _facts(token: ApiToken) -> dict[str, Any]:
    expired = token.expires_at is not None and token.expires_at <= timezone.now()
    return {
        "id": token.public_part,
        "name": token.name,
        "state": "revoked" if token.revoked_at else "expired" if expired else "valid",
        "scopes": token.scopes,
        "per_minute": token.per_minute,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
    }
