"""Images: one with its whole history, and lists of them."""

from dataclasses import dataclass

from django.db.models import F, Q

from labeling.models import Dataset, Image, Prediction, ReviewItem, TaxonomyClass, Verdict

PAGE = 60


@dataclass(frozen=True)
class PredictionRow:
    """What one model version said: its winner (in its own taxonomy) and how sure it was, 0..1."""

    model: str
    profile: str
    label: TaxonomyClass | None
    confidence: float


@dataclass(frozen=True)
class ImagePage:
    image: Image
    item: ReviewItem | None
    verdicts: tuple[Verdict, ...]
    predictions: tuple[PredictionRow, ...]
    shielded: bool


@dataclass(frozen=True)
class ImageFilter:
    """What part of a dataset's images a list shows; it lives in the URL. Empty means any."""

    split: str = ""
    label: str = ""
    show: str = ""
    after: int = 0

    def query(self) -> dict[str, str]:
        named = {"split": self.split, "label": self.label, "show": self.show}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class ImageList:
    images: tuple[Image, ...]
    count: int
    next_after: int | None


def image_page(dataset: Dataset, pk: int) -> ImagePage:
    """One image of the dataset; five SQL queries.

    Raises:
        Image.DoesNotExist: the dataset has no such image.
    """
    image = Image.objects.select_related("root", "source", "given_class", "current_class").get(dataset=dataset, pk=pk)
    item = ReviewItem.objects.select_related("suggested_class").filter(image=image).first()
    verdicts = (
        Verdict.objects.filter(image=image)
        .select_related("reviewer", "label", "shown_suggestion", "undone_by__reviewer", "undoes")
        .order_by("-id")
    )
    predictions = list(
        Prediction.objects.filter(image=image).select_related("model_version").order_by("-model_version_id")
    )
    labels = {
        (known.taxonomy_id, known.index): known
        for known in TaxonomyClass.objects.filter(taxonomy__in={row.model_version.taxonomy_id for row in predictions})
    }
    rows = tuple(
        PredictionRow(
            str(row.model_version),
            row.profile,
            labels.get((row.model_version.taxonomy_id, row.predicted_index)),
            row.confidence,
        )
        for row in predictions
    )
    seen = [image.given_class, image.current_class, *([item.suggested_class] if item else [])]
    seen += [row.label for row in rows if row.label]
    return ImagePage(image, item, tuple(verdicts), rows, any(label.harm_rank > 0 for label in seen))


def image_list(dataset: Dataset, filters: ImageFilter) -> ImageList:
    """A page of images in the order of their import, after the image `filters.after`; two SQL queries."""
    images = Image.objects.filter(dataset=dataset)
    if filters.split:
        images = images.filter(split="" if filters.split == "none" else filters.split)
    if filters.label:
        images = images.filter(current_class__name=filters.label)
    if filters.show == "changed":
        images = images.filter(~Q(current_class=F("given_class")))
    elif filters.show == "excluded":
        images = images.filter(excluded=True)
    page = list(
        images.filter(pk__gt=filters.after)
        .select_related("given_class", "current_class", "item__suggested_class")
        .order_by("pk")[: PAGE + 1]
    )
    more = len(page) > PAGE
    return ImageList(tuple(page[:PAGE]), images.count(), page[PAGE - 1].pk if more else None)
