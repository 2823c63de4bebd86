"""The confusion pairs of a dataset's queue, for the grid."""

from dataclasses import dataclass, replace

from django.db.models import Count, F

from labeling.actions.claims import matching_items
from labeling.models import Dataset, TaxonomyClass
from labeling.queries.counts import KEEPER
from labeling.queue_filter import QueueFilter

PAIRS = 12


@dataclass(frozen=True)
class ConfusionPair:
    """Suspected items with this given and this suggested label; `open` of them wait."""

    given: TaxonomyClass
    suggested: TaxonomyClass
    open: int


def confusion_pairs(dataset: Dataset) -> tuple[ConfusionPair, ...]:
    """The pairs with the most open suspects, most first; two SQL queries."""
    waiting = matching_items(dataset, QueueFilter()).exclude(given_class=F("suggested_class")).order_by()

    def count() -> list[tuple[int, int, int]]:
        pairs = waiting.values_list("given_class", "suggested_class").annotate(items=Count("pk"))
        return list(pairs.order_by("-items")[:PAIRS])

    counted = KEEPER.counted(("pairs", dataset.pk), count).value
    classes = TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id).in_bulk()
    return tuple(
        ConfusionPair(classes[given], classes[suggested], items)
        for given, suggested, items in counted
        if given in classes and suggested in classes
    )


def left_in_pair(dataset: Dataset, filters: QueueFilter) -> int:
    """Open items of the pair from its start, whoever holds them; one SQL query."""
    whole = replace(filters, after=None)
    items: int = KEEPER.counted(("left", dataset.pk, whole), lambda: matching_items(dataset, whole).count()).value
    return items
