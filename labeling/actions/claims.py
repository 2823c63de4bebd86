"""Claims: who holds which review item, and for how long.

A claim is a row; the unique constraint on (item, slot) decides between two people who reach for the same item,
so no lock is held while somebody thinks. An expired claim is simply in nobody's way.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from labeling.actions.chance import chance
from labeling.actions.golden import golden_items
from labeling.models import Claim, Dataset, FilledSlot, ItemState, Person, ReviewItem, Skip, TaxonomyClass
from labeling.queries.queue_part import filtered_items, in_order
from labeling.queue_filter import QueueFilter

SKIP_FOR = timedelta(hours=12)


def lease() -> timedelta:
    return timedelta(seconds=settings.CLAIM_LEASE_SECONDS)


def matching_items(dataset: Dataset, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """The items of this part of the queue that wait for verdicts, in its order.

    Disputed ones wait for somebody who adjudicates, not for one more verdict.
    """
    waiting = filtered_items(dataset, filters).exclude(state=ItemState.SETTLED).exclude(state=ItemState.DISPUTED)
    return in_order(waiting, dataset, filters)


def claimable_items(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """`matching_items` with a free slot that this person neither holds, nor has skipped or given a verdict on."""
    now = timezone.now()
    live = Claim.objects.filter(item=OuterRef("pk"), lease_expires_at__gt=now)
    skipped = Skip.objects.filter(item=OuterRef("pk"), reviewer=reviewer, until__gt=now)
    filled = FilledSlot.objects.filter(item=OuterRef("pk"), reviewer=reviewer)
    items = matching_items(dataset, filters).filter(~Exists(skipped), ~Exists(filled))
    if dataset.verdicts_wanted == 1:
        # Hardly an item wants more than one verdict then, so that a held one need not be counted.
        return items.filter(~Exists(live.filter(Q(golden=False) | Q(reviewer=reviewer))))
    held = live.filter(golden=False).order_by().values("item").annotate(held=Count("pk")).values("held")
    return (
        items.filter(~Exists(live.filter(reviewer=reviewer)))
        .alias(
            free=Coalesce(F("missing"), Value(dataset.verdicts_wanted))
            - Coalesce(Subquery(held, output_field=IntegerField()), Value(0)),
        )
        .filter(free__gt=0)
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
    # All that is read is read before the transaction: SQLite lets nobody else write during one. What changes meanwhile
    # does no harm, as claims are dropped and renewed by key, and new ones are checked again when they are made.
    own = _own_claims(dataset, reviewer)
    keep = _kept(own, dataset, filters)
    missing = hold - sum(claim.item_id not in besides for claim in keep)
    candidates = _candidates(dataset, reviewer, filters, missing) if missing > 0 else []
    kept = {claim.pk for claim in keep}
    dropped = [claim.pk for claim in own if claim.pk not in kept]
    if not own and not candidates:
        return []
    with transaction.atomic():
        if dropped:
            Claim.objects.filter(pk__in=dropped).delete()
        if kept:
            Claim.objects.filter(pk__in=kept).update(lease_expires_at=timezone.now() + lease())
        while candidates:
            missing -= _claim(dataset, reviewer, filters, candidates)
            candidates = _candidates(dataset, reviewer, filters, missing) if missing > 0 else []
    return _held(dataset, reviewer, filters)


def release_claims(*, dataset: Dataset, reviewer: Person) -> int:
    """Give every claim back, as when leaving the page."""
    with transaction.atomic():
        released, _ = Claim.objects.filter(pk__in=[claim.pk for claim in _own_claims(dataset, reviewer)]).delete()
    return released


def release_claim(*, claim: Claim) -> None:
    """A lead gives back what somebody else holds; a verdict that comes all the same counts while nobody took it."""
    with transaction.atomic():
        Claim.objects.filter(pk=claim.pk).delete()


def skip_item(*, item: ReviewItem, reviewer: Person) -> None:
    """Not now: the item goes back to the queue and is not offered to this person for a while."""
    with transaction.atomic():
        Claim.objects.filter(item=item, reviewer=reviewer).delete()
        Skip.objects.update_or_create(item=item, reviewer=reviewer, defaults={"until": timezone.now() + SKIP_FOR})


def _own_claims(dataset: Dataset, reviewer: Person) -> list[Claim]:
    """The few claims that a person has in a dataset, oldest first, expired ones included.

    Chosen here and not by the database: with a condition on the item, its planner would walk all items of the dataset.
    """
    own = Claim.objects.filter(reviewer=reviewer).select_related("item").order_by("pk")
    return [claim for claim in own if claim.item.dataset_id == dataset.pk]


def free_slots(dataset: Dataset, items: Sequence[ReviewItem]) -> dict[int, list[int]]:
    """Item pk → its slots that neither a verdict fills nor a live claim holds, lowest first."""
    taken: dict[int, set[int]] = defaultdict(set)
    held: dict[int, int] = defaultdict(int)
    filled: dict[int, int] = defaultdict(int)
    keys = [item.pk for item in items]
    holding = Claim.objects.filter(item__in=keys, golden=False, lease_expires_at__gt=timezone.now())
    for item_id, slot in holding.values_list("item_id", "slot"):
        taken[item_id].add(slot)
        held[item_id] += 1
    for one in FilledSlot.objects.filter(item__in=keys, slot__isnull=False):
        taken[one.item_id].add(one.slot or 0)
        filled[one.item_id] += 1
    # Read last: whoever fills a slot or settles the item meanwhile was seen as its holder above, or is seen here.
    waiting = ReviewItem.objects.filter(pk__in=keys, state__in=[ItemState.OPEN, ItemState.UNSURE])
    missing = {
        pk: dataset.verdicts_wanted if wanted is None else wanted for pk, wanted in waiting.values_list("pk", "missing")
    }
    free: dict[int, list[int]] = {pk: [] for pk in keys}
    for pk in missing:
        open_ones = [slot for slot in range(filled[pk] + missing[pk]) if slot not in taken[pk]]
        free[pk] = open_ones[: max(missing[pk] - held[pk], 0)]
    return free


def _held(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> list[Claim]:
    """The live claims that match, in the order to be shown, each with its item, image and classes."""
    kept = _kept(_own_claims(dataset, reviewer), dataset, filters)
    items = ReviewItem.objects.select_related("image__given_class", "image__current_class", "suggested_class")
    of_claims = items.in_bulk([claim.item_id for claim in kept])
    for claim in kept:
        claim.item = of_claims.get(claim.item_id, claim.item)
    return kept


def _kept(own: Sequence[Claim], dataset: Dataset, filters: QueueFilter) -> list[Claim]:
    """Of a person's claims those that are live and match, in the order to be shown."""
    now = timezone.now()
    held = [claim for claim in own if claim.lease_expires_at > now]
    if not held:
        return []
    matching = matching_items(dataset, filters).filter(pk__in=[claim.item_id for claim in held])
    place = {pk: place for place, pk in enumerate(matching.values_list("pk", flat=True))}
    golden = _fitting([claim for claim in held if claim.golden and not claim.returned], dataset, filters)
    kept = [claim for claim in held if claim.returned or (not claim.golden and claim.item_id in place)]
    # What is mixed was claimed in the order in which it is to be seen.
    mixed = filters.mixed_from_rank and not filters.blind
    kept.sort(key=lambda claim: (not claim.returned, claim.pk if mixed else place.get(claim.item_id, 0)))
    for claim in golden:
        # A golden image was claimed right before the item that it goes before.
        after = (at for at, other in enumerate(kept) if not other.golden and other.pk > claim.pk)
        kept.insert(next(after, len(kept)), claim)
    return kept


def _fitting(golden: list[Claim], dataset: Dataset, filters: QueueFilter) -> list[Claim]:
    """The golden claims whose images look like this part of the queue."""
    if not golden or filters.blind or not filters.golden:
        return []
    alike = filtered_items(dataset, replace(filters, everything=True)).filter(pk__in=[one.item_id for one in golden])
    keys = set(alike.values_list("pk", flat=True))
    return [claim for claim in golden if claim.item_id in keys]


def _claim(dataset: Dataset, reviewer: Person, filters: QueueFilter, candidates: Sequence[ReviewItem]) -> int:
    """Try to claim items that were claimable a moment ago; how many were won, golden images before them included."""
    now = timezone.now()
    keys = [item.pk for item in candidates]
    Claim.objects.filter(item__in=keys, lease_expires_at__lte=now).delete()
    golden = _claim_golden(dataset, reviewer, filters, candidates)
    slots = free_slots(dataset, candidates)
    # Somebody may be inserting the same slots right now: of the two, the database lets one in.
    Claim.objects.bulk_create(
        [
            Claim(
                item=item,
                slot=slots[item.pk][0],
                reviewer=reviewer,
                lease_expires_at=now + lease(),
                blind=_is_blind(dataset, reviewer, item),
            )
            for item in candidates
            if slots[item.pk]
        ],
        ignore_conflicts=True,
    )
    return golden + Claim.objects.filter(item__in=keys, reviewer=reviewer, golden=False).count()


def _candidates(dataset: Dataset, reviewer: Person, filters: QueueFilter, wanted: int) -> list[ReviewItem]:
    """The next items to claim, in the order in which they are to be seen."""
    claimable = claimable_items(dataset, reviewer, filters)
    if not filters.mixed_from_rank or filters.blind:
        return list(claimable.only("pk", "image_id", "dataset_id")[:wanted])
    rank = filters.mixed_from_rank
    ranks = {
        label.pk: label.harm_rank
        for label in TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id).only("pk", "harm_rank")
    }

    def sensitive(item: ReviewItem) -> bool:
        return max(ranks[item.given_class_id], ranks[item.suggested_class_id]) >= rank

    held = [claim for claim in _own_claims(dataset, reviewer) if not claim.golden and not claim.returned]
    was_sensitive = bool(held) and sensitive(held[-1].item)
    first = list(claimable[:wanted])
    harmless = list(claimable_items(dataset, reviewer, replace(filters, below_rank=rank))[:wanted])
    chosen: list[ReviewItem] = []
    while len(chosen) < wanted:
        rest = (item for item in (harmless if was_sensitive and harmless else first) if item not in chosen)
        item = next(rest, None) or next((one for one in first if one not in chosen), None)
        if item is None:
            break
        chosen.append(item)
        was_sensitive = sensitive(item)
    return chosen


def _claim_golden(dataset: Dataset, reviewer: Person, filters: QueueFilter, candidates: Sequence[ReviewItem]) -> int:
    """Claim a golden image for each candidate that chance puts one before; how many there were."""
    before = [item for item in candidates if chance("golden", reviewer.pk, item.pk) < dataset.golden_rate]
    if not before or filters.blind or not filters.golden:
        return 0
    items = list(golden_items(dataset, reviewer, filters).exclude(pk__in=[item.pk for item in candidates]))
    items.sort(key=lambda item: chance("golden order", reviewer.pk, item.pk))
    now = timezone.now()
    chosen = items[: len(before)]
    Claim.objects.filter(item__in=chosen, reviewer=reviewer, lease_expires_at__lte=now).delete()
    Claim.objects.bulk_create(
        [
            Claim(
                item=item,
                reviewer=reviewer,
                lease_expires_at=now + lease(),
                golden=True,
                blind=_is_blind(dataset, reviewer, item),
            )
            for item in chosen
        ],
        ignore_conflicts=True,
    )
    return Claim.objects.filter(item__in=chosen, reviewer=reviewer, golden=True).count()


def _is_blind(dataset: Dataset, reviewer: Person, item: ReviewItem) -> bool:
    """Whether this image is in the share that this person is shown blind; always the same for the two."""
    return chance("blind", reviewer.pk, item.image_id) < dataset.blind_share
