"""The part of a dataset's queue that a filter names."""

from django.db.models import QuerySet

from labeling.models import Dataset, ReviewItem
from labeling.queue_filter import QueueFilter


def filtered_items(dataset: Dataset, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """The items of this part of the queue, settled ones too."""
    items = ReviewItem.objects.filter(dataset=dataset)
    if not filters.everything:
        items = items.filter(suspected=True)
    if filters.split:
        items = items.filter(image__split=filters.split)
    if filters.given:
        items = items.filter(image__given_class__name=filters.given)
    if filters.suggested:
        items = items.filter(suggested_class__name=filters.suggested)
    return items
