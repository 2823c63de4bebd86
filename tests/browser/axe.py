"""axe-core, brought by npm when a test first needs it and kept below var/cache; no copy of it is in the repository."""

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

from inference.models.npm import pack, read_member
from tests.starter import CHECKOUT

VERSION = "4.14.1"
INTEGRITY = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="


@dataclass(frozen=True)
class Violation:
    """A rule that the page breaks, and the elements that do."""

    rule: str
    impact: str
    help: str
    elements: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule} ({self.impact}): {self.help}: {'; '.join(self.elements[:5])}"


def source() -> str:
    """The script, checked against the hash that npm's registry promised when this version was chosen.

    Raises:
        MissingTool, FetchFailed, HashMismatch: see `inference.models.npm.pack`.
    """
    package = pack("axe-core", VERSION, INTEGRITY, cache=CHECKOUT / "var" / "cache")
    return read_member(package, "package/axe.min.js").decode()


def violations(page: Page, script: str) -> list[Violation]:
    """What axe-core finds wrong with the page as it is now, best practices included.

    The page's own Content-Security-Policy lets no foreign script in, so its context has to bypass it.
    """
    page.add_script_tag(content=script)
    found: list[dict[str, Any]] = page.evaluate(
        "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
    )
    return [
        Violation(
            one["id"],
            one["impact"] or "unknown",
            one["help"],
            tuple(f"{node['html'][:160]} [{node['failureSummary'].splitlines()[-1].strip()}]" for node in one["nodes"]),
        )
        for one in found
    ]
