"""manage.py fetch_model"""

from typing import Any

from django.core.management.base import CommandParser

from labeling.management.base import WinnowCommand
from labeling.pipeline.model_versions import fetch_model


class Command(WinnowCommand):
    help = "Bring a public model by name, compile it for scoring, check it and register it."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="nsfwjs-mobilenet-v2 or nsfwjs-inception-v3")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        model = fetch_model(options["name"], progress=lambda step: self.stderr.write(step))
        return {
            "name": model.name,
            "version": model.version,
            "sha256": model.sha256,
            "profile": model.profile,
            "taxonomy": str(model.taxonomy),
            "drift": model.sidecar.get("drift"),
        }

    def say(self, summary: dict[str, Any]) -> str:
        return (
            f"{summary['name']} v{summary['version']} is ready (profile {summary['profile']}, taxonomy "
            f"{summary['taxonomy']}, sha256 {summary['sha256'][:12]}…)."
        )
