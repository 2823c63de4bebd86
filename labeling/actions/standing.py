"""The standing of an image: what its given label and its verdicts make of it. The only writer of current labels.

A verdict is appended, then the image is folded again from its given label and all its verdicts. Undo is a verdict
too. So everything that a page shows about an image's state can be recomputed from this log (`check_integrity`).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from django.db.models import F

from labeling.models import (
    NO_DECISIONS,
    Consensus,
    Dataset,
    FilledSlot,
    Image,
    ItemState,
    ReviewItem,
    Verdict,
    VerdictKind,
)

CHUNK = 2000

# An answer is the key of a class, or this for "exclude".
EXCLUDE = 0

# How sure Dawid–Skene must be to settle an image, and how reliable somebody is of whom nothing is known.
SETTLES_AT = 0.9
UNKNOWN_RELIABILITY = 0.75


@dataclass(frozen=True)
class Filled:
    """A person's verdict that counts on an image that is not settled; an unsure one has no slot."""

    reviewer_id: int
    slot: int | None
    verdict_id: int


@dataclass(frozen=True)
class Standing:
    """What the verdicts make of an image.

    `missing` verdicts are wanted yet; None where nobody has said how many, so that it is the dataset's number.
    `deciding` is the verdict that brought the current label, None while nothing has.
    """

    current_class_id: int
    excluded: bool
    state: ItemState
    deciding: Verdict | None
    missing: int | None = None
    filled: tuple[Filled, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A verdict on an image and the class that it says is right, or `EXCLUDE`."""

    verdict: Verdict
    said: int


def standing_verdicts(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those of an image's verdicts, in order, that no undo in force takes out; undos are left out.

    An undo takes its verdict out; an undo of an undo puts it back.
    """
    in_order = list(verdicts)
    taken_back: set[int] = set()
    # Later undos are read first, so that an undone undo no longer takes anything back.
    for verdict in reversed(in_order):
        if verdict.undoes_id is not None and verdict.pk not in taken_back:
            taken_back.add(verdict.undoes_id)
    return [v for v in in_order if v.pk not in taken_back and v.kind != VerdictKind.UNDO]


def fold(given_class_id: int, verdicts: Iterable[Verdict]) -> Standing:
    """The standing of an image from its given label and its verdicts in order; a function of these alone.

    A verdict that decides by itself, or that was the only one wanted, settles the image; the last one does. Where more
    are wanted, the last verdict of each person counts once there are enough, by the rule that the newest verdict or
    `ask` names: the image is then settled or disputed. Until something settles the image, and again after a `reopen`,
    an `ask` or an unsure verdict, its label stays where it was. An `escalate` changes nothing: an image that is
    released from quarantine is what it was before.
    """
    label_id, excluded = given_class_id, False
    standing = Standing(given_class_id, False, ItemState.OPEN, None)
    counted: list[Verdict] = []
    for verdict in standing_verdicts(verdicts):
        if verdict.kind == VerdictKind.ESCALATE:
            continue
        if verdict.kind == VerdictKind.REOPEN:
            counted = []
            standing = Standing(label_id, excluded, ItemState.OPEN, standing.deciding)
            continue
        counted.append(verdict)
        standing = _weigh(counted, given_class_id, Standing(label_id, excluded, ItemState.OPEN, standing.deciding))
        if standing.state == ItemState.SETTLED and standing.deciding is not None:
            answer = answer_of(standing.deciding, given_class_id)
            label_id, excluded = answer or given_class_id, answer == EXCLUDE
            standing = Standing(label_id, excluded, ItemState.SETTLED, standing.deciding, 0)
    return standing


def people_who_count(verdicts: Iterable[Verdict]) -> set[int]:
    """Who has given an answer since an image was last reopened, from its verdicts in order."""
    latest: dict[int, str] = {}
    for verdict in standing_verdicts(verdicts):
        if verdict.kind == VerdictKind.REOPEN:
            latest = {}
        elif verdict.kind not in NO_DECISIONS:
            latest[verdict.reviewer_id] = verdict.kind
    return {reviewer for reviewer, kind in latest.items() if kind != VerdictKind.UNSURE}


def answer_of(verdict: Verdict, given_class_id: int) -> int:
    """The class that a keep, relabel or exclude says is right; `EXCLUDE` for none."""
    if verdict.kind == VerdictKind.EXCLUDE:
        return EXCLUDE
    return verdict.label_id if verdict.kind == VerdictKind.RELABEL and verdict.label_id is not None else given_class_id


def _weigh(counted: Sequence[Verdict], given_class_id: int, before: Standing) -> Standing:
    """The standing after the last of `counted`; of a settled one, only its state and what decided it are meant."""
    last = counted[-1]
    if last.kind != VerdictKind.ASK and (last.alone or last.wanted == 1):
        if last.kind != VerdictKind.UNSURE:
            return replace(before, state=ItemState.SETTLED, deciding=last)
        asked = {verdict.reviewer_id: verdict for verdict in counted if verdict.kind != VerdictKind.ASK}
        filled = tuple(Filled(reviewer, None, verdict.pk) for reviewer, verdict in asked.items())
        return replace(before, state=ItemState.UNSURE, missing=1, filled=filled)
    of_people: dict[int, Verdict] = {}
    for verdict in counted:
        if verdict.kind != VerdictKind.ASK:
            # Moved to the end, so that slots are numbered in the order of the verdicts that count.
            of_people.pop(verdict.reviewer_id, None)
            of_people[verdict.reviewer_id] = verdict
    answers = [
        Answer(verdict, answer_of(verdict, given_class_id))
        for verdict in of_people.values()
        if verdict.kind != VerdictKind.UNSURE
    ]
    slots = {answer.verdict.pk: slot for slot, answer in enumerate(answers)}
    filled = tuple(Filled(who, slots.get(verdict.pk), verdict.pk) for who, verdict in of_people.items())
    if len(answers) < last.wanted:
        state = ItemState.UNSURE if len(of_people) > len(answers) else ItemState.OPEN
        return replace(before, state=state, missing=last.wanted - len(answers), filled=filled)
    right = _RULES[Consensus(last.rule)](answers)
    if right is None:
        return replace(before, state=ItemState.DISPUTED, missing=0, filled=filled)
    deciding = next(answer.verdict for answer in reversed(answers) if answer.said == right)
    return replace(before, state=ItemState.SETTLED, deciding=deciding)


def _majority(answers: Sequence[Answer]) -> int | None:
    (said, votes), *_ = Counter(answer.said for answer in answers).most_common(1)
    return said if 2 * votes > len(answers) else None


def _unanimous(answers: Sequence[Answer]) -> int | None:
    said = {answer.said for answer in answers}
    return said.pop() if len(said) == 1 else None


def _senior(answers: Sequence[Answer]) -> int | None:
    """What the seniors agree upon; without a senior, what all do."""
    return _unanimous([answer for answer in answers if answer.verdict.senior] or answers)


def _dawid_skene(answers: Sequence[Answer]) -> int | None:
    """The answer that is right with a probability of `SETTLES_AT` or more, given how reliable each person is.

    The E-step of Dawid & Skene (1979), "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
    with every class equally likely beforehand; the error rates are those of the moment of each verdict.
    """
    said = {answer.said for answer in answers}
    possible = sorted(said.union(*(map(int, answer.verdict.evidence or ()) for answer in answers)))
    weights = [math.prod(_likelihood(answer, right, len(possible)) for answer in answers) for right in possible]
    best = max(range(len(possible)), key=weights.__getitem__)
    sure = weights[best] >= SETTLES_AT * sum(weights) > 0
    return possible[best] if sure and possible[best] in said else None


def _likelihood(answer: Answer, right: int, possible: int) -> float:
    """How probable it is that this person answers so where `right` is."""
    if answer.verdict.evidence:
        return float(answer.verdict.evidence.get(str(right), 0))
    return UNKNOWN_RELIABILITY if right == answer.said else (1 - UNKNOWN_RELIABILITY) / max(possible - 1, 1)


_RULES: Mapping[Consensus, Callable[[Sequence[Answer]], int | None]] = {
    Consensus.MAJORITY: _majority,
    Consensus.UNANIMOUS: _unanimous,
    Consensus.SENIOR: _senior,
    Consensus.DAWID_SKENE: _dawid_skene,
}


def standings_of(dataset: Dataset) -> dict[int, Standing]:
    """Image pk → its standing, for every image of the dataset with a verdict, all as of one moment."""
    return dict(each_standing(dataset))


def each_standing(dataset: Dataset, *, up_to: int | None = None) -> Iterator[tuple[int, Standing]]:
    """The pk and the standing of every image of the dataset with a verdict, in the order of the images.

    Args:
        up_to: the pk of the last verdict that counts; None for all.

    One query reads it all, so labels, exclusions and the verdicts behind them fit each other whatever people decide
    meanwhile. The verdicts of one image at a time are held.
    """
    verdicts = Verdict.objects.filter(image__dataset=dataset).annotate(given_class_id=F("image__given_class_id"))
    if up_to is not None:
        verdicts = verdicts.filter(pk__lte=up_to)
    for (image_id, given_class_id), of_image in groupby(
        verdicts.order_by("image_id", "id").iterator(chunk_size=CHUNK),
        key=lambda verdict: (verdict.image_id, verdict.given_class_id),
    ):
        yield image_id, fold(given_class_id, of_image)


def append_verdict(image: Image, verdict: Verdict) -> Verdict:
    # The row lock keeps two verdicts on one image from folding past each other (PostgreSQL; SQLite has one writer).
    Image.everything.select_for_update().get(pk=image.pk)
    verdict.save(force_insert=True)
    standing = fold(image.given_class_id, Verdict.everything.filter(image=image).order_by("id"))
    Image.everything.filter(pk=image.pk).update(current_class_id=standing.current_class_id, excluded=standing.excluded)
    ReviewItem.everything.filter(image=image).update(state=standing.state, missing=standing.missing)
    _fill_slots({image.pk: standing})
    return verdict


def append_verdicts(verdicts: Sequence[Verdict]) -> None:
    """`append_verdict` for many images at once, each with one new verdict or more."""
    for start in range(0, len(verdicts), CHUNK):
        part = verdicts[start : start + CHUNK]
        keys = sorted({verdict.image_id for verdict in part})
        given = dict(
            Image.everything.select_for_update().filter(pk__in=keys).order_by("pk").values_list("pk", "given_class_id")
        )
        Verdict.objects.bulk_create(part)
        of_images = Verdict.everything.filter(image__in=keys).order_by("image_id", "id")
        standings = {
            image_id: fold(given[image_id], of_image)
            for image_id, of_image in groupby(list(of_images), key=lambda verdict: verdict.image_id)
        }
        by_label: dict[tuple[int, bool], list[int]] = defaultdict(list)
        by_state: dict[tuple[ItemState, int | None], list[int]] = defaultdict(list)
        for image_id, standing in standings.items():
            by_label[standing.current_class_id, standing.excluded].append(image_id)
            by_state[standing.state, standing.missing].append(image_id)
        for (class_id, excluded), images in by_label.items():
            Image.everything.filter(pk__in=images).update(current_class_id=class_id, excluded=excluded)
        for (state, missing), images in by_state.items():
            ReviewItem.everything.filter(image__in=images).update(state=state, missing=missing)
        _fill_slots(standings)


def _fill_slots(standings: Mapping[int, Standing]) -> None:
    """Write who has given a verdict that counts, of images that are not settled."""
    FilledSlot.everything.filter(item__image__in=list(standings)).delete()
    waiting = [image_id for image_id, standing in standings.items() if standing.filled]
    if not waiting:
        return
    items = dict(ReviewItem.everything.filter(image__in=waiting).values_list("image_id", "pk"))
    FilledSlot.objects.bulk_create(
        FilledSlot(item_id=items[image_id], slot=one.slot, reviewer_id=one.reviewer_id, verdict_id=one.verdict_id)
        for image_id in waiting
        if image_id in items
        for one in standings[image_id].filled
    )
