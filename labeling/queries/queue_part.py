"""The part of a dataset's queue that a filter names, and its order."""

from django.db.models import OuterRef, Q, QuerySet, Subquery

from labeling.models import AuditImage, AuditSample, Dataset, LabelIssue, ReviewItem, TaxonomyClass
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
    items = items.filter(represented_by__isnull=True)
    if filters.issue:
        items = items.filter(image__in=LabelIssue.objects.filter(kind=filters.issue).values("image"))
    elif not filters.everything:
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


def _class_key(dataset: Dataset, name: str) -> int:
    """The class's key, 0 for none: a range of an index, where a join on its name would walk the whole queue."""
    known = TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id, name=name)
    return known.values_list("pk", flat=True).first() or 0


def in_order(items: QuerySet[ReviewItem], dataset: Dataset, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """The queue's own order, or for the audit sample the random order in which it was drawn."""
    if not filters.audit:
        return items.order_by("priority", "id")
    place = AuditImage.objects.filter(sample=newest_sample(dataset), image=OuterRef("image")).values("place")
    return items.annotate(place=Subquery(place)).order_by("place")
