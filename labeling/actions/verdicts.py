"""Verdicts: deciding an item, and taking that back."""

from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling.actions.bulk import check_label, reversible_verdicts, settle_represented, undo_verdicts
from labeling.actions.claims import lease
from labeling.actions.standing import append_verdict
from labeling.errors import ClaimLost, Conflict, WrongUsage
from labeling.models import (
    BulkKind,
    Claim,
    Dataset,
    ItemState,
    Person,
    ReviewItem,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)


@dataclass(frozen=True)
class Shown:
    """The suggestion and the label quality that a person saw when they decided; a ranking may have come since."""

    suggestion_id: int
    quality: float


def record_verdict(
    *,
    item: ReviewItem,
    reviewer: Person,
    kind: VerdictKind,
    label: TaxonomyClass | None,
    key: UUID,
    seconds: float | None = None,
    shown: Shown | None = None,
    blind: bool = False,
) -> Verdict:
    """Append the decision of the person who holds the item, and settle the item by it.

    The open items that this one represents are settled with it: to keep its label or to relabel it gives each of them
    that label, to exclude it excludes them. A blind verdict and an unsure one are about this image alone.

    Args:
        label: the class of a relabel, of the dataset's taxonomy; None for every other kind.
        key: made once for a decision; sending the same key again returns the first verdict.
        seconds: from seeing the image to deciding.
        shown: what the person saw, where that can differ from what the item says now.
        blind: label, prediction and reason were hidden.

    Raises:
        ClaimLost: somebody else has taken or settled the item.
        Conflict: the key was used for another decision.
        WrongUsage: a kind or a class that does not fit.
    """
    _check_kind(item, kind, label)
    if label is not None and label.pk == item.image.given_class_id:
        kind, label = VerdictKind.KEEP, None
    with transaction.atomic():
        # The lock makes two people who decide at the same moment do it one after the other (SQLite has one writer).
        state = ReviewItem.objects.select_for_update().values_list("state", flat=True).get(pk=item.pk)
        repeated = Verdict.objects.filter(key=key).first()
        if repeated is not None:
            return _same_decision(repeated, item.image_id, reviewer, kind, label)
        _take_claim(item, reviewer, ItemState(state))
        verdict = Verdict(
            image_id=item.image_id,
            reviewer=reviewer,
            kind=kind,
            label=label,
            key=key,
            shown_suggestion_id=None if blind else shown.suggestion_id if shown else item.suggested_class_id,
            shown_quality=None if blind else shown.quality if shown else item.label_quality,
            seconds=seconds,
            blind=blind,
        )
        if not blind and kind != VerdictKind.UNSURE:
            verdict.bulk = settle_represented(item, verdict)
        return append_verdict(item.image, verdict)


def _take_claim(item: ReviewItem, reviewer: Person, state: ItemState) -> None:
    """End the person's claim on the item.

    A verdict that comes after its lease still counts while the item waits and nobody else has taken it: somebody
    looked and decided, and no keystroke is lost.
    """
    held, _ = Claim.objects.filter(item=item, reviewer=reviewer, lease_expires_at__gt=timezone.now()).delete()
    if held:
        return
    if state == ItemState.SETTLED:
        raise ClaimLost("This image was settled in the meantime; your verdict was not needed and nothing was changed.")
    if Claim.objects.filter(item=item, lease_expires_at__gt=timezone.now()).exists():
        raise ClaimLost("Somebody else has taken this image in the meantime; your verdict was not recorded.")
    if state == ItemState.UNSURE and Verdict.objects.filter(image_id=item.image_id, reviewer=reviewer).exists():
        raise ClaimLost("You were unsure about this image; it waits for a second person.")
    Claim.objects.filter(item=item).delete()


def undo_last(*, dataset: Dataset, reviewer: Person, key: UUID) -> Verdict | None:
    """Take back this person's last verdict in the dataset that still stands, also one of yesterday.

    The item becomes a claim of this person again, shown first.

    Returns:
        the undo, or None when there is nothing to undo.

    Raises:
        Conflict: somebody else holds or has decided the image since.
    """
    with transaction.atomic():
        repeated = Verdict.objects.filter(key=key, reviewer=reviewer).first()
        if repeated is not None:
            return repeated
        own = (
            Verdict.objects.select_related("image", "bulk")
            .filter(reviewer=reviewer, image__dataset=dataset, undone_by__isnull=True)
            .exclude(kind=VerdictKind.UNDO)
            .order_by("-id")
        )
        last = own.first()
        if last is None:
            return None
        return _undo_with_its_group(last, reviewer, key)


def undo_own(*, dataset: Dataset, reviewer: Person, undoes: UUID, key: UUID) -> Verdict | None:
    """Take back the one verdict of this person that has the key `undoes`.

    Returns:
        the undo, or None when no such verdict was ever saved: then nothing has to be taken back.

    Raises:
        Conflict: it was taken back already, or somebody else holds or has decided the image since.
    """
    with transaction.atomic():
        repeated = Verdict.objects.filter(key=key, reviewer=reviewer).first()
        if repeated is not None:
            return repeated
        own = Verdict.objects.select_related("image", "bulk").filter(reviewer=reviewer, image__dataset=dataset)
        verdict = own.filter(key=undoes).exclude(kind=VerdictKind.UNDO).first()
        return None if verdict is None else _undo_with_its_group(verdict, reviewer, key)


def _undo_with_its_group(verdict: Verdict, reviewer: Person, key: UUID) -> Verdict:
    """Take back a verdict and those that it gave to the items it represented."""
    undo = undo_verdict(verdict=verdict, reviewer=reviewer, key=key)
    if verdict.bulk is not None and verdict.bulk.kind != BulkKind.REVERT:
        with_it, _ = reversible_verdicts(verdict.bulk)
        undo_verdicts(with_it, reviewer, key, None)
    return undo


def undo_verdict(*, verdict: Verdict, reviewer: Person, key: UUID) -> Verdict:
    """Take one verdict back by appending an undo, and give its item to this person.

    Raises:
        Conflict: it was taken back already, a later verdict stands on it, or somebody else holds the item.
    """
    with transaction.atomic():
        later = (
            Verdict.objects.filter(image_id=verdict.image_id, pk__gt=verdict.pk, undone_by__isnull=True)
            .exclude(kind=VerdictKind.UNDO)
            .exclude(reviewer=reviewer)
            .select_related("reviewer")
            .first()
        )
        if later is not None:
            raise Conflict(
                f"{later.reviewer} decided this image after you ({later.get_kind_display()}); "
                "their verdict has to be taken back first."
            )
        item = ReviewItem.objects.select_related("image").filter(image_id=verdict.image_id).first()
        if item is not None:
            _hand_over(item, reviewer)
        try:
            with transaction.atomic():
                undo = Verdict(
                    image_id=verdict.image_id,
                    reviewer=reviewer,
                    kind=VerdictKind.UNDO,
                    undoes=verdict,
                    key=key,
                )
                return append_verdict(verdict.image, undo)
        except IntegrityError as error:
            raise Conflict("This verdict was taken back already.") from error


def review_separately(*, item: ReviewItem) -> int:
    """A person saw that the images which this item represents are unlike it: each becomes an item of its own.

    Returns:
        how many items were set free.
    """
    with transaction.atomic():
        return ReviewItem.objects.filter(represented_by=item).update(represented_by=None, stands_alone=True)


def _hand_over(item: ReviewItem, reviewer: Person) -> None:
    now = timezone.now()
    other = Claim.objects.select_related("reviewer").filter(item=item, lease_expires_at__gt=now)
    holder = other.exclude(reviewer=reviewer).first()
    if holder is not None:
        raise Conflict(f"{holder.reviewer} holds this image right now; try again when they are done.")
    Claim.objects.filter(item=item).delete()
    Claim.objects.create(item=item, reviewer=reviewer, lease_expires_at=now + lease(), returned=True)


def _check_kind(item: ReviewItem, kind: VerdictKind, label: TaxonomyClass | None) -> None:
    if kind == VerdictKind.UNDO:
        raise WrongUsage("An undo is not a verdict on an item; use undo.")
    check_label(item.dataset, kind, label)


def _same_decision(
    first: Verdict, image_id: int, reviewer: Person, kind: VerdictKind, label: TaxonomyClass | None
) -> Verdict:
    received = (image_id, reviewer.pk, kind, label.pk if label else None)
    if (first.image_id, first.reviewer_id, first.kind, first.label_id) != received:
        raise Conflict("This key was already used for another decision; nothing was changed.")
    return first
