"""The numbers behind the overview's pictures: how label quality is spread, and what reviewing has found so far."""

from dataclasses import dataclass

from django.db.models import Case, Count, F, IntegerField, Q, Value, When
from django.db.models.functions import Cast, Floor

from labeling.models import NO_DECISIONS, BulkKind, Dataset, ItemState, ReviewItem, Verdict, VerdictKind

BINS = 20
CURVE_POINTS = 120


@dataclass(frozen=True)
class QualityBin:
    """Items whose label quality is in [low, high); the last bin holds 1 too."""

    low: float
    high: float
    items: int
    settled: int


@dataclass(frozen=True)
class CurvePoint:
    """After `reviews` verdicts of people, `errors` of them had changed a label or excluded an image."""

    reviews: int
    errors: int


def quality_histogram(dataset: Dataset) -> tuple[QualityBin, ...]:
    """`BINS` equal bins from 0 to 1; empty when nothing is ranked. One SQL query."""
    place = Case(
        When(label_quality__gte=1, then=Value(BINS - 1)),
        default=Cast(Floor(F("label_quality") * BINS), IntegerField()),
        output_field=IntegerField(),
    )
    counted = {
        row["place"]: row
        for row in ReviewItem.objects.filter(dataset=dataset)
        .annotate(place=place)
        .values("place")
        .annotate(items=Count("pk"), settled=Count("pk", filter=Q(state=ItemState.SETTLED)))
        .order_by()
    }
    if not counted:
        return ()
    nothing = {"items": 0, "settled": 0}
    return tuple(
        QualityBin(number / BINS, (number + 1) / BINS, row["items"], row["settled"])
        for number, row in ((number, counted.get(number, nothing)) for number in range(BINS))
    )


def cleaning_curve(dataset: Dataset) -> tuple[CurvePoint, ...]:
    """Standing verdicts of the queue in the order they were given, thinned to about `CURVE_POINTS`; one SQL query.

    The audit's blind verdicts and decisions about whole sources are no reviews of the queue. A group counts once.
    """
    kinds = list(
        Verdict.objects.filter(image__dataset=dataset, undone_by__isnull=True, blind=False)
        .exclude(kind__in=[*NO_DECISIONS, VerdictKind.UNSURE])
        .exclude(bulk__kind=BulkKind.SOURCE)
        .filter(Q(bulk__isnull=True) | Q(shown_quality__isnull=False))
        .order_by("id")
        .values_list("kind", flat=True)
    )
    if not kinds:
        return ()
    every = max(1, len(kinds) // CURVE_POINTS)
    points, errors = [CurvePoint(0, 0)], 0
    for reviews, kind in enumerate(kinds, start=1):
        errors += kind != VerdictKind.KEEP
        if reviews % every == 0 or reviews == len(kinds):
            points.append(CurvePoint(reviews, errors))
    return tuple(points)
