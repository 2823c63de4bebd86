"""One image with its whole history; `explorer` lists them."""

from dataclasses import dataclass

from labeling.models import Dataset, Image, Prediction, ReviewItem, TaxonomyClass, Verdict


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
