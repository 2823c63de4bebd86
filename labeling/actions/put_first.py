"""Putting items first in the queue, and back to their place."""

from collections.abc import Iterator, Sequence

from django.db import transaction
from django.db.models import F, QuerySet

from labeling.actions.bulk import check_size
from labeling.errors import NothingToDo
from labeling.models import Dataset, Image, ItemState, ReviewItem

# Further than any strategy's priorities reach, so that the order among those put first stays the strategy's.
_AHEAD = 1000.0
_CHUNK = 2000


def put_first(*, dataset: Dataset, images: QuerySet[Image], expected: int | None = None) -> int:
    """Put the open items of these images before all others of the queue, where they stay through later rankings.

    An image that another one represents is seen through that one, so that one is put first. Everybody is shown them:
    they count as suspected, by a person.

    Returns:
        how many items were put first that were not so before.

    Raises:
        WrongUsage, Conflict: too many images; see `check_size`.
        NothingToDo: none of them waits in the queue.
    """
    images = images.filter(dataset=dataset)
    check_size(images, expected)
    with transaction.atomic():
        waiting = ReviewItem.objects.filter(dataset=dataset).exclude(state=ItemState.SETTLED)
        seen: dict[int, None] = {}
        for keys in _chunks(list(images.order_by("pk").values_list("pk", flat=True))):
            for pk, by in waiting.filter(image__in=keys).values_list("pk", "represented_by"):
                seen[by or pk] = None
        if not seen:
            raise NothingToDo("None of these images waits in the queue: they are reviewed, or not ranked yet.")
        return sum(
            waiting.filter(pk__in=keys, suspected_before__isnull=True).update(
                suspected_before=F("suspected"), suspected=True, priority=F("priority") - _AHEAD
            )
            for keys in _chunks(list(seen))
        )


def put_back(*, dataset: Dataset, images: QuerySet[Image], expected: int | None = None) -> int:
    """Put items that were put first back to their place; how many.

    Raises:
        WrongUsage, Conflict: too many images; see `check_size`.
    """
    images = images.filter(dataset=dataset)
    check_size(images, expected)
    with transaction.atomic():
        first = ReviewItem.objects.filter(dataset=dataset, suspected_before__isnull=False)
        keys = list(first.filter(image__in=images.order_by().values("pk")).values_list("pk", flat=True))
        return sum(
            first.filter(pk__in=part).update(
                suspected=F("suspected_before"), suspected_before=None, priority=F("priority") + _AHEAD
            )
            for part in _chunks(keys)
        )


def keep_first(*, dataset: Dataset, suspected_anew: bool) -> None:
    """After priorities were written anew: what people put first is first again.

    Args:
        suspected_anew: `suspected` was written too, so it says again what the run believes.
    """
    with transaction.atomic():
        moved = ReviewItem.objects.filter(
            dataset=dataset, suspected_before__isnull=False, priority__gt=-_AHEAD / 2
        ).exclude(state=ItemState.SETTLED)
        before = {"suspected_before": F("suspected")} if suspected_anew else {}
        moved.update(**before, suspected=True, priority=F("priority") - _AHEAD)


def _chunks(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
