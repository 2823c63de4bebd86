"""Triage: what people decided before is not asked again, and how soon they want to decide."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import uuid4

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from labeling.actions.bulk import verdict_like
from labeling.actions.standing import append_verdicts
from labeling.errors import WrongUsage
from labeling.models import (
    BandName,
    BulkAction,
    BulkKind,
    Claim,
    Dataset,
    Image,
    ItemState,
    Person,
    Verdict,
)
from labeling.queries.alike import standing_decisions

CHUNK = 500
MOST_HOURS = 24 * 365


def settle_known(*, dataset: Dataset, images: Sequence[int] | None = None) -> int:
    """Settle unknown images whose very file people decided before, as they decided it.

    The verdict is that of whoever decided the earlier image, marked by a bulk action of the kind `known`, which is
    taken back like any other. Nothing is done where several independent verdicts are wanted, about images that
    somebody judged or holds, and about files on which people decided differently.

    Args:
        images: only these; None for the whole queue.

    Returns:
        how many were settled.
    """
    if dataset.verdicts_wanted != 1:
        return 0
    settled, after = 0, 0
    while waiting := _waiting(dataset, images, after):
        after = waiting[-1].pk
        with transaction.atomic():
            settled += _settle(dataset, waiting)
    return settled


def _waiting(dataset: Dataset, images: Sequence[int] | None, after: int) -> list[Image]:
    twins = Image.objects.filter(
        dataset=dataset, sha256=OuterRef("sha256"), item__state=ItemState.SETTLED, item__stands_alone=False
    )
    held = Claim.objects.filter(item=OuterRef("item"), lease_expires_at__gt=timezone.now())
    judged = Verdict.objects.filter(image=OuterRef("pk"))
    found = Image.objects.filter(
        ~Exists(held),
        ~Exists(judged),
        Exists(twins),
        dataset=dataset,
        banding__band=BandName.UNKNOWN,
        item__state=ItemState.OPEN,
        item__stands_alone=False,
        pk__gt=after,
    )
    if images is not None:
        found = found.filter(pk__in=images)
    return list(found.order_by("pk").only("pk", "sha256", "given_class_id")[:CHUNK])


def _settle(dataset: Dataset, waiting: Sequence[Image]) -> int:
    known: dict[str, list[Verdict]] = defaultdict(list)
    twins = Image.objects.filter(dataset=dataset, sha256__in={one.sha256 for one in waiting})
    for verdict in standing_decisions(twins):
        known[verdict.image.sha256].append(verdict)
    by_person: dict[Person, list[tuple[Image, Verdict]]] = defaultdict(list)
    for image in waiting:
        decisions = known[image.sha256]
        if decisions and len({(one.image.current_class_id, one.image.excluded) for one in decisions}) == 1:
            by_person[decisions[-1].reviewer].append((image, decisions[-1]))
    for person, pairs in by_person.items():
        count = len(pairs)
        act = BulkAction.objects.create(
            dataset=dataset,
            kind=BulkKind.KNOWN,
            person=person,
            summary=f"{count:,} image{'s' if count > 1 else ''} settled as {person.username} had decided the same file",
        )
        append_verdicts(
            [verdict_like(one, image, one.image.current_class_id, key=uuid4(), bulk=act) for image, one in pairs]
        )
    return sum(map(len, by_person.values()))


def set_triage_within(*, dataset: Dataset, hours: int) -> None:
    """Within how many hours of its arrival an unknown image is to be decided.

    Raises:
        WrongUsage: not 1 hour to a year.
    """
    if not 1 <= hours <= MOST_HOURS:
        raise WrongUsage(f"Expected 1 to {MOST_HOURS:,} hours, received {hours:,}.")
    dataset.triage_hours = hours
    with transaction.atomic():
        Dataset.objects.filter(pk=dataset.pk).update(triage_hours=hours)
