"""Verdicts: deciding an item, and taking that back."""

from dataclasses import dataclass
from uuid import UUID, uuid5

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from labeling.actions.bulk import (
    check_label,
    newest_undos,
    reversible_verdicts,
    settle_represented,
    undo_verdicts,
)
from labeling.actions.claims import free_slots, lease
from labeling.actions.golden import put_back_answer, record_golden_answer, take_back_answer
from labeling.actions.standing import EXCLUDE, append_verdict
from labeling.actions.terms import terms
from labeling.errors import ClaimLost, Conflict, WrongUsage
from labeling.models import (
    NO_DECISIONS,
    BulkKind,
    Claim,
    Dataset,
    FilledSlot,
    GoldenAnswer,
    ItemState,
    Person,
    Quarantine,
    ReviewItem,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)

# The version of the keys by which what is undone along with a verdict is told from what a person asked for.
_DERIVED = 5

_NOT_TAKEN_BACK = (
    "An escalation is not taken back: only two authorised people release it, on the page Escalations. What you decided "
    "before it can be taken back by looking back at it."
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

    An image that was claimed as a golden one is answered instead, which changes no label; the decision is then returned
    as a verdict that is not in the log (it has no primary key), so that nobody can tell.

    Raises:
        ClaimLost: somebody else has taken or settled the item, or this person has given a verdict on it.
        Conflict: the key was used for another decision.
        WrongUsage: a kind or a class that does not fit.
    """
    _check_kind(item, kind, label)
    if label is not None and label.pk == item.image.given_class_id:
        kind, label = VerdictKind.KEEP, None
    with transaction.atomic():
        # The lock makes two people who decide at the same moment do it one after the other (SQLite has one writer).
        locked = ReviewItem.everything.select_for_update().get(pk=item.pk)
        repeated = Verdict.everything.filter(key=key).first() or _golden_before(key)
        if repeated is not None:
            return _same_decision(repeated, item.image_id, reviewer, kind, label)
        _check_there(item.image_id)
        claim = Claim.objects.filter(item=item, reviewer=reviewer).first()
        if claim is not None and claim.golden:
            claim.item = item
            answer = record_golden_answer(claim=claim, kind=kind, label=label, key=key, seconds=seconds)
            return _as_verdict(answer)
        _take_claim(item, locked, reviewer, claim)
        hidden = claim is not None and claim.blind and not blind
        blind = blind or hidden
        verdict = Verdict(
            image_id=item.image_id,
            reviewer=reviewer,
            kind=kind,
            label=label,
            key=key,
            shown_suggestion_id=None if blind else shown.suggestion_id if shown else item.suggested_class_id,
            shown_quality=None if blind else shown.quality if shown else item.label_quality,
            hidden_suggestion_id=item.suggested_class_id if hidden else None,
            seconds=seconds,
            blind=blind,
            **terms(item, locked, reviewer, answer=_answer(item, kind, label)),
        )
        if not blind and kind != VerdictKind.UNSURE:
            verdict.bulk = settle_represented(item, verdict)
        return append_verdict(item.image, verdict)


def adjudicate(
    *,
    item: ReviewItem,
    person: Person,
    kind: VerdictKind,
    label: TaxonomyClass | None,
    key: UUID,
    seconds: float | None = None,
) -> Verdict:
    """Settle an item about which people disagree or were unsure, by one verdict that decides alone.

    Whoever holds it loses the claim: their verdict is not needed any more.

    Args:
        kind, label, key, seconds: as of `record_verdict`; unsure settles nothing and is refused.

    Raises:
        Conflict: the item was settled in the meantime, or the key was used for another decision.
        WrongUsage: a kind or a class that does not fit.
    """
    _check_kind(item, kind, label)
    if kind == VerdictKind.UNSURE:
        raise WrongUsage("Expected keep, relabel or exclude: an unsure verdict settles nothing.")
    if label is not None and label.pk == item.image.given_class_id:
        kind, label = VerdictKind.KEEP, None
    with transaction.atomic():
        locked = ReviewItem.everything.select_for_update().get(pk=item.pk)
        repeated = Verdict.everything.filter(key=key).first()
        if repeated is not None:
            return _same_decision(repeated, item.image_id, person, kind, label)
        _check_there(item.image_id)
        if locked.state == ItemState.SETTLED:
            raise Conflict("This image was settled in the meantime; nothing was changed.")
        Claim.objects.filter(item=item, golden=False).delete()
        verdict = Verdict(
            image_id=item.image_id, reviewer=person, kind=kind, label=label, key=key, seconds=seconds, alone=True
        )
        return append_verdict(item.image, verdict)


def _take_claim(item: ReviewItem, locked: ReviewItem, reviewer: Person, claim: Claim | None) -> None:
    """End the person's claim on the item.

    A verdict that comes after its lease still counts while the item waits and nobody else has taken the last free slot:
    somebody looked and decided, and no keystroke is lost.
    """
    if locked.state == ItemState.SETTLED:
        raise ClaimLost("This image was settled in the meantime; your verdict was not needed and nothing was changed.")
    if locked.state == ItemState.DISPUTED:
        raise ClaimLost("People disagree about this image; it waits for a lead, and your verdict was not recorded.")
    filled = FilledSlot.objects.filter(item=item, reviewer=reviewer).first()
    if filled is not None:
        before = "were unsure about" if filled.slot is None else "have given your verdict on"
        raise ClaimLost(f"You {before} this image; it waits for a second person.")
    if claim is not None:
        claim.delete()
        if claim.lease_expires_at > timezone.now():
            return
    if not free_slots(item.dataset, [locked])[item.pk]:
        raise ClaimLost("Somebody else has taken this image in the meantime; your verdict was not recorded.")


def undo_last(*, dataset: Dataset, reviewer: Person, key: UUID) -> Verdict | None:
    """Take back this person's last verdict in the dataset that still stands, also one of yesterday.

    The item becomes a claim of this person again, shown first. An answer to a golden image is taken back like any
    other verdict.

    Returns:
        the undo, or None when there is nothing to undo.

    Raises:
        Conflict: somebody else holds or has decided the image since.
        WrongUsage: the key is derived from another (a UUID of version 5), by which redo would not find it.
    """
    if key.version == _DERIVED:
        raise WrongUsage("Expected a random key (UUID version 4), received one of version 5.")
    with transaction.atomic():
        repeated = _undone_before(key, reviewer)
        if repeated is not None:
            return repeated
        last = last_standing(dataset, reviewer)
        answer = (
            GoldenAnswer.objects.filter(reviewer=reviewer, image__dataset=dataset, taken_back_at__isnull=True)
            .select_related("image__item")
            .order_by("-id")
            .first()
        )
        _check_no_escalation_since(dataset, reviewer, last, answer)
        if answer is not None and (last is None or answer.created_at > last.created_at):
            return _undo_golden(answer, reviewer, key)
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
        repeated = _undone_before(key, reviewer)
        if repeated is not None:
            return repeated
        golden = GoldenAnswer.objects.select_related("image__item").filter(
            key=undoes, reviewer=reviewer, image__dataset=dataset
        )
        answer = golden.first()
        if answer is not None:
            if answer.taken_back_at is not None:
                raise Conflict("This verdict was taken back already.")
            return _undo_golden(answer, reviewer, key)
        own = Verdict.everything.select_related("image", "bulk").filter(reviewer=reviewer, image__dataset=dataset)
        verdict = own.filter(key=undoes).exclude(kind=VerdictKind.UNDO).first()
        return None if verdict is None else _undo_with_its_group(verdict, reviewer, key)


def _undo_golden(answer: GoldenAnswer, reviewer: Person, key: UUID) -> Verdict:
    take_back_answer(answer=answer, key=key)
    _hand_golden_over(answer, reviewer)
    return Verdict(image_id=answer.image_id, reviewer=reviewer, kind=VerdictKind.UNDO, key=key)


def _undo_with_its_group(verdict: Verdict, reviewer: Person, key: UUID) -> Verdict:
    """Take back a verdict and those that it gave to the items it represented."""
    undo = undo_verdict(verdict=verdict, reviewer=reviewer, key=key)
    if verdict.bulk is not None and verdict.bulk.kind != BulkKind.REVERT:
        with_it, _ = reversible_verdicts(verdict.bulk)
        undo_verdicts(with_it, reviewer, key, None)
    return undo


def redo_last(*, dataset: Dataset, reviewer: Person, key: UUID) -> Verdict | None:
    """Put back what this person took back last, unless they have decided anything since: undo the undo.

    Returns:
        the undo of the undo, or None when there is nothing to put back.

    Raises:
        Conflict: somebody else has decided the image since.
    """
    with transaction.atomic():
        repeated = _undone_before(key, reviewer)
        if repeated is not None:
            return repeated
        own = Verdict.objects.filter(reviewer=reviewer, image__dataset=dataset)
        answers = GoldenAnswer.objects.filter(reviewer=reviewer, image__dataset=dataset)
        decided = own.exclude(kind__in=NO_DECISIONS).order_by("-id").first()
        answered = answers.order_by("-id").first()
        since = max((one.created_at for one in (decided, answered) if one is not None), default=None)
        if since is None:
            return None
        undo = _last_undo(own.filter(created_at__gte=since))
        answer = answers.filter(taken_back_at__gte=since).order_by("-taken_back_at").first()
        moment = answer.taken_back_at if answer is not None else None
        if answer is not None and moment is not None and (undo is None or moment > undo.created_at):
            put_back_answer(answer=answer, key=key)
            return _as_verdict(answer)
        return _redo(undo, reviewer, key) if undo is not None else None


def _last_undo(own: QuerySet[Verdict]) -> Verdict | None:
    """The newest undo by which something is taken back now. What went back along with it has a derived key."""
    undos = own.filter(kind=VerdictKind.UNDO, undone_by__isnull=True, bulk__isnull=True)
    for undo in undos.select_related("undoes", "image").order_by("-id"):
        if undo.key.version != _DERIVED and _origin(undo)[1] % 2:
            return undo
    return None


def _redo(undo: Verdict, reviewer: Person, key: UUID) -> Verdict:
    origin, _ = _origin(undo)
    redo = undo_verdict(verdict=undo, reviewer=reviewer, key=key)
    if origin.bulk is not None and origin.bulk.kind != BulkKind.REVERT:
        others = newest_undos(list(origin.bulk.verdicts.exclude(pk=origin.pk)))
        with_it = [one.newest for one in others if one.newest.key == uuid5(undo.key, str(one.newest.undoes_id))]
        undo_verdicts(with_it, reviewer, key, None)
    return redo


def last_standing(dataset: Dataset, reviewer: Person) -> Verdict | None:
    """This person's newest verdict in the dataset that no undo in force takes back."""
    own = (
        Verdict.objects.select_related("image", "bulk")
        .filter(reviewer=reviewer, image__dataset=dataset)
        .exclude(kind__in=NO_DECISIONS)
        .order_by("-id")
    )
    never_undone = own.filter(undone_by__isnull=True).first()
    # Few verdicts were taken back and put back again; these may be newer.
    put_back = own.filter(undone_by__undone_by__isnull=False, pk__gt=never_undone.pk if never_undone else 0)
    again = (one.verdict for one in newest_undos(list(put_back)) if one.stands)
    return next(again, never_undone)


def _origin(undo: Verdict) -> tuple[Verdict, int]:
    """The verdict that a chain of undos goes back to, and how many undos there are."""
    times, verdict = 0, undo
    while verdict.undoes is not None:
        verdict, times = verdict.undoes, times + 1
    return verdict, times


def _check_there(image_id: int) -> None:
    """Refuse what is about an image in quarantine, in words that do not say that it is there.

    Asked after the item is locked, so that it sees an escalation which came first.
    """
    if Quarantine.objects.filter(image=image_id).exists():
        raise ClaimLost("This image is no longer in the queue; your verdict was not needed and nothing was changed.")


def _check_reversible(verdict: Verdict) -> None:
    if verdict.kind == VerdictKind.ESCALATE:
        raise Conflict(_NOT_TAKEN_BACK)
    if Quarantine.objects.filter(image=verdict.image_id).exists():
        raise Conflict("This image is no longer in this dataset's queue; nothing was taken back.")


def _check_no_escalation_since(
    dataset: Dataset, reviewer: Person, last: Verdict | None, answer: GoldenAnswer | None
) -> None:
    """Refuse to take back what came before an escalation, when the escalation is what the person did last."""
    since = max((one.created_at for one in (last, answer) if one is not None), default=None)
    escalated = Verdict.everything.filter(
        reviewer=reviewer, image__dataset=dataset, kind=VerdictKind.ESCALATE, image__quarantine__isnull=False
    )
    if (escalated.filter(created_at__gte=since) if since else escalated).exists():
        raise Conflict(_NOT_TAKEN_BACK)


def undo_verdict(*, verdict: Verdict, reviewer: Person, key: UUID) -> Verdict:
    """Take one verdict back by appending an undo; an item that waits for a verdict again is given to this person.

    A verdict that was put back is taken back by undoing what put it back. Of several independent verdicts on an image
    each can be taken back by itself.

    Raises:
        Conflict: it was taken back already, a later verdict stands on it, or somebody else holds the item.
    """
    with transaction.atomic():
        _check_reversible(verdict)
        (chain,) = newest_undos([verdict])
        if not chain.stands:
            raise Conflict("This verdict was taken back already.")
        later = (
            Verdict.objects.filter(image_id=verdict.image_id, pk__gt=verdict.pk, undone_by__isnull=True)
            .filter(Q(alone=True) | Q(wanted=1))
            .exclude(kind__in=NO_DECISIONS)
            .exclude(reviewer=reviewer)
            .select_related("reviewer")
            .first()
        )
        if later is not None:
            raise Conflict(
                f"{later.reviewer} decided this image after you ({later.get_kind_display()}); "
                "their verdict has to be taken back first."
            )
        item = ReviewItem.objects.select_for_update().filter(image_id=verdict.image_id).first()
        try:
            with transaction.atomic():
                undo = Verdict(
                    image_id=verdict.image_id,
                    reviewer=reviewer,
                    kind=VerdictKind.UNDO,
                    undoes=chain.newest,
                    key=key,
                )
                undo = append_verdict(verdict.image, undo)
        except IntegrityError as error:
            raise Conflict("This verdict was taken back already.") from error
        if item is not None:
            _hand_over(item, reviewer)
        return undo


def _hand_over(item: ReviewItem, reviewer: Person) -> None:
    """Give the item to the person who took a verdict back, where it waits for one of theirs again."""
    Claim.objects.filter(item=item, reviewer=reviewer, golden=False).delete()
    now = timezone.now()
    item = ReviewItem.objects.select_related("dataset").get(pk=item.pk)
    answered = FilledSlot.objects.filter(item=item, reviewer=reviewer).exists()
    if answered or item.state not in {ItemState.OPEN, ItemState.UNSURE}:
        return
    free = free_slots(item.dataset, [item])[item.pk]
    if not free:
        holder = Claim.objects.select_related("reviewer").filter(item=item, golden=False, lease_expires_at__gt=now)
        names = ", ".join(str(claim.reviewer) for claim in holder)
        raise Conflict(f"{names} holds this image right now; try again when they are done.")
    Claim.objects.filter(item=item, golden=False, lease_expires_at__lte=now).delete()
    Claim.objects.filter(item=item, reviewer=reviewer).delete()
    Claim.objects.create(item=item, slot=free[0], reviewer=reviewer, lease_expires_at=now + lease(), returned=True)


def _hand_golden_over(answer: GoldenAnswer, reviewer: Person) -> None:
    item = ReviewItem.objects.filter(image=answer.image_id).first()
    if item is None:
        return
    Claim.objects.filter(item=item, reviewer=reviewer).delete()
    Claim.objects.create(
        item=item,
        reviewer=reviewer,
        lease_expires_at=timezone.now() + lease(),
        returned=True,
        golden=True,
        blind=answer.blind,
    )


def review_separately(*, item: ReviewItem) -> int:
    """A person saw that the images which this item represents are unlike it: each becomes an item of its own.

    Returns:
        how many items were set free.
    """
    with transaction.atomic():
        return ReviewItem.objects.filter(represented_by=item).update(represented_by=None, stands_alone=True)


def _check_kind(item: ReviewItem, kind: VerdictKind, label: TaxonomyClass | None) -> None:
    if kind in NO_DECISIONS:
        raise WrongUsage("Expected keep, relabel, exclude or unsure; undo, ask, reopen and escalate are none.")
    check_label(item.dataset, kind, label)


def _answer(item: ReviewItem, kind: VerdictKind, label: TaxonomyClass | None) -> int:
    if kind == VerdictKind.EXCLUDE:
        return EXCLUDE
    return label.pk if label is not None else item.image.given_class_id


def _golden_before(key: UUID) -> Verdict | None:
    answer = GoldenAnswer.everything.filter(key=key).first()
    return _as_verdict(answer) if answer else None


def _as_verdict(answer: GoldenAnswer) -> Verdict:
    return Verdict(
        image_id=answer.image_id,
        reviewer_id=answer.reviewer_id,
        kind=answer.kind,
        label=answer.label,
        key=answer.key,
        seconds=answer.seconds,
        blind=answer.blind,
    )


def _undone_before(key: UUID, reviewer: Person) -> Verdict | None:
    """What this key did before; a repeated request does nothing more."""
    verdict = Verdict.everything.filter(key=key, reviewer=reviewer).first()
    if verdict is not None:
        return verdict
    answer = GoldenAnswer.everything.filter(Q(taken_back_key=key) | Q(put_back_key=key), reviewer=reviewer).first()
    return Verdict(image_id=answer.image_id, reviewer=reviewer, kind=VerdictKind.UNDO, key=key) if answer else None


def _same_decision(
    first: Verdict, image_id: int, reviewer: Person, kind: VerdictKind, label: TaxonomyClass | None
) -> Verdict:
    received = (image_id, reviewer.pk, kind, label.pk if label else None)
    if (first.image_id, first.reviewer_id, first.kind, first.label_id) != received:
        raise Conflict("This key was already used for another decision; nothing was changed.")
    return first
