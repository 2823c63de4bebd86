"""Bulk actions as their pages list them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count

from labeling.models import BulkAction, BulkKind, Dataset, Quarantine

SHOWN = 20
_IMAGE = re.compile(r"\b(image|group) (\d+)\b")


@dataclass(frozen=True)
class BulkRow:
    """One act; `standing` of its `verdicts` nobody has taken back. `summary` is for the page."""

    action: BulkAction
    verdicts: int
    standing: int
    reverted: bool
    summary: str


def bulk_actions(dataset: Dataset, *kinds: BulkKind) -> list[BulkRow]:
    """The newest bulk actions of some kinds and what took them back, newest first; three SQL queries at most."""
    of_kind = BulkAction.objects.filter(dataset=dataset, kind__in=kinds).select_related("person", "reverted_by")
    found = list(of_kind.annotate(images=Count("verdicts")).order_by("-id")[:SHOWN])
    undone = dict(
        BulkAction.objects.filter(pk__in=[action.pk for action in found], verdicts__undone_by__isnull=False)
        .values_list("pk")
        .annotate(undone=Count("verdicts"))
        .order_by()
    )
    said = summaries([action.summary for action in found])
    return [
        BulkRow(
            action,
            action.images,
            action.images - undone.get(action.pk, 0),
            hasattr(action, "reverted_by"),
            said[action.summary],
        )
        for action in found
    ]


def summaries(of: Iterable[str]) -> dict[str, str]:
    """Summary → the same without the numbers of images in quarantine; one SQL query at most."""
    found = set(of)
    named = {int(one[2]) for summary in found for one in _IMAGE.finditer(summary)}
    hidden = set(Quarantine.objects.filter(image__in=named).values_list("image", flat=True)) if named else set()

    def shown(one: re.Match[str]) -> str:
        return one[1] if int(one[2]) in hidden else one[0]

    return {summary: _IMAGE.sub(shown, summary) for summary in found}
