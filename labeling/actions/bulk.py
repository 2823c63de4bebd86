"""Bulk actions: many verdicts by one act of one person, taken back as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from labeling.access import may_adjudicate
from labeling.actions.standing import CHUNK, append_verdicts, people_who_count
from labeling.errors import Conflict, NotAllowed, NothingToDo, WrongUsage
from labeling.models import (
    NO_DECISIONS,
    BulkAction,
    BulkKind,
    Claim,
    Consensus,
    Dataset,
    FilledSlot,
    Image,
    ItemState,
    Person,
    ReviewItem,
    Source,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)

MOST_AT_ONCE = 10_000
"""Images of one act: a write keeps SQLite's only writer, and everybody else waits meanwhile."""

_WHOLE: dict[VerdictKind, str] = {
    VerdictKind.KEEP: "kept",
    VerdictKind.RELABEL: "relabelled",
    VerdictKind.EXCLUDE: "excluded",
}
_IN_WORDS: dict[BulkKind, dict[VerdictKind, str]] = {
    BulkKind.GROUP: _WHOLE,
    BulkKind.SOURCE: _WHOLE,
    BulkKind.EXPLORER: _WHOLE | {VerdictKind.UNSURE: "sent to a second person"},
}
MOST_VERDICTS = 9


def settle_represented(item: ReviewItem, verdict: Verdict) -> BulkAction | None:
    """Give the represented items the verdict of their representative, as one act."""
    represented = list(
        Image.objects.filter(item__represented_by=item, item__state=ItemState.OPEN)
        .exclude(pk=item.image_id)
        .order_by("pk")
    )
    if not represented:
        return None
    wanted_id = verdict.label_id or item.image.given_class_id
    count = len(represented)
    act = BulkAction.objects.create(
        dataset=item.dataset,
        kind=BulkKind.GROUP,
        person=verdict.reviewer,
        summary=f"{VerdictKind(verdict.kind).label} image {item.image_id} and its "
        f"{count} near duplicate{'s' if count > 1 else ''}",
        key=uuid5(verdict.key, "group"),
    )
    append_verdicts(
        [
            verdict_like(verdict, image, wanted_id, key=uuid5(verdict.key, str(image.pk)), bulk=act)
            for image in represented
        ]
    )
    return act


def verdict_like(verdict: Verdict, image: Image, wanted_id: int, *, key: UUID, bulk: BulkAction) -> Verdict:
    """The same decision on another image, unsaved: `wanted_id` is the class that it is to have."""
    kind, label_id = VerdictKind(verdict.kind), None
    if kind not in {VerdictKind.EXCLUDE, VerdictKind.UNSURE}:
        kind = VerdictKind.KEEP if image.given_class_id == wanted_id else VerdictKind.RELABEL
        label_id = wanted_id if kind == VerdictKind.RELABEL else None
    return Verdict(
        image_id=image.pk,
        reviewer=verdict.reviewer,
        kind=kind,
        label_id=label_id,
        key=key,
        bulk=bulk,
        blind=False,
        wanted=verdict.wanted,
        rule=verdict.rule,
        senior=verdict.senior,
        alone=verdict.alone,
        evidence=verdict.evidence,
    )


@dataclass(frozen=True)
class Reverted:
    """`verdicts` were taken back; `left` stand, because somebody decided those images since."""

    action: BulkAction
    verdicts: int
    left: int


def revert_bulk_action(*, action: BulkAction, person: Person, key: UUID) -> Reverted:
    """Take back every verdict of a bulk action that nobody has decided upon since; a revert can be reverted in turn.

    Raises:
        Conflict: it was reverted already, or nothing of it stands any more.
    """
    with transaction.atomic():
        repeated = BulkAction.objects.filter(key=key, reverts=action).first()
        if repeated is not None:
            return Reverted(repeated, repeated.verdicts.count(), 0)
        if BulkAction.objects.filter(reverts=action).exists():
            raise Conflict("This was taken back already; take back that instead to bring it again.")
        verdicts, left = reversible_verdicts(action)
        if not verdicts:
            raise Conflict("Nothing of this stands any more: every image of it was decided again since.")
        revert = BulkAction.objects.create(
            dataset=action.dataset,
            kind=BulkKind.REVERT,
            person=person,
            summary=f"took back: {action.summary}"[:300],
            reverts=action,
            key=key,
        )
        undo_verdicts(verdicts, person, key, revert)
    return Reverted(revert, len(verdicts), left)


@dataclass(frozen=True)
class Chain:
    """A row of the log, the newest of the undos that go back to it (itself if there is none), and how many."""

    verdict: Verdict
    newest: Verdict
    undos: int

    @property
    def stands(self) -> bool:
        return self.undos % 2 == 0


def newest_undos(verdicts: Sequence[Verdict]) -> list[Chain]:
    """The chain of undos of each verdict; a query for each undo of an undo, however many verdicts there are."""
    chains = {verdict.pk: Chain(verdict, verdict, 0) for verdict in verdicts}
    by_newest = {verdict.pk: verdict.pk for verdict in verdicts}
    while by_newest:
        keys, found = list(by_newest), {}
        for start in range(0, len(keys), CHUNK):
            for undo in Verdict.everything.filter(undoes__in=keys[start : start + CHUNK]):
                origin = by_newest[undo.undoes_id or 0]
                chains[origin] = Chain(chains[origin].verdict, undo, chains[origin].undos + 1)
                found[undo.pk] = origin
        by_newest = found
    return [chains[verdict.pk] for verdict in verdicts]


def reversible_verdicts(action: BulkAction) -> tuple[list[Verdict], int]:
    """What to undo to take the action back: of its verdicts that stand and that nothing later stands upon.

    Returns:
        for each of these the newest row of its chain, and how many verdicts of the action cannot be taken back.
    """
    verdicts = list(action.verdicts.order_by("pk"))
    free = _free(verdicts)
    return free, len(verdicts) - len(free)


def _free(verdicts: Sequence[Verdict]) -> list[Verdict]:
    standing = [chain for chain in newest_undos(verdicts) if chain.stands]
    decided: dict[int, int] = {}
    settled: dict[int, int] = {}
    for start in range(0, len(standing), CHUNK):
        images = [chain.verdict.image_id for chain in standing[start : start + CHUNK]]
        later = Verdict.objects.filter(image__in=images, undone_by__isnull=True).exclude(kind__in=NO_DECISIONS)
        newest = later.values_list("image_id").annotate(newest=Max("pk")).order_by()
        decided |= dict(newest)
        settled |= dict(newest.filter(Q(alone=True) | Q(wanted=1)))
    free = []
    for chain in standing:
        # Independent verdicts of several people do not stand upon each other; upon an event everything later does.
        independent = chain.verdict.kind not in {VerdictKind.ASK, VerdictKind.REOPEN}
        since = (settled if independent else decided).get(chain.verdict.image_id, 0)
        if since <= chain.verdict.pk:
            free.append(chain.newest)
    return free


def undo_verdicts(verdicts: Sequence[Verdict], person: Person, key: UUID, bulk: BulkAction | None) -> None:
    append_verdicts(
        [
            Verdict(
                image_id=verdict.image_id,
                reviewer=person,
                kind=VerdictKind.UNDO,
                undoes=verdict,
                key=uuid5(key, str(verdict.pk)),
                bulk=bulk,
            )
            for verdict in verdicts
        ]
    )


def decide_source(
    *, source: Source, person: Person, kind: VerdictKind, label: TaxonomyClass | None, key: UUID
) -> BulkAction:
    """Decide every image of a source that no person has decided yet, as one act that can be taken back.

    Args:
        kind: keep, relabel or exclude.
        label: the class of a relabel; None otherwise.
        key: made once for a decision; sending it again returns the first act.

    Raises:
        WrongUsage: a kind or a class that does not fit.
        NothingToDo: people have decided every image of it.
    """
    images = Image.objects.filter(source=source).exclude(item__state=ItemState.SETTLED)
    return _decide_images(source.dataset, images, BulkKind.SOURCE, f"of {source.name}", person, kind, label, key)


def decide_group(
    *, centre: Image, person: Person, kind: VerdictKind, label: TaxonomyClass | None, key: UUID
) -> BulkAction:
    """Decide every image of a near-duplicate group, those that people had decided too: they looked at one by one.

    Args:
        centre: the image that the group is named by.
        kind, label, key: as of `decide_source`.

    Raises:
        WrongUsage: a kind or a class that does not fit.
        NotAllowed: the dataset wants several verdicts an image, and this person's alone may not settle one.
        NothingToDo: the group has no image any more.
    """
    if centre.dataset.verdicts_wanted > 1 and not may_adjudicate(person, centre.dataset):
        raise NotAllowed(
            f"{centre.dataset.slug} wants {centre.dataset.verdicts_wanted} people to judge an image, so only a lead or "
            "a senior decides a whole group. Review its images one by one."
        )
    images = Image.objects.filter(duplicate_group=centre)
    words = f"of the near-duplicate group {centre.pk}"
    return _decide_images(centre.dataset, images, BulkKind.GROUP, words, person, kind, label, key)


def decide_selection(
    *,
    dataset: Dataset,
    images: QuerySet[Image],
    person: Person,
    kind: VerdictKind,
    label: TaxonomyClass | None,
    key: UUID,
    expected: int | None = None,
) -> BulkAction:
    """Decide a selection of images, whatever was decided about them before, as one act that can be taken back.

    Args:
        images: of this dataset; others are left out.
        kind: keep, relabel, exclude, or unsure, which sends them to a second person. An image that is excluded
            already is not excluded again, and one that is not ranked cannot wait for a second person.
        label: the class of a relabel; None otherwise.
        key: made once for a decision; sending it again returns the first act.
        expected: how many images the person was told of; None when they named each.

    Raises:
        WrongUsage: a kind or a class that does not fit, or more than `MOST_AT_ONCE` images.
        Conflict: there are more images by now than the person was told of.
        NothingToDo: no image is left of the selection.
    """
    if kind == VerdictKind.EXCLUDE:
        images = images.filter(excluded=False)
    if kind == VerdictKind.UNSURE:
        images = images.filter(item__isnull=False).exclude(item__state=ItemState.UNSURE)
    check_size(images.filter(dataset=dataset), expected)
    return _decide_images(
        dataset, images, BulkKind.EXPLORER, "of a selection", person, kind, label, key, excluded_too=True
    )


def check_size(images: QuerySet[Image], expected: int | None = None) -> None:
    """Refuse to do something to more images at once than the person was told of, or than one act may be about.

    Raises:
        WrongUsage: more than `MOST_AT_ONCE`.
        Conflict: more than `expected`.
    """
    count = images.order_by().values("pk")[: MOST_AT_ONCE + 1].count()
    if count > MOST_AT_ONCE:
        raise WrongUsage(
            f"Expected at most {MOST_AT_ONCE:,} images at once, received more; narrow the filters and do it in parts. "
            "Nothing was changed."
        )
    if expected is not None and count > expected:
        raise Conflict(f"{count:,} images match by now, not the {expected:,} you saw; look again. Nothing was changed.")


@dataclass(frozen=True)
class SettledPage:
    """What became of a page of a grid: `settled` items by `act`, and `lost` that others took or settled meanwhile."""

    act: BulkAction | None
    settled: int
    lost: int


def settle_page(
    *,
    dataset: Dataset,
    reviewer: Person,
    shown: Sequence[int],
    selected: Sequence[int],
    label: TaxonomyClass,
    key: UUID,
) -> SettledPage:
    """Give the selected items of a page the label that the page suggested, as one act; give the others back.

    The open items that a selected one represents get the label too, as they do in focus mode.

    Args:
        shown, selected: keys of review items; what is selected counts as shown.
        label: the suggestion as the page showed it; a ranking may have come since.
        key: made once for a page; sending it again changes nothing and returns the first act.

    Raises:
        WrongUsage: a class of another taxonomy.
    """
    if label.taxonomy_id != dataset.taxonomy_id:
        raise WrongUsage(f"{label.name} is not a class of this dataset's taxonomy.")
    with transaction.atomic():
        repeated = BulkAction.objects.filter(key=key, dataset=dataset, person=reviewer).first()
        if repeated is not None:
            return SettledPage(repeated, repeated.verdicts.filter(shown_suggestion__isnull=False).count(), 0)
        wanted = list(
            ReviewItem.objects.select_for_update(of=("self",))
            .select_related("image")
            .filter(dataset=dataset, pk__in=selected)
            .order_by("pk")
        )
        taken = set(
            Claim.objects.filter(item__in=wanted, lease_expires_at__gt=timezone.now())
            .exclude(reviewer=reviewer)
            .values_list("item", flat=True)
        )
        # As in focus mode, a decision counts after its lease while nobody else has taken the item.
        ours = [item for item in wanted if item.state != ItemState.SETTLED and item.pk not in taken]
        act = _settle(dataset, reviewer, ours, label, key) if ours else None
        Claim.objects.filter(item__in=[item.pk for item in ours]).delete()
        Claim.objects.filter(item__in=shown, reviewer=reviewer).delete()
    return SettledPage(act, len(ours), len(set(selected)) - len(ours))


def _settle(
    dataset: Dataset, reviewer: Person, items: Sequence[ReviewItem], label: TaxonomyClass, key: UUID
) -> BulkAction:
    near = list(
        Image.objects.filter(item__represented_by__in=items, item__state=ItemState.OPEN)
        .exclude(item__in=items)
        .order_by("pk")
    )
    count = len(items)
    too = f" and {len(near):,} near duplicate{'s' if len(near) > 1 else ''}" if near else ""
    act = BulkAction.objects.create(
        dataset=dataset,
        kind=BulkKind.GRID,
        person=reviewer,
        summary=f"{count:,} image{'s' if count > 1 else ''}{too} settled as {label.name}",
        key=key,
    )
    like = Verdict(reviewer=reviewer, kind=VerdictKind.RELABEL, label=label)
    verdicts = []
    for item in items:
        verdict = verdict_like(like, item.image, label.pk, key=uuid5(key, str(item.image_id)), bulk=act)
        verdict.shown_suggestion, verdict.shown_quality = label, item.label_quality
        verdicts.append(verdict)
    verdicts += [verdict_like(like, image, label.pk, key=uuid5(key, str(image.pk)), bulk=act) for image in near]
    append_verdicts(verdicts)
    return act


def _decide_images(
    dataset: Dataset,
    images: QuerySet[Image],
    bulk: BulkKind,
    which: str,
    person: Person,
    kind: VerdictKind,
    label: TaxonomyClass | None,
    key: UUID,
    *,
    excluded_too: bool = False,
) -> BulkAction:
    if kind not in _IN_WORDS[bulk]:
        *others, last = _IN_WORDS[bulk]
        raise WrongUsage(f"Expected {', '.join(others)} or {last} for many images at once, received {kind}.")
    check_label(dataset, kind, label)
    with transaction.atomic():
        repeated = BulkAction.objects.filter(key=key).first()
        if repeated is not None:
            return repeated
        images = images.filter(dataset=dataset)
        if not excluded_too:
            images = images.filter(excluded=False)
        decided = list(images.order_by("pk").only("pk", "given_class_id"))
        if not decided:
            raise NothingToDo(f"There is no image {which} to decide: people have decided all of them already.")
        words = f"relabelled to {label.name}" if label else _IN_WORDS[bulk][kind]
        act = BulkAction.objects.create(
            dataset=dataset,
            kind=bulk,
            person=person,
            summary=f"{len(decided):,} image{'s' if len(decided) > 1 else ''} {which} {words}"[:300],
            key=key,
        )
        # To ask for a second person is no decision that could stand alone.
        like = Verdict(reviewer=person, kind=kind, label=label, alone=kind != VerdictKind.UNSURE)
        append_verdicts(
            [
                verdict_like(
                    like,
                    image,
                    label.pk if label else image.given_class_id,
                    key=uuid5(key, str(image.pk)),
                    bulk=act,
                )
                for image in decided
            ]
        )
        for start in range(0, len(decided), CHUNK):
            Claim.objects.filter(
                item__image__in=[image.pk for image in decided[start : start + CHUNK]], golden=False
            ).delete()
    return act


def revert_work(*, dataset: Dataset, of: Person, since: datetime, person: Person, key: UUID) -> Reverted:
    """Take back every verdict that somebody gave since a moment and that nobody has decided upon since, as one act.

    Args:
        of: whose verdicts.
        person: who takes them back.
        key: made once; sending it again returns the first act.

    Raises:
        NothingToDo: they gave none since, or none stands any more.
    """
    with transaction.atomic():
        repeated = BulkAction.objects.filter(key=key).first()
        if repeated is not None:
            return Reverted(repeated, repeated.verdicts.count(), 0)
        given = list(
            Verdict.objects.filter(image__dataset=dataset, reviewer=of, created_at__gte=since)
            .exclude(kind__in=NO_DECISIONS)
            .order_by("pk")
        )
        free = _free(given)
        moment = timezone.localtime(since)
        if not free:
            raise NothingToDo(f"No verdict of {of.username} since {moment:%d %b %Y, %H:%M} can be taken back.")
        act = BulkAction.objects.create(
            dataset=dataset,
            kind=BulkKind.PERSON,
            person=person,
            summary=f"took back {len(free):,} verdicts of {of.username} since {moment:%d %b %Y, %H:%M}"[:300],
            key=key,
        )
        undo_verdicts(free, person, key, act)
    standing = sum(chain.stands for chain in newest_undos(given))
    return Reverted(act, len(free), standing)


def send_again(*, dataset: Dataset, items: QuerySet[ReviewItem], person: Person, reopen: bool, key: UUID) -> BulkAction:
    """Have settled images reviewed again, as one act that can be taken back.

    Args:
        items: which; those that are not settled are passed over.
        reopen: True: what was decided no longer counts, and anybody may decide. False: one more person is wanted, what
            was decided counts, and if the two differ the image is disputed. The label stays until there is another.

    Raises:
        NothingToDo: none of them is settled.
    """
    with transaction.atomic():
        repeated = BulkAction.objects.filter(key=key).first()
        if repeated is not None:
            return repeated
        settled = list(
            Image.objects.filter(pk__in=items.filter(dataset=dataset, state=ItemState.SETTLED).values("image"))
            .order_by("pk")
            .only("pk", "given_class_id")
        )
        if not settled:
            raise NothingToDo("None of these images is settled, so there is nothing to review again.")
        count = f"{len(settled):,} image{'s' if len(settled) > 1 else ''}"
        act = BulkAction.objects.create(
            dataset=dataset,
            kind=BulkKind.AGAIN,
            person=person,
            summary=f"reopened {count}" if reopen else f"sent {count} to one more person",
            key=key,
        )
        people = {} if reopen else _people_who_count([image.pk for image in settled])
        rule = Dataset.objects.get(pk=dataset.pk).consensus
        append_verdicts(
            [
                Verdict(
                    image=image,
                    reviewer=person,
                    kind=VerdictKind.REOPEN if reopen else VerdictKind.ASK,
                    wanted=1 if reopen else people.get(image.pk, 0) + 1,
                    rule=rule,
                    key=uuid5(key, str(image.pk)),
                    bulk=act,
                )
                for image in settled
            ]
        )
    return act


def set_review_rule(
    *, dataset: Dataset, verdicts_wanted: int, consensus: Consensus, person: Person, key: UUID
) -> BulkAction | None:
    """How many people are to judge an image, and how their verdicts become one; from now on.

    What is settled stays settled. Images that somebody has judged and that wait for others, or about which people
    disagree, go by the new rule at once.

    Returns:
        the act that asked these images anew, None when there were none.

    Raises:
        WrongUsage: fewer than one verdict, or more than nine.
    """
    if not 1 <= verdicts_wanted <= MOST_VERDICTS:
        raise WrongUsage(f"Expected 1 to {MOST_VERDICTS} verdicts an image, received {verdicts_wanted}.")
    with transaction.atomic():
        repeated = BulkAction.objects.filter(key=key).first()
        if repeated is not None:
            return repeated
        stored = Dataset.objects.select_for_update().get(pk=dataset.pk)
        unchanged = (stored.verdicts_wanted, stored.consensus) == (verdicts_wanted, consensus)
        Dataset.objects.filter(pk=dataset.pk).update(verdicts_wanted=verdicts_wanted, consensus=consensus)
        dataset.verdicts_wanted, dataset.consensus = verdicts_wanted, consensus
        judged = FilledSlot.objects.filter(item__dataset=dataset).values("item__image")
        images = [] if unchanged else list(Image.objects.filter(pk__in=judged).order_by("pk").only("pk"))
        if not images:
            return None
        words = f"{verdicts_wanted} verdict{'s' if verdicts_wanted > 1 else ''}, {consensus.label}"
        act = BulkAction.objects.create(
            dataset=dataset,
            kind=BulkKind.RULE,
            person=person,
            summary=f"applied the rule “{words}” to {len(images):,} images that wait"[:300],
            key=key,
        )
        append_verdicts(
            [
                Verdict(
                    image=image,
                    reviewer=person,
                    kind=VerdictKind.ASK,
                    wanted=verdicts_wanted,
                    rule=consensus,
                    key=uuid5(key, str(image.pk)),
                    bulk=act,
                )
                for image in images
            ]
        )
    return act


def _people_who_count(images: Sequence[int]) -> dict[int, int]:
    """Image → how many people have a verdict on it that counts, unsure ones left out."""
    counted: dict[int, int] = {}
    for start in range(0, len(images), CHUNK):
        log = Verdict.objects.filter(image__in=images[start : start + CHUNK]).order_by("image_id", "id")
        for image_id, of_image in groupby(log, key=lambda verdict: verdict.image_id):
            counted[image_id] = len(people_who_count(of_image))
    return counted


def check_label(dataset: Dataset, kind: VerdictKind, label: TaxonomyClass | None) -> None:
    if (kind == VerdictKind.RELABEL) != (label is not None):
        raise WrongUsage("A relabel names the class that is right, and no other verdict does.")
    if label is not None and label.taxonomy_id != dataset.taxonomy_id:
        raise WrongUsage(f"{label.name} is not a class of this dataset's taxonomy.")
