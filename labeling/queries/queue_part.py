"""The part of a dataset's queue that a filter names, and its order."""

from django.db.models import OuterRef, Q, QuerySet, Subquery

from labeling.models import AuditImage, AuditSample, BandName, Dataset, LabelIssue, ReviewItem, TaxonomyClass
from labeling.queries.policies import newest_band_sample
from labeling.queue_filter import QueueFilter


def newest_sample(dataset: Dataset) -> AuditSample | None:
    """The audit sample that counts: a later one takes the place of an earlier one."""
    return dataset.audit_samples.order_by("-id").first()


def filtered_items(dataset: Dataset, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """The items of this part of the queue, settled ones too; one of each near-duplicate group.

    The audit sample is every image that was drawn.
    """
    items = ReviewItem.objects.filter(dataset=dataset)
    if filters.below_rank:
        items = items.filter(
            given_class__harm_rank__lt=filters.below_rank, suggested_class__harm_rank__lt=filters.below_rank
        )
    if filters.audit:
        drawn = AuditImage.objects.filter(sample=newest_sample(dataset), place__isnull=False)
        return items.filter(image__in=drawn.values("image"))
    if filters.check:
        return _drawn_from_side(items, dataset, filters.check)
    if filters.band:
        # A near duplicate in another band does not speak for this one.
        items = items.filter(
            Q(represented_by__isnull=True) | ~Q(represented_by__image__banding__band=filters.band),
            image__banding__band=filters.band,
        )
    else:
        items = items.filter(represented_by__isnull=True)
    if filters.issue:
        items = items.filter(image__in=LabelIssue.objects.filter(kind=filters.issue).values("image"))
    elif not filters.everything and not filters.band:
        items = items.filter(suspected=True)
    if filters.after:
        priority, pk = filters.after
        items = items.filter(Q(priority__gt=priority) | Q(priority=priority, pk__gt=pk), priority__gte=priority)
    if filters.split:
        items = items.filter(image__split=filters.split)
    if filters.given:
        items = items.filter(given_class=_class_key(dataset, filters.given))
    if filters.suggested:
        items = items.filter(suggested_class=_class_key(dataset, filters.suggested))
    return items


def side_region(side: str, threshold: float, prefix: str = "") -> Q:
    """The images that a side of a policy decides at a threshold of its score; `prefix` leads to `ImageBand`."""
    bound = {f"{prefix}unsafe__lte": threshold} if side == BandName.SAFE else {f"{prefix}adult__gte": threshold}
    return Q(**{f"{prefix}held": False}, **bound)


def _drawn_from_side(items: QuerySet[ReviewItem], dataset: Dataset, side: str) -> QuerySet[ReviewItem]:
    sample = newest_band_sample(dataset, side)
    if sample is None:
        return items.none()
    return items.filter(
        side_region(side, sample.threshold, "image__banding__"),
        image__banding__draw__lte=sample.cut,
        image_id__lte=sample.newest_image,
    )


_BAND_ORDER = {"riskiest": ("-image__banding__unsafe", "image_id"), "oldest": ("image_id",)}


def _class_key(dataset: Dataset, name: str) -> int:
    """The class's key, 0 for none: a range of an index, where a join on its name would walk the whole queue."""
    known = TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id, name=name)
    return known.values_list("pk", flat=True).first() or 0


def in_order(items: QuerySet[ReviewItem], dataset: Dataset, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """The queue's own order, or that of the band, or for a sample the random order in which it was drawn."""
    if filters.check:
        return items.order_by("image__banding__draw")
    if filters.band and filters.order:
        return items.order_by(*_BAND_ORDER[filters.order])
    if not filters.audit:
        return items.order_by("priority", "id")
    place = AuditImage.objects.filter(sample=newest_sample(dataset), image=OuterRef("image")).values("place")
    return items.annotate(place=Subquery(place)).order_by("place")
