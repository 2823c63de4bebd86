"""The unknown band as the people see it who empty it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from labeling.actions.claims import matching_items
from labeling.models import NO_DECISIONS, BandName, Dataset, Verdict
from labeling.queries.counts import KEEPER
from labeling.queue_filter import QueueFilter

UNKNOWN = QueueFilter(band=BandName.UNKNOWN)
_RECENT = timedelta(days=7)
_PACE_OF = 500


@dataclass(frozen=True)
class TriageState:
    """How much waits, for how long, and what it takes to empty it.

    Attributes:
        waiting: items that wait; a near-duplicate group is one.
        overdue: those that wait for longer than the dataset wants.
        oldest: when the one that has waited longest came in; None when nothing waits.
        seconds: median of recent decisions here, None before there were ten.
        decided: decisions of the last seven days on images that were or are unknown.
        age: how many seconds ago this was counted, 0 for small queues.
    """

    waiting: int
    overdue: int
    oldest: datetime | None
    seconds: float | None
    decided: int
    age: float = 0.0

    @property
    def hours(self) -> float | None:
        """Reviewer-hours to empty it."""
        return None if self.seconds is None else self.waiting * self.seconds / 3600


def triage_state(dataset: Dataset) -> TriageState:
    """Three SQL queries, or fewer for a while where counting takes long."""
    now = timezone.now()
    due = now - timedelta(hours=dataset.triage_hours)

    def count() -> dict[str, Any]:
        waiting = matching_items(dataset, UNKNOWN).order_by()
        return waiting.aggregate(
            waiting=Count("pk"),
            overdue=Count("pk", filter=Q(image__imported_at__lt=due)),
            oldest=Min("image__imported_at"),
        )

    counted = KEEPER.counted(("triage", dataset.pk, dataset.triage_hours), count)
    recent = Verdict.objects.filter(
        image__dataset=dataset, image__banding__band=BandName.UNKNOWN, created_at__gt=now - _RECENT, bulk__isnull=True
    ).exclude(kind__in=NO_DECISIONS)
    newest = recent.order_by("-pk").values_list("seconds", flat=True)[:_PACE_OF]
    taken = [seconds for seconds in newest if seconds is not None]
    return TriageState(
        waiting=counted.value["waiting"],
        overdue=counted.value["overdue"],
        oldest=counted.value["oldest"],
        seconds=median(taken) if len(taken) >= 10 else None,
        decided=KEEPER.counted(("triage decided", dataset.pk), lambda: recent.count()).value,
        age=counted.age,
    )
