"""Claims: who holds which review item, and for how long.

A claim is a row; the unique constraint on (item, slot) decides between two people who reach for the same item,
so no lock is held while somebody thinks. An expired claim is simply in nobody's way.
"""

from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from labeling.models import Claim, Dataset, ItemState, Person, ReviewItem, Skip, Verdict
from labeling.queries.queue_part import filtered_items, in_order
from labeling.queue_filter import QueueFilter

SKIP_FOR = timedelta(hours=12)


def lease() -> timedelta:
    return timedelta(seconds=settings.CLAIM_LEASE_SECONDS)


def matching_items(dataset: Dataset, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """The unsettled items of this part of the queue, in its order."""
    return in_order(filtered_items(dataset, filters).exclude(state=ItemState.SETTLED), dataset, filters)


def claimable_items(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """`matching_items` that nobody holds and that this person has neither skipped nor been unsure about."""
    now = timezone.now()
    held = Claim.objects.filter(item=OuterRef("pk"), lease_expires_at__gt=now)
    skipped = Skip.objects.filter(item=OuterRef("pk"), reviewer=reviewer, until__gt=now)
    own_verdict = Verdict.objects.filter(image=OuterRef("image"), reviewer=reviewer)
    return matching_items(dataset, filters).filter(
        ~Exists(held), ~Exists(skipped), Q(state=ItemState.OPEN) | ~Exists(own_verdict)
    )


def held_claims(*, dataset: Dataset, reviewer: Person, filters: QueueFilter) -> list[Claim]:
    """The live claims of this person that match, the one to be shown first. A read: nothing is claimed."""
    return _held(dataset, reviewer, filters)


def hold_claims(
    *, dataset: Dataset, reviewer: Person, filters: QueueFilter, hold: int = 3, besides: Collection[int] = ()
) -> list[Claim]:
    """Renew this person's matching claims, drop the others, and claim more up to `hold`.

    Args:
        besides: items whose verdicts are still on their way: they stay claimed, but do not count as held.

    Returns:
        the live claims, the one to be shown first; empty when nothing is left for this person.
    """
    with transaction.atomic():
        keep = _held(dataset, reviewer, filters)
        mine = Claim.objects.filter(pk__in=_own_claims(dataset, reviewer))
        mine.exclude(pk__in=[claim.pk for claim in keep]).delete()
        mine.update(lease_expires_at=timezone.now() + lease())
        missing = hold - sum(claim.item_id not in besides for claim in keep)
        while missing > 0:
            won = _claim_some(dataset, reviewer, filters, missing)
            if won is None:
                break
            missing -= won
        return _held(dataset, reviewer, filters)


def release_claims(*, dataset: Dataset, reviewer: Person) -> int:
    """Give every claim back, as when leaving the page."""
    with transaction.atomic():
        released, _ = Claim.objects.filter(pk__in=_own_claims(dataset, reviewer)).delete()
    return released


def skip_item(*, item: ReviewItem, reviewer: Person) -> None:
    """Not now: the item goes back to the queue and is not offered to this person for a while."""
    with transaction.atomic():
        Claim.objects.filter(item=item, reviewer=reviewer).delete()
        Skip.objects.update_or_create(item=item, reviewer=reviewer, defaults={"until": timezone.now() + SKIP_FOR})


def _own_claims(dataset: Dataset, reviewer: Person) -> list[int]:
    """The few claims that a person has in a dataset, by key: a join would make the planner walk all its items."""
    own = Claim.objects.filter(reviewer=reviewer).select_related("item").only("item__dataset")
    return [claim.pk for claim in own if claim.item.dataset_id == dataset.pk]


def _held(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> list[Claim]:
    own = (
        Claim.objects.filter(pk__in=_own_claims(dataset, reviewer), lease_expires_at__gt=timezone.now())
        .select_related("item__image__given_class", "item__image__current_class", "item__suggested_class")
        .order_by("-returned", "item__priority", "item_id")
    )
    held = list(own)
    matching = matching_items(dataset, filters).filter(pk__in=[claim.item_id for claim in held])
    place = {pk: place for place, pk in enumerate(matching.values_list("pk", flat=True))}
    kept = [claim for claim in held if claim.returned or claim.item_id in place]
    return sorted(kept, key=lambda claim: (not claim.returned, place.get(claim.item_id, 0)))


def _claim_some(dataset: Dataset, reviewer: Person, filters: QueueFilter, wanted: int) -> int | None:
    """Try to claim up to `wanted` items; how many were won, or None when there is nothing to try."""
    now = timezone.now()
    candidates = list(claimable_items(dataset, reviewer, filters).values_list("pk", flat=True)[:wanted])
    if not candidates:
        return None
    Claim.objects.filter(item__in=candidates, lease_expires_at__lte=now).delete()
    before = Claim.objects.filter(item__in=candidates, reviewer=reviewer).count()
    # Somebody may be inserting the same slots right now: of the two, the database lets one in.
    Claim.objects.bulk_create(
        [Claim(item_id=pk, reviewer=reviewer, lease_expires_at=now + lease()) for pk in candidates],
        ignore_conflicts=True,
    )
    return Claim.objects.filter(item__in=candidates, reviewer=reviewer).count() - before
