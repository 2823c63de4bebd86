"""Golden images: which there are, and what people answered to them. No label depends on any of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from labeling.errors import Conflict, nearest
from labeling.models import (
    Claim,
    Dataset,
    GoldenAnswer,
    GoldenImage,
    Image,
    Person,
    ReviewItem,
    Skip,
    TaxonomyClass,
    Verdict,
    VerdictKind,
)
from labeling.queries.queue_part import filtered_items
from labeling.queue_filter import QueueFilter

EXCLUDE_WORD = "exclude"
_CHUNK = 2000


def golden_items(dataset: Dataset, reviewer: Person, filters: QueueFilter) -> QuerySet[ReviewItem]:
    """The golden images that look like this part of the queue and that this person has not seen in any way."""
    now = timezone.now()
    seen = (
        Claim.objects.filter(item=OuterRef("pk"), reviewer=reviewer, lease_expires_at__gt=now),
        Skip.objects.filter(item=OuterRef("pk"), reviewer=reviewer, until__gt=now),
        Verdict.objects.filter(image=OuterRef("image"), reviewer=reviewer),
        GoldenAnswer.objects.filter(image=OuterRef("image"), reviewer=reviewer, taken_back_at__isnull=True),
    )
    looking_alike = replace(filters, everything=True, audit=False)
    items = filtered_items(dataset, looking_alike).filter(image__golden__isnull=False)
    return items.filter(*(~Exists(one) for one in seen)).select_related("image")


@dataclass(frozen=True)
class GoldenSet:
    """How many images became golden (or got another label), and the rows that could not be used, with the reason."""

    dataset: str
    golden: int
    refusals: tuple[tuple[str, str], ...]

    @property
    def refused(self) -> int:
        return len(self.refusals)


def set_golden(*, dataset: Dataset, labels: Mapping[str, str], person: Person | None) -> GoldenSet:
    """Mark images as golden.

    Args:
        labels: image path → the name (or an alias) of the class that is right, or "exclude". A path is that of the
            import, below its folder.

    A row that names no image of the dataset, several, or no class is refused and the others are used.
    """
    classes = {name.casefold(): known for known in _classes(dataset) for name in (*known.aliases, known.name)}
    refusals: list[tuple[str, str]] = []
    wanted: dict[str, TaxonomyClass | None] = {}
    for path, label in labels.items():
        known = classes.get(label.strip().casefold())
        if known is None and label.strip().casefold() != EXCLUDE_WORD:
            names = [*(one.name for one in _classes(dataset)), EXCLUDE_WORD]
            refusals.append((path, f"expected one of {', '.join(names)}, received {label!r}.{nearest(label, names)}"))
        else:
            wanted[path] = known
    with transaction.atomic():
        images = _by_path(dataset, list(wanted))
        for path in wanted:
            if len(images.get(path, ())) != 1:
                many = len(images.get(path, ()))
                refusals.append((path, f"{many or 'no'} images of {dataset.slug} have this path; expected one"))
        rows = [
            GoldenImage(dataset=dataset, image_id=images[path][0], label=label, added_by=person)
            for path, label in wanted.items()
            if len(images.get(path, ())) == 1
        ]
        GoldenImage.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["image"], update_fields=["label", "added_by"], batch_size=_CHUNK
        )
    return GoldenSet(dataset.slug, len(rows), tuple(refusals))


def remove_golden(*, dataset: Dataset, image: Image) -> bool:
    """The image is golden no more; what people answered to it stays counted."""
    with transaction.atomic():
        Claim.objects.filter(item__image=image, golden=True).delete()
        removed, _ = GoldenImage.objects.filter(dataset=dataset, image=image).delete()
    return bool(removed)


def record_golden_answer(
    *,
    claim: Claim,
    kind: VerdictKind,
    label: TaxonomyClass | None,
    key: UUID,
    seconds: float | None,
) -> GoldenAnswer:
    """Keep what the person answered to a golden image, and end the claim."""
    image = claim.item.image
    golden = GoldenImage.objects.filter(image=image).first()
    with transaction.atomic():
        Claim.objects.filter(pk=claim.pk).delete()
        expected = golden.label_id if golden else image.current_class_id
        said = None if kind == VerdictKind.EXCLUDE else label.pk if label else image.given_class_id
        return GoldenAnswer.objects.create(
            image=image,
            reviewer_id=claim.reviewer_id,
            kind=kind,
            label=label,
            expected_id=expected,
            right=kind != VerdictKind.UNSURE and said == expected,
            blind=claim.blind,
            key=key,
            seconds=seconds,
        )


def take_back_answer(*, answer: GoldenAnswer, key: UUID) -> None:
    """Count an answer no more, as its giver wants to give another."""
    with transaction.atomic():
        taken = GoldenAnswer.objects.filter(pk=answer.pk, taken_back_at__isnull=True).update(
            taken_back_at=timezone.now(), taken_back_key=key
        )
        if not taken:
            raise Conflict("This answer was taken back already.")


def put_back_answer(*, answer: GoldenAnswer, key: UUID) -> None:
    """Count an answer again that was taken back."""
    with transaction.atomic():
        GoldenAnswer.objects.filter(pk=answer.pk).update(taken_back_at=None, put_back_key=key)
        Claim.objects.filter(item__image=answer.image_id, reviewer=answer.reviewer_id, golden=True).delete()


def _classes(dataset: Dataset) -> list[TaxonomyClass]:
    return list(TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id).order_by("index"))


def _by_path(dataset: Dataset, paths: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for start in range(0, len(paths), _CHUNK):
        rows = Image.objects.filter(dataset=dataset, path__in=paths[start : start + _CHUNK])
        for path, pk in rows.values_list("path", "pk"):
            found.setdefault(path, []).append(pk)
    return found
