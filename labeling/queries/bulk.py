"""Bulk actions as their pages list them."""

from dataclasses import dataclass

from django.db.models import Count

from labeling.models import BulkAction, BulkKind, Dataset

SHOWN = 20


@dataclass(frozen=True)
class BulkRow:
    """One act; `standing` of its `verdicts` nobody has taken back."""

    action: BulkAction
    verdicts: int
    standing: int
    reverted: bool


def bulk_actions(dataset: Dataset, *kinds: BulkKind) -> list[BulkRow]:
    """The newest bulk actions of some kinds and what took them back, newest first; two SQL queries."""
    of_kind = BulkAction.objects.filter(dataset=dataset, kind__in=kinds).select_related("person", "reverted_by")
    found = list(of_kind.annotate(images=Count("verdicts")).order_by("-id")[:SHOWN])
    undone = dict(
        BulkAction.objects.filter(pk__in=[action.pk for action in found], verdicts__undone_by__isnull=False)
        .values_list("pk")
        .annotate(undone=Count("verdicts"))
        .order_by()
    )
    return [
        BulkRow(action, action.images, action.images - undone.get(action.pk, 0), hasattr(action, "reverted_by"))
        for action in found
    ]
