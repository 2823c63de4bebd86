"""Escalations: an image that may be illegal leaves everybody's sight at once, and restricted staff decide about it.

An escalation is about bytes: every image that has them, in whatever dataset, goes into quarantine with it, and so does
any that is imported later. What people do about a case is a log of events; its state is their fold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4, uuid5

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from labeling.errors import Conflict, NotAllowed, NothingToDo, WrongUsage
from labeling.models import (
    Claim,
    Dataset,
    Escalation,
    EscalationEvent,
    EscalationEventKind,
    EscalationState,
    Image,
    Person,
    Quarantine,
    ReviewItem,
    Run,
    Verdict,
    VerdictKind,
    visible,
)

AGREEING = 2
MOST_AT_ONCE = 500
MOST_NOTE = 1000
_VOTES = {
    EscalationEventKind.FOR_RELEASE: EscalationState.RELEASED,
    EscalationEventKind.FOR_KEEPING: EscalationState.KEPT,
}
# Of PostgreSQL's advisory locks, any number that nothing else here uses.
_LOCK = 20261121
_WITHHELD = "(in quarantine)"


@dataclass(frozen=True)
class CaseStanding:
    """What a case's events make of it; `votes` are those of the round that is open: person → for releasing it."""

    state: EscalationState
    legal_hold: bool
    purged: bool
    votes: tuple[tuple[int, bool], ...]


def fold_case(events: Iterable[EscalationEvent]) -> CaseStanding:
    """The standing of a case from its events in order; a function of these alone.

    Two different people who say the same decide; whoever says otherwise later takes their own word back. A case that
    is kept can be decided again, by two again; one that is released is over.
    """
    state, hold, purged = EscalationState.OPEN, False, False
    votes: dict[int, EscalationState] = {}
    for event in events:
        kind = EscalationEventKind(event.kind)
        if kind in _VOTES and event.person_id is not None and state != EscalationState.RELEASED:
            wanted = _VOTES[kind]
            votes[event.person_id] = wanted
            if sum(one == wanted for one in votes.values()) >= AGREEING:
                state, votes = wanted, {}
        elif kind in {EscalationEventKind.HOLD_ON, EscalationEventKind.HOLD_OFF}:
            hold = kind == EscalationEventKind.HOLD_ON
        elif kind == EscalationEventKind.PURGED:
            purged = True
    return CaseStanding(
        state, hold, purged, tuple((who, wanted == EscalationState.RELEASED) for who, wanted in votes.items())
    )


@dataclass(frozen=True)
class Escalated:
    """`images` were asked for, and `quarantined` went into quarantine: these and all with the same bytes."""

    images: int
    quarantined: int


def escalate(
    *,
    dataset: Dataset,
    images: Sequence[int],
    person: Person,
    key: UUID,
    note: str = "",
    seconds: float | None = None,
    blind: bool = False,
) -> Escalated:
    """Put images into quarantine, with every image of any dataset that has the same bytes.

    One transaction: a verdict in the log of each image, its case with the event, the quarantine, and the end of every
    claim. An image that is in quarantine already is escalated once more: its case notes who else did.

    Args:
        images: keys of images of the dataset; others are passed over.
        key: made once; sending it again changes nothing. A single image's verdict has it, as any verdict has.
        note: what the person has to say to those who decide.
        seconds, blind: as of `record_verdict`.

    Raises:
        NothingToDo: none of the images is of this dataset.
        WrongUsage: more than `MOST_AT_ONCE` images, or a note that is too long.
    """
    if len(images) > MOST_AT_ONCE:
        raise WrongUsage(
            f"Expected at most {MOST_AT_ONCE} images to escalate at once, received {len(images):,}; nothing changed."
        )
    note = _checked_note(note)
    with transaction.atomic():
        one_at_a_time()
        wanted = list(Image.everything.filter(dataset=dataset, pk__in=images).order_by("pk"))
        if not wanted:
            raise NothingToDo("None of these images is in this dataset; nothing was escalated.")
        quarantined = 0
        for place, image in enumerate(wanted):
            own_key = key if place == 0 else uuid5(key, str(image.pk))
            if Verdict.everything.filter(key=own_key).exists():
                continue
            quarantined += _escalate(image, person, own_key, note, seconds, blind)
    return Escalated(len(wanted), quarantined)


def quarantine_known_bytes(images: Sequence[Image]) -> int:
    """Put those of these new images into quarantine whose bytes are there already; how many. Within a transaction."""
    cases = {
        case.sha256: case
        for case in Escalation.objects.exclude(state=EscalationState.RELEASED).filter(
            sha256__in={image.sha256 for image in images}
        )
    }
    found = [image for image in images if image.sha256 in cases]
    for image in found:
        _quarantine([image], cases[image.sha256], None)
    return len(found)


def one_at_a_time() -> None:
    """Within a transaction: wait until no other is escalating or importing, so that neither overlooks the other.

    SQLite has one writer anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def decide_case(*, case: Escalation, person: Person, release: bool, note: str, key: UUID) -> Escalation:
    """Say whether a case is to be released, back to where its images were, or kept; two different people decide.

    Raises:
        NotAllowed: the person may not decide escalations.
        Conflict: it is released already, or this person has said so already and a second one has to agree.
    """
    note = _checked_note(note)
    kind = EscalationEventKind.FOR_RELEASE if release else EscalationEventKind.FOR_KEEPING
    with transaction.atomic():
        locked = _locked_case(case, person)
        if EscalationEvent.objects.filter(key=key).exists():
            return locked
        before = fold_case(locked.events.all())
        if before.state == EscalationState.RELEASED:
            raise Conflict("This case is released already; nothing was changed.")
        if (person.pk, release) in before.votes:
            raise Conflict("You have said so already; a second authorised person has to agree.")
        EscalationEvent.objects.create(escalation=locked, kind=kind, person=person, note=note, key=key)
        standing = fold_case(locked.events.all())
        if standing.state != locked.state:
            locked.state = standing.state
            locked.save(update_fields=["state"])
            if standing.state == EscalationState.RELEASED:
                locked.quarantined.all().delete()
    return locked


def set_legal_hold(*, case: Escalation, person: Person, on: bool, note: str, key: UUID) -> Escalation:
    """Keep our copies of a case whatever its retention date says, or end that. A reason is required.

    Raises:
        NotAllowed: the person may not decide escalations.
        WrongUsage: no reason was given.
        Conflict: it is so already.
    """
    note = _checked_note(note, required="why the hold begins or ends")
    with transaction.atomic():
        locked = _locked_case(case, person)
        if EscalationEvent.objects.filter(key=key).exists():
            return locked
        if locked.legal_hold == on:
            raise Conflict("This case is under legal hold already." if on else "This case is under no legal hold.")
        kind = EscalationEventKind.HOLD_ON if on else EscalationEventKind.HOLD_OFF
        EscalationEvent.objects.create(escalation=locked, kind=kind, person=person, note=note, key=key)
        locked.legal_hold = on
        locked.save(update_fields=["legal_hold"])
    return locked


def log_listed(*, person: Person) -> None:
    """Note that the person looked at the list of cases."""
    _log(None, EscalationEventKind.LISTED, person)


def log_opened(*, case: Escalation, person: Person) -> None:
    """Note that the person opened a case."""
    _log(case, EscalationEventKind.OPENED, person)


def log_look(*, case: Escalation, person: Person, image: Image, reason: str) -> None:
    """Note that the person is about to see the image; nothing is shown before this is written.

    Raises:
        NotAllowed: the person may not decide escalations.
        WrongUsage: no reason was given.
    """
    _log(case, EscalationEventKind.LOOKED, person, image, _checked_note(reason, required="why you look at it"))


def log_export(*, case: Escalation, person: Person, reason: str, with_image: bool) -> None:
    """Note that the person takes the case file.

    Raises:
        NotAllowed: the person may not decide escalations.
        WrongUsage: the image is asked for and no reason was given.
    """
    kind = EscalationEventKind.EXPORTED_IMAGE if with_image else EscalationEventKind.EXPORTED
    note = _checked_note(reason, required="why the image is taken too" if with_image else "")
    _log(case, kind, person, note=note)


def record_purge(*, case: Escalation, note: str) -> None:
    """Note that our copies were removed; they are, when this is called."""
    with transaction.atomic():
        EscalationEvent.objects.create(escalation=case, kind=EscalationEventKind.PURGED, note=note[:MOST_NOTE])
        case.purged_at = timezone.now()
        case.save(update_fields=["purged_at"])


def set_permission(*, person: Person, escalations: bool) -> None:
    """Let a person see and decide escalations, or no longer; noted in the log."""
    with transaction.atomic():
        changed = Person.objects.filter(pk=person.pk).exclude(escalations=escalations).update(escalations=escalations)
        if changed:
            kind = EscalationEventKind.GRANTED if escalations else EscalationEventKind.WITHDRAWN
            EscalationEvent.objects.create(kind=kind, person=person)
    person.escalations = escalations


def may_decide(person: Person) -> bool:
    """Whether the person may see and decide escalations, as it stands now; nothing else gives that."""
    return Person.objects.filter(pk=person.pk, is_active=True, escalations=True).exists()


def _escalate(image: Image, person: Person, key: UUID, note: str, seconds: float | None, blind: bool) -> int:
    case, _ = Escalation.objects.exclude(state=EscalationState.RELEASED).get_or_create(
        sha256=image.sha256,
        defaults={"retain_until": timezone.now() + timedelta(days=settings.ESCALATION_RETENTION_DAYS)},
    )
    Verdict(image=image, reviewer=person, kind=VerdictKind.ESCALATE, key=key, seconds=seconds, blind=blind).save(
        force_insert=True
    )
    EscalationEvent.objects.create(
        escalation=case,
        kind=EscalationEventKind.ESCALATED,
        person=person,
        image=image,
        note=note,
        key=uuid5(key, "escalated"),
    )
    # Dataset by dataset, as the index is: none is on the bytes alone.
    same = Image.everything.filter(sha256=image.sha256, dataset__in=list(Dataset.objects.values_list("pk", flat=True)))
    fresh = list(same.filter(visible()).select_for_update(of=("self",)).order_by("pk"))
    _quarantine(fresh, case, image)
    return len(fresh)


def _quarantine(images: Sequence[Image], case: Escalation, escalated: Image | None) -> None:
    """Hide images that are not hidden yet, and everything that would name them."""
    keys = [image.pk for image in images]
    if not keys:
        return
    items = list(ReviewItem.everything.select_for_update(of=("self",)).filter(image__in=keys).order_by("pk"))
    of_image = {item.image_id: item for item in items}
    Quarantine.objects.bulk_create(
        [Quarantine(image_id=key, item=of_image.get(key), escalation=case) for key in keys], ignore_conflicts=True
    )
    Claim.everything.filter(item__in=items).delete()
    for item in items:
        _represent_by_another(item)
    for image in images:
        _centre_on_another(image)
        _take_out_of_words(image)
    EscalationEvent.objects.bulk_create(
        EscalationEvent(escalation=case, kind=EscalationEventKind.FOUND, image=image)
        for image in images
        if escalated is None or image.pk != escalated.pk
    )


def _represent_by_another(item: ReviewItem) -> None:
    """The near duplicates that an item stood for are reviewed on: the first of them stands for the others."""
    represented: QuerySet[ReviewItem] = ReviewItem.everything.filter(represented_by=item)
    first = represented.filter(visible("image")).order_by("priority", "pk").first()
    if first is not None:
        ReviewItem.everything.filter(pk=first.pk).update(
            represented_by=None, suspected=first.suspected or item.suspected
        )
    represented.update(represented_by=first)
    ReviewItem.everything.filter(pk=item.pk).update(represented_by=None)


def _centre_on_another(image: Image) -> None:
    """No near-duplicate group is named by an image in quarantine, nor counts it."""
    others = Image.everything.filter(visible(), duplicate_group=image).exclude(pk=image.pk).order_by("pk")
    keys = list(others.values_list("pk", flat=True))
    Image.everything.filter(pk__in=keys).update(duplicate_group=keys[0] if len(keys) > 1 else None)
    Image.everything.filter(pk=image.pk).update(duplicate_group=None)


def _take_out_of_words(image: Image) -> None:
    """Runs that failed because of an image name it in their error; a refusal names it by path and is hidden itself."""
    for run in Run.objects.filter(dataset=image.dataset_id, error__contains=image.path):
        Run.objects.filter(pk=run.pk).update(error=run.error.replace(image.path, _WITHHELD))


def _locked_case(case: Escalation, person: Person) -> Escalation:
    if not may_decide(person):
        raise NotAllowed("Only people with the escalation permission decide what is in quarantine.")
    return Escalation.objects.select_for_update().get(pk=case.pk)


def _log(
    case: Escalation | None, kind: EscalationEventKind, person: Person, image: Image | None = None, note: str = ""
) -> None:
    with transaction.atomic():
        if not may_decide(person):
            raise NotAllowed("Only people with the escalation permission see what is in quarantine.")
        EscalationEvent.objects.create(escalation=case, kind=kind, person=person, image=image, note=note, key=uuid4())


def _checked_note(note: str, *, required: str = "") -> str:
    note = note.replace("\0", "\ufffd").strip()
    if required and not note:
        raise WrongUsage(f"Expected a reason, received none: say {required}.")
    if len(note) > MOST_NOTE:
        raise WrongUsage(f"Expected a note of at most {MOST_NOTE:,} characters, received {len(note):,}.")
    return note
