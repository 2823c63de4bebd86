"""Sources: how much of each is suspected, reviewed and changed, and what the audit says of its noise."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q

from labeling.models import Dataset, ItemState, Source, visible
from labeling.queries.queue_part import newest_sample

SHOWN = 100


@dataclass(frozen=True)
class SourceRow:
    """One source; `noise` is the audit's estimate (`rate` with its interval, `noisier`), None without one."""

    source: Source
    images: int
    suspected: int
    reviewed: int
    changed: int
    excluded: int
    noise: dict[str, Any] | None

    @property
    def undecided(self) -> int:
        return self.images - self.reviewed


@dataclass(frozen=True)
class SourceList:
    sources: tuple[SourceRow, ...]
    count: int


def source_list(dataset: Dataset, *, named: str = "") -> SourceList:
    """The sources with the most images whose name holds `named`; three SQL queries.

    Noise comes from the last estimate of the audit; verdicts alone would speak only of what the queue showed first.
    """
    sources = Source.objects.filter(dataset=dataset)
    if named:
        sources = sources.filter(name__icontains=named)
    sample = newest_sample(dataset)
    noise = {row["source"]: row for row in sample.estimate.get("sources", ())} if sample else {}
    there = visible("images__pk")
    rows = sources.annotate(
        total=Count("images", filter=there),
        suspected=Count("images", filter=Q(images__item__suspected=True) & there),
        reviewed=Count("images", filter=Q(images__item__state=ItemState.SETTLED) & there),
        changed=Count(
            "images", filter=~Q(images__current_class=F("images__given_class")) & Q(images__excluded=False) & there
        ),
        taken_out=Count("images", filter=Q(images__excluded=True) & there),
    ).order_by("-total", "name")[:SHOWN]
    return SourceList(
        tuple(
            SourceRow(row, row.total, row.suspected, row.reviewed, row.changed, row.taken_out, noise.get(row.name))
            for row in rows
        ),
        sources.count(),
    )
