"""Which model version a dataset works with, and how that came about."""

from dataclasses import dataclass

from labeling.models import Dataset, ModelVersion, Promotion


def promoted_model(dataset: Dataset) -> ModelVersion | None:
    """What the last promotion or rollback says; None: the starter model, with which every dataset begins."""
    last = Promotion.objects.filter(dataset=dataset).select_related("model_version__taxonomy").first()
    return last.model_version if last is not None else None


def standing_promotion(dataset: Dataset) -> Promotion | None:
    """The newest promotion that was not rolled back: the one that a rollback would take back."""
    standing = Promotion.objects.filter(dataset=dataset, takes_back__isnull=True, taken_back_by__isnull=True)
    return standing.select_related("model_version", "replaced", "person").first()


@dataclass(frozen=True)
class PromotionHistory:
    """The events of a dataset, newest first, and the promotion that a rollback would take back."""

    events: tuple[Promotion, ...]
    standing: Promotion | None


def promotion_history(dataset: Dataset, *, limit: int = 20) -> PromotionHistory:
    """Two SQL queries."""
    events = Promotion.objects.filter(dataset=dataset).select_related("model_version", "replaced", "person")
    return PromotionHistory(tuple(events[:limit]), standing_promotion(dataset))
