"""The ranking of a dataset's last `find_issues` run, and the order of its queue."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from labeling.models import Dataset, ReviewItem, RunKind, RunState, Verdict


@dataclass(frozen=True)
class RankedRow:
    """One image of the ranking; `label_quality` is 0..1, low = likely wrong."""

    path: str
    given_label: str
    suggested_label: str
    label_quality: float
    reasons: tuple[str, ...]


RERANK_AFTER = 50
RERANK_SHARE = 0.01
"""Verdicts after which the open images are ranked again: so many, or this share of the items if that is more."""


def ranking_is_behind(dataset: Dataset) -> bool:
    """Whether so many verdicts came since the last ranking that ranking again pays; False while one is under way."""
    rankings = dataset.runs.filter(kind__in=(RunKind.FIND_ISSUES, RunKind.RERANK))
    if rankings.filter(state__in=(RunState.QUEUED, RunState.RUNNING)).exists():
        return False
    last = rankings.filter(state=RunState.DONE).order_by("-id").first()
    if last is None or not last.summary.get("ranked"):
        return False
    wanted = max(RERANK_AFTER, round(RERANK_SHARE * last.summary["ranked"]))
    newer = Verdict.objects.filter(image__dataset=dataset, pk__gt=last.summary.get("newest_verdict", 0))
    enough: bool = newer.values("pk")[:wanted].count() >= wanted
    return enough


def ranking(dataset: Dataset, *, limit: int | None = None, as_queued: bool = False) -> Iterator[RankedRow]:
    """Every ranked image, settled ones included: worst label quality first, or in the order of the queue.

    The queue's order weighs splits and costs (`Dataset.queue_order`); of a near-duplicate group it shows one image,
    while this lists each at its own place.
    """
    rows = (
        ReviewItem.objects.filter(dataset=dataset)
        .order_by("priority" if as_queued else "label_quality", "id")
        .values_list("image__path", "image__given_class__name", "suggested_class__name", "label_quality", "reason")
    )
    for path, given, suggested, quality, reason in islice(rows.iterator(chunk_size=2000), limit):
        yield RankedRow(path, given, suggested, quality, tuple(reason.split(" · ")))
