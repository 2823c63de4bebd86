"""Taking over what somebody decided elsewhere: verdicts of theirs, in acts that can be taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4, uuid5

from django.db import transaction
from django.db.models import Count

from labeling.actions.standing import CHUNK, EXCLUDE, append_verdicts, standing_verdicts
from labeling.actions.terms import evidence_of_answer, is_senior
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
    Verdict,
    VerdictKind,
)


@dataclass(frozen=True)
class ImageDecision:
    """What was decided about an image: keep, relabel to a class, exclude, or unsure."""

    image_id: int
    kind: VerdictKind
    label_id: int | None


@dataclass(frozen=True)
class TakenOver:
    """`recorded` verdicts are new; `unchanged` this person had given before; of `unranked` nobody can be unsure yet."""

    act: BulkAction | None
    recorded: int
    unchanged: int
    unranked: tuple[int, ...]


def take_over(*, dataset: Dataset, reviewer: Person, decisions: Sequence[ImageDecision], source: str) -> TakenOver:
    """Record decisions as verdicts of a person, one act; what this person's verdict on an image says already is left.

    They count as any verdict does: where a dataset wants several an image, each is one of them.

    Args:
        decisions: one an image, at most as many as one transaction should write (`standing.CHUNK`).
        source: the name of the file, for the act's summary.
    """
    with transaction.atomic():
        keys = [decision.image_id for decision in decisions]
        said = _said_before(reviewer, keys)
        ranked = dict(ReviewItem.objects.filter(image__in=keys).values_list("image_id", "missing"))
        unranked = [one.image_id for one in decisions if one.kind == VerdictKind.UNSURE and one.image_id not in ranked]
        new = [
            one
            for one in decisions
            if said.get(one.image_id) != (one.kind, one.label_id) and one.image_id not in unranked
        ]
        if not new:
            return TakenOver(None, 0, len(decisions) - len(unranked), tuple(unranked))
        act = BulkAction.objects.create(
            dataset=dataset,
            kind=BulkKind.IMPORT,
            person=reviewer,
            summary=f"{len(new):,} verdict{'s' if len(new) > 1 else ''} from {source}"[:300],
            key=uuid4(),
        )
        append_verdicts(_verdicts(dataset, reviewer, new, ranked, act))
        Claim.objects.filter(
            item__image__in=[one.image_id for one in new], item__state=ItemState.SETTLED, golden=False
        ).delete()
    return TakenOver(act, len(new), len(decisions) - len(new) - len(unranked), tuple(unranked))


def _said_before(reviewer: Person, images: Sequence[int]) -> dict[int, tuple[str, int | None]]:
    """Image → kind and class of the person's last verdict on it that stands."""
    said: dict[int, tuple[str, int | None]] = {}
    for start in range(0, len(images), CHUNK):
        log = Verdict.objects.filter(image__in=images[start : start + CHUNK]).order_by("id")
        for verdict in standing_verdicts(log):
            if verdict.reviewer_id == reviewer.pk and verdict.kind not in NO_DECISIONS:
                said[verdict.image_id] = (verdict.kind, verdict.label_id)
    return said


def _verdicts(
    dataset: Dataset,
    reviewer: Person,
    decisions: Sequence[ImageDecision],
    missing: Mapping[int, int | None],
    act: BulkAction,
) -> list[Verdict]:
    stored = Dataset.objects.get(pk=dataset.pk)
    several = [pk for pk, wanted in missing.items() if wanted is not None]
    filled = dict(
        FilledSlot.objects.filter(item__image__in=several, slot__isnull=False)
        .order_by()
        .values_list("item__image")
        .annotate(people=Count("pk"))
    )
    wanted_of = {pk: (missing[pk] or 0) + filled.get(pk, 0) for pk in several}
    senior = is_senior(stored, reviewer)
    given = dict(Image.objects.filter(pk__in=[one.image_id for one in decisions]).values_list("pk", "given_class_id"))
    evidence: dict[int, dict[str, float]] = {}
    verdicts = []
    for one in decisions:
        wanted = wanted_of.get(one.image_id) or stored.verdicts_wanted
        answer = EXCLUDE if one.kind == VerdictKind.EXCLUDE else one.label_id or given[one.image_id]
        weighed = stored.consensus == Consensus.DAWID_SKENE and wanted > 1 and one.kind != VerdictKind.UNSURE
        if weighed and answer not in evidence:
            evidence[answer] = evidence_of_answer(stored, reviewer, answer)
        verdicts.append(
            Verdict(
                image_id=one.image_id,
                reviewer=reviewer,
                kind=one.kind,
                label_id=one.label_id,
                key=uuid5(act.key, str(one.image_id)),
                bulk=act,
                wanted=wanted,
                rule=stored.consensus,
                senior=wanted > 1 and senior,
                evidence=evidence[answer] if weighed else None,
            )
        )
    return verdicts
