"""The review queue as its pages show it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from django.db.models import Count, Min, Q
from django.utils import timezone

from labeling.actions.claims import claimable_items, matching_items
from labeling.models import (
    NO_DECISIONS,
    Claim,
    Dataset,
    Image,
    ItemState,
    Person,
    Prediction,
    ReviewItem,
    TaxonomyClass,
    Verdict,
)
from labeling.queries.alike import DecidedBefore, decided_before
from labeling.queries.counts import KEEPER
from labeling.queries.queue_part import filtered_items
from labeling.queries.wellness import ComfortSettings
from labeling.queue_filter import QueueFilter

# Digits first; letters that no other action uses for the classes after the tenth.
CLASS_KEYS = "1234567890acjlmopqrtvwy"

# The pace is that of an hour; it is not looked up after every decision.
_PACE_SECONDS = 15.0

# Near duplicates whose thumbnails fit beside the image.
_STRIP = 6


@dataclass(frozen=True)
class Answer:
    """One class as a button: `key` is its place in the taxonomy and never depends on the image."""

    label: TaxonomyClass
    key: str
    given: bool
    suggested: bool


@dataclass(frozen=True)
class ShownItem:
    """One review item as focus mode shows it.

    A blind one is shown without its labels, prediction and reason. `represented` are the first of the `represents`
    near duplicates that this verdict will settle too. `before` is what people decided on one that is alike.
    """

    item: ReviewItem
    image: Image
    given: TaxonomyClass
    suggested: TaxonomyClass
    predicted: TaxonomyClass | None
    predicted_by: str
    confidence: float | None
    answers: tuple[Answer, ...]
    shielded: bool
    second_look: bool
    near_duplicates: int
    represented: tuple[Image, ...]
    represents: int
    blind: bool
    before: DecidedBefore | None

    @property
    def agrees(self) -> bool:
        return self.given.pk == self.suggested.pk


@dataclass(frozen=True)
class QueueProgress:
    """How far this part of the queue is; `an_hour` is this person's own pace over the last hour.

    `age` is how many seconds ago a large part was counted; 0 for a small one, which is counted each time.
    """

    settled: int
    total: int
    an_hour: int | None
    age: float = 0.0

    @property
    def open(self) -> int:
        return self.total - self.settled


@dataclass(frozen=True)
class WhatIsLeft:
    """Where to go on when a part of the queue is empty for this person."""

    suspected_by_split: tuple[tuple[str, int], ...]
    ranked: int
    out_of_reach: int


def classes_of(dataset: Dataset) -> list[TaxonomyClass]:
    """The classes of the dataset's taxonomy in index order."""
    return list(TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id).order_by("index"))


def answers_of(
    classes: Sequence[TaxonomyClass], given: TaxonomyClass | None = None, suggested: TaxonomyClass | None = None
) -> tuple[Answer, ...]:
    """The answers in their order, which no image changes; without an image none of them is given or suggested."""
    return tuple(
        Answer(label, CLASS_KEYS[place] if place < len(CLASS_KEYS) else "", label == given, label == suggested)
        for place, label in enumerate(classes)
    )


def shown_item(
    claim: Claim, classes: list[TaxonomyClass], *, blind: bool = False, comfort: ComfortSettings | None = None
) -> ShownItem:
    """What a person needs to decide the item; at most five SQL queries, however many classes or models."""
    [shown] = shown_items([claim], classes, blind=blind, comfort=comfort)
    return shown


def shown_items(
    claims: Sequence[Claim],
    classes: list[TaxonomyClass],
    *,
    blind: bool = False,
    comfort: ComfortSettings | None = None,
) -> list[ShownItem]:
    """`shown_item` for several claims; five SQL queries however many."""
    if not claims:
        return []
    images = [claim.item.image_id for claim in claims]
    predictions = {
        # The newest model comes last, and so stays.
        prediction.image_id: prediction
        for prediction in Prediction.objects.filter(image__in=images)
        .select_related("model_version")
        .order_by("model_version_id")
    }
    predicted = _predicted_classes(list(predictions.values()), classes)
    represented = _represented([claim.item_id for claim in claims if not (blind or claim.blind)])
    sizes = _group_sizes([claim.item.image for claim in claims])
    before = decided_before([claim.item.image for claim in claims if not (blind or claim.blind)])
    return [
        _shown(
            claim,
            classes,
            predictions.get(claim.item.image_id),
            predicted.get(claim.item.image_id),
            represented.get(claim.item_id, []),
            sizes.get(claim.item.image.duplicate_group_id or 0, 1) - 1,
            blind or claim.blind,
            comfort or ComfortSettings(),
            before.get(claim.item.image_id),
        )
        for claim in claims
    ]


def _shown(
    claim: Claim,
    classes: list[TaxonomyClass],
    prediction: Prediction | None,
    predicted: TaxonomyClass | None,
    represented: list[Image],
    near_duplicates: int,
    blind: bool,
    comfort: ComfortSettings,
    before: DecidedBefore | None,
) -> ShownItem:
    item, image = claim.item, claim.item.image
    given, suggested = image.given_class, item.suggested_class
    # A blur that depended on the image's own labels would tell what a blind review hides.
    seen = classes if blind else [given, suggested, *([predicted] if predicted else [])]
    return ShownItem(
        item=item,
        image=image,
        given=given,
        suggested=suggested,
        predicted=predicted,
        predicted_by=str(prediction.model_version) if prediction else "",
        confidence=prediction.confidence if prediction else None,
        answers=answers_of(classes, given, suggested),
        shielded=any(comfort.shields(label) for label in seen),
        second_look=item.state == ItemState.UNSURE,
        near_duplicates=near_duplicates,
        represented=tuple(represented[:_STRIP]),
        represents=len(represented),
        blind=blind,
        before=before,
    )


def progress(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> QueueProgress:
    """Settled of all in this part of the queue; two SQL queries."""

    def count() -> dict[str, int]:
        counts: dict[str, int] = filtered_items(dataset, filters).aggregate(
            total=Count("pk"), settled=Count("pk", filter=Q(state=ItemState.SETTLED))
        )
        return counts

    counted = KEEPER.counted(("progress", dataset.pk, filters), count)
    settled, total = counted.value["settled"], counted.value["total"]
    pace = KEEPER.counted(("pace", dataset.pk, reviewer.pk), lambda: _pace(dataset, reviewer), keep=_PACE_SECONDS)
    return QueueProgress(settled, total, pace.value, counted.age)


def what_is_left(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> WhatIsLeft:
    """Open items outside this part of the queue, and those inside it that this person cannot have now."""
    suspected = (
        matching_items(dataset, QueueFilter()).order_by().values_list("image__split").annotate(items=Count("pk"))
    )
    by_split = KEEPER.counted(("suspected", dataset.pk), lambda: sorted(suspected)).value
    rest = claimable_items(dataset, reviewer, replace(filters, everything=True)).order_by()
    here = matching_items(dataset, filters).order_by()
    return WhatIsLeft(
        suspected_by_split=tuple((split, items) for split, items in by_split if split != filters.split),
        ranked=0
        if filters.everything
        else KEEPER.counted(("rest", dataset.pk, reviewer.pk, filters), lambda: rest.count()).value,
        out_of_reach=KEEPER.counted(("here", dataset.pk, filters), lambda: here.count()).value,
    )


def _predicted_classes(predictions: Sequence[Prediction], classes: Sequence[TaxonomyClass]) -> dict[int, TaxonomyClass]:
    """Image pk → the model's winner, in the model's own taxonomy, which may not be the dataset's."""
    others = {prediction.model_version.taxonomy_id for prediction in predictions}
    others -= {label.taxonomy_id for label in classes}
    known = {(label.taxonomy_id, label.index): label for label in classes}
    if others:
        labels = TaxonomyClass.objects.filter(taxonomy__in=others)
        known |= {(label.taxonomy_id, label.index): label for label in labels}
    found = {
        prediction.image_id: known.get((prediction.model_version.taxonomy_id, prediction.predicted_index))
        for prediction in predictions
    }
    return {image: label for image, label in found.items() if label is not None}


def _represented(items: Sequence[int]) -> dict[int, list[Image]]:
    """Item pk → the open images that it represents."""
    images = Image.objects.filter(item__represented_by__in=items, item__state=ItemState.OPEN)
    found: dict[int, list[Image]] = defaultdict(list)
    for image in images.select_related("given_class", "item").order_by("pk"):
        found[image.item.represented_by_id or 0].append(image)
    return found


def _group_sizes(images: Sequence[Image]) -> dict[int, int]:
    """Near-duplicate group → how many images it has."""
    groups = {image.duplicate_group_id for image in images} - {None}
    if not groups:
        return {}
    counted = Image.objects.filter(duplicate_group__in=groups).order_by().values_list("duplicate_group")
    return {group: size for group, size in counted.annotate(size=Count("pk")) if group is not None}


def _pace(dataset: Dataset, reviewer: Person) -> int | None:
    """Verdicts an hour of this person, None until ten were given within the last hour."""
    now = timezone.now()
    recent = (
        Verdict.objects.filter(reviewer=reviewer, image__dataset=dataset, created_at__gt=now - timedelta(hours=1))
        .exclude(kind__in=NO_DECISIONS)
        .aggregate(verdicts=Count("pk"), first=Min("created_at"))
    )
    if recent["verdicts"] < 10:
        return None
    seconds = (now - recent["first"]).total_seconds()
    return round(recent["verdicts"] * 3600 / seconds) if seconds > 0 else None
