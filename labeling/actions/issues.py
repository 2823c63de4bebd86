"""Writing what a `find_issues` run found: fold predictions, label issues, and the order of the queue."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction

from labeling.models import (
    Dataset,
    EnsembleMember,
    FoldPrediction,
    Image,
    IssueKind,
    LabelIssue,
    QueueOrder,
    ReviewItem,
    Run,
)


@dataclass(frozen=True)
class Finding:
    kind: IssueKind
    reason: str


@dataclass(frozen=True)
class RankedImage:
    """One image as the run saw it.

    `label_quality` is 0..1, low = likely wrong; `risk` the probability of that; `priority` low = shown first.
    """

    image_id: int
    fold: int
    probabilities: bytes
    label_quality: float
    suspected: bool
    suggested_class_id: int
    reason: str
    priority: float
    risk: float
    findings: tuple[Finding, ...]


def record_ranking(*, dataset: Dataset, run: Run, ranked: Sequence[RankedImage]) -> None:
    """Write a chunk of the ranking; writing the same chunk again changes nothing.

    The items' states are left alone: what people settled stays settled.
    """
    with transaction.atomic():
        images = Image.objects.filter(pk__in=[one.image_id for one in ranked])
        given = dict(images.values_list("pk", "given_class_id"))
        FoldPrediction.objects.bulk_create(
            [
                FoldPrediction(run=run, image_id=one.image_id, fold=one.fold, probabilities=one.probabilities)
                for one in ranked
            ],
            update_conflicts=True,
            unique_fields=["run", "image"],
            update_fields=["fold", "probabilities"],
        )
        LabelIssue.objects.bulk_create(
            [
                LabelIssue(
                    run=run,
                    image_id=one.image_id,
                    kind=finding.kind,
                    label_quality=one.label_quality,
                    suggested_class_id=one.suggested_class_id,
                    reason=finding.reason,
                )
                for one in ranked
                for finding in one.findings
            ],
            update_conflicts=True,
            unique_fields=["run", "image", "kind"],
            update_fields=["label_quality", "suggested_class", "reason"],
        )
        ReviewItem.objects.bulk_create(
            [
                ReviewItem(
                    dataset=dataset,
                    image_id=one.image_id,
                    given_class_id=given[one.image_id],
                    run=run,
                    label_quality=one.label_quality,
                    suspected=one.suspected,
                    suggested_class_id=one.suggested_class_id,
                    reason=one.reason,
                    priority=one.priority,
                    risk=one.risk,
                )
                for one in ranked
            ],
            update_conflicts=True,
            unique_fields=["image"],
            update_fields=["run", "label_quality", "suspected", "suggested_class", "reason", "priority", "risk"],
        )


@dataclass(frozen=True)
class QueuedImage:
    """What decides an image's place in the queue, and whom it may represent.

    `group` is its near-duplicate group, None when it has none or a person set it apart; `open` that nobody has
    decided it.
    """

    item_id: int
    group: int | None
    open: bool
    suspected: bool
    priority: float


def represent_groups(*, dataset: Dataset, queued: Sequence[QueuedImage]) -> int:
    """Let the first item of each near-duplicate group stand for the group's other open items.

    A representative is suspected when one of those that it represents is.

    Returns:
        how many items are represented by another.
    """
    groups: dict[int, list[QueuedImage]] = defaultdict(list)
    for one in queued:
        if one.group is not None and one.open:
            groups[one.group].append(one)
    wanted: dict[int, int] = {}
    suspected: list[int] = []
    for members in groups.values():
        first, *others = sorted(members, key=lambda one: (one.priority, one.item_id))
        wanted |= {other.item_id: first.item_id for other in others}
        if not first.suspected and any(other.suspected for other in others):
            suspected.append(first.item_id)
    with transaction.atomic():
        items = ReviewItem.objects.filter(dataset=dataset)
        stored = dict(items.filter(represented_by__isnull=False).values_list("pk", "represented_by_id"))
        for chunk in _chunks([pk for pk in stored if pk not in wanted]):
            items.filter(pk__in=chunk).update(represented_by=None)
        changed = [ReviewItem(pk=pk, represented_by_id=by) for pk, by in wanted.items() if stored.get(pk) != by]
        ReviewItem.objects.bulk_update(changed, ["represented_by"], batch_size=400)
        for chunk in _chunks(suspected):
            items.filter(pk__in=chunk).update(suspected=True)
    return len(wanted)


def record_order(*, priorities: Mapping[int, float]) -> None:
    """Write the priority of items, low = shown first; call it in chunks."""
    with transaction.atomic():
        ReviewItem.objects.bulk_update(
            [ReviewItem(pk=pk, priority=priority) for pk, priority in priorities.items()], ["priority"], batch_size=400
        )


def choose_order(*, dataset: Dataset, order: QueueOrder) -> None:
    with transaction.atomic():
        Dataset.objects.filter(pk=dataset.pk).update(queue_order=order)
    dataset.queue_order = order


def set_quality_thresholds(*, dataset: Dataset, thresholds: Mapping[str, float]) -> None:
    """Store which thresholds of the image quality findings differ from the defaults; the next finding uses them."""
    with transaction.atomic():
        Dataset.objects.filter(pk=dataset.pk).update(quality_thresholds=dict(thresholds))
    dataset.quality_thresholds = dict(thresholds)


@dataclass(frozen=True)
class Member:
    """One classifier of the ensemble: its share 0..1, and what its confidence was divided by."""

    name: str
    weight: float
    temperature: float | None
    model_version_id: int | None


def record_members(*, run: Run, members: Sequence[Member]) -> None:
    with transaction.atomic():
        EnsembleMember.objects.filter(run=run).delete()
        EnsembleMember.objects.bulk_create(
            EnsembleMember(
                run=run,
                name=member.name,
                weight=member.weight,
                temperature=member.temperature,
                model_version_id=member.model_version_id,
            )
            for member in members
        )


def _chunks(keys: Sequence[int], size: int = 2000) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def drop_superseded_findings(*, dataset: Dataset, run: Run, kinds: Sequence[str]) -> None:
    """Remove what earlier runs found of these kinds, and their fold predictions: the run that is done says it again.

    What a re-ranking leaves alone (settled images) keeps its fold prediction.
    """
    with transaction.atomic():
        again = FoldPrediction.objects.filter(run=run).values("image")
        FoldPrediction.objects.filter(run__dataset=dataset, image__in=again).exclude(run=run).delete()
        LabelIssue.objects.filter(run__dataset=dataset, kind__in=kinds).exclude(run=run).delete()
