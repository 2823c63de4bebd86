"""Verdicts: the only writers of current labels.

A verdict is appended, then the image is folded again from its given label and all its verdicts. Undo is a verdict
too. So everything that a page shows about an image's state can be recomputed from this log (`check_integrity`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from labeling.actions.claims import lease
from labeling.errors import ClaimLost, Conflict, WrongUsage
from labeling.models import (
    Claim,
    Dataset,
    Image,
    ItemState,
    Person,
    ReviewItem,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)


@dataclass(frozen=True)
class Standing:
    """What the verdicts make of an image."""

    current_class_id: int
    excluded: bool
    state: ItemState
    deciding: Verdict | None


@dataclass(frozen=True)
class Shown:
    """The suggestion and the label quality that a person saw when they decided; a ranking may have come since."""

    suggestion_id: int
    quality: float


def fold(given_class_id: int, verdicts: Iterable[Verdict]) -> Standing:
    """The standing of an image from its given label and its verdicts in order.

    An undo takes its verdict out; an undo of an undo puts it back. The last verdict that is left decides.
    """
    in_order = list(verdicts)
    taken_back: set[int] = set()
    # Later undos are read first, so that an undone undo no longer takes anything back.
    for verdict in reversed(in_order):
        if verdict.undoes_id is not None and verdict.pk not in taken_back:
            taken_back.add(verdict.undoes_id)
    standing = [v for v in in_order if v.pk not in taken_back and v.kind != VerdictKind.UNDO]
    if not standing:
        return Standing(given_class_id, False, ItemState.OPEN, None)
    last = standing[-1]
    if last.kind == VerdictKind.UNSURE:
        # An unsure verdict leaves the label where the verdicts before it had brought it.
        before = fold(given_class_id, standing[:-1])
        return Standing(before.current_class_id, before.excluded, ItemState.UNSURE, last)
    label_id = last.label_id if last.kind == VerdictKind.RELABEL and last.label_id is not None else given_class_id
    return Standing(label_id, last.kind == VerdictKind.EXCLUDE, ItemState.SETTLED, last)


def standings_of(dataset: Dataset) -> dict[int, Standing]:
    """Image pk → its standing, for every image of the dataset with a verdict, all as of one moment.

    One query reads it all, so labels, exclusions and the verdicts behind them fit each other whatever people decide
    meanwhile.
    """
    verdicts = (
        Verdict.objects.filter(image__dataset=dataset)
        .order_by("image_id", "id")
        .annotate(given_class_id=F("image__given_class_id"))
    )
    return {
        image_id: fold(given_class_id, of_image)
        for (image_id, given_class_id), of_image in groupby(
            list(verdicts), key=lambda verdict: (verdict.image_id, verdict.given_class_id)
        )
    }


def record_verdict(
    *,
    item: ReviewItem,
    reviewer: Person,
    kind: VerdictKind,
    label: TaxonomyClass | None,
    key: UUID,
    seconds: float | None = None,
    shown: Shown | None = None,
) -> Verdict:
    """Append the decision of the person who holds the item, and settle the item by it.

    Args:
        label: the class of a relabel, of the dataset's taxonomy; None for every other kind.
        key: made once for a decision; sending the same key again returns the first verdict.
        seconds: from seeing the image to deciding.
        shown: what the person saw, where that can differ from what the item says now.

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
        return _append(
            item.image,
            Verdict(
                image_id=item.image_id,
                reviewer=reviewer,
                kind=kind,
                label=label,
                key=key,
                shown_suggestion_id=shown.suggestion_id if shown else item.suggested_class_id,
                shown_quality=shown.quality if shown else item.label_quality,
                seconds=seconds,
            ),
        )


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
            Verdict.objects.select_related("image")
            .filter(reviewer=reviewer, image__dataset=dataset, undone_by__isnull=True)
            .exclude(kind=VerdictKind.UNDO)
            .order_by("-id")
        )
        last = own.first()
        return None if last is None else undo_verdict(verdict=last, reviewer=reviewer, key=key)


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
                return _append(verdict.image, undo)
        except IntegrityError as error:
            raise Conflict("This verdict was taken back already.") from error


def _hand_over(item: ReviewItem, reviewer: Person) -> None:
    now = timezone.now()
    other = Claim.objects.select_related("reviewer").filter(item=item, lease_expires_at__gt=now)
    holder = other.exclude(reviewer=reviewer).first()
    if holder is not None:
        raise Conflict(f"{holder.reviewer} holds this image right now; try again when they are done.")
    Claim.objects.filter(item=item).delete()
    Claim.objects.create(item=item, reviewer=reviewer, lease_expires_at=now + lease(), returned=True)


def _append(image: Image, verdict: Verdict) -> Verdict:
    # The row lock keeps two verdicts on one image from folding past each other (PostgreSQL; SQLite has one writer).
    Image.objects.select_for_update().get(pk=image.pk)
    verdict.save(force_insert=True)
    standing = fold(image.given_class_id, Verdict.objects.filter(image=image).order_by("id"))
    Image.objects.filter(pk=image.pk).update(current_class_id=standing.current_class_id, excluded=standing.excluded)
    ReviewItem.objects.filter(image=image).update(state=standing.state)
    return verdict


def _check_kind(item: ReviewItem, kind: VerdictKind, label: TaxonomyClass | None) -> None:
    if kind == VerdictKind.UNDO:
        raise WrongUsage("An undo is not a verdict on an item; use undo.")
    if (kind == VerdictKind.RELABEL) != (label is not None):
        raise WrongUsage("A relabel names the class that is right, and no other verdict does.")
    if label is not None and label.taxonomy_id != item.dataset.taxonomy_id:
        raise WrongUsage(f"{label.name} is not a class of this dataset's taxonomy.")


def _same_decision(
    first: Verdict, image_id: int, reviewer: Person, kind: VerdictKind, label: TaxonomyClass | None
) -> Verdict:
    received = (image_id, reviewer.pk, kind, label.pk if label else None)
    if (first.image_id, first.reviewer_id, first.kind, first.label_id) != received:
        raise Conflict("This key was already used for another decision; nothing was changed.")
    return first
