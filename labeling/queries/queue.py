"""The review queue as its pages show it."""

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
from labeling.queries.queue_part import filtered_items
from labeling.queue_filter import QueueFilter

# Digits first; letters that no other action uses for the classes after the tenth.
CLASS_KEYS = "1234567890achijlmopqrtvwy"

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
    near duplicates that this verdict will settle too.
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

    @property
    def agrees(self) -> bool:
        return self.given.pk == self.suggested.pk


@dataclass(frozen=True)
class QueueProgress:
    """How far this part of the queue is; `an_hour` is this person's own pace over the last hour."""

    settled: int
    total: int
    an_hour: int | None

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


def shown_item(claim: Claim, classes: list[TaxonomyClass], *, blind: bool = False) -> ShownItem:
    """What a person needs to decide the item; at most five SQL queries, however many classes or models."""
    item, image = claim.item, claim.item.image
    given, suggested = image.given_class, item.suggested_class
    prediction = (
        Prediction.objects.filter(image=image).select_related("model_version").order_by("-model_version_id").first()
    )
    predicted = _predicted_class(prediction) if prediction else None
    # A blur that depended on the image's own labels would tell what a blind review hides.
    seen = classes if blind else [given, suggested, *([predicted] if predicted else [])]
    represented = [] if blind else _represented(item)
    return ShownItem(
        item=item,
        image=image,
        given=given,
        suggested=suggested,
        predicted=predicted,
        predicted_by=str(prediction.model_version) if prediction else "",
        confidence=prediction.confidence if prediction else None,
        answers=tuple(
            Answer(
                label,
                CLASS_KEYS[place] if place < len(CLASS_KEYS) else "",
                label.pk == given.pk,
                label.pk == suggested.pk,
            )
            for place, label in enumerate(classes)
        ),
        shielded=any(label.harm_rank > 0 for label in seen),
        second_look=item.state == ItemState.UNSURE,
        near_duplicates=_near_duplicates(image),
        represented=tuple(represented[:_STRIP]),
        represents=len(represented),
        blind=blind,
    )


def progress(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> QueueProgress:
    """Settled of all in this part of the queue; two SQL queries."""
    counted = filtered_items(dataset, filters).aggregate(
        total=Count("pk"), settled=Count("pk", filter=Q(state=ItemState.SETTLED))
    )
    return QueueProgress(counted["settled"], counted["total"], _pace(dataset, reviewer))


def what_is_left(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> WhatIsLeft:
    """Open items outside this part of the queue, and those inside it that this person cannot have now."""
    suspected = matching_items(dataset, QueueFilter()).order_by().values("image__split").annotate(items=Count("pk"))
    here = matching_items(dataset, filters).count()
    return WhatIsLeft(
        suspected_by_split=tuple(
            sorted((row["image__split"], row["items"]) for row in suspected if row["image__split"] != filters.split)
        ),
        ranked=0
        if filters.everything
        else claimable_items(dataset, reviewer, replace(filters, everything=True)).count(),
        out_of_reach=here,
    )


def _predicted_class(prediction: Prediction) -> TaxonomyClass | None:
    """The model's winner, in the model's own taxonomy, which may not be the dataset's."""
    return TaxonomyClass.objects.filter(
        taxonomy_id=prediction.model_version.taxonomy_id, index=prediction.predicted_index
    ).first()


def _represented(item: ReviewItem) -> list[Image]:
    images = Image.objects.filter(item__represented_by=item, item__state=ItemState.OPEN)
    return list(images.select_related("given_class").order_by("pk"))


def _near_duplicates(image: Image) -> int:
    if image.duplicate_group_id is None:
        return 0
    return Image.objects.filter(duplicate_group_id=image.duplicate_group_id).exclude(pk=image.pk).count()


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
