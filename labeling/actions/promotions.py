"""Promotions: choosing the model version that a dataset works with, and taking that back."""

from django.db import transaction

from labeling.errors import NothingToDo
from labeling.models import Dataset, ModelVersion, Person, Promotion
from labeling.queries.promotions import promoted_model, standing_promotion


def record_promotion(
    *, dataset: Dataset, model_version: ModelVersion, person: Person | None, reason: str = ""
) -> Promotion:
    """Make this the model that the dataset works with; the event that did so already, where it is that."""
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        last = Promotion.objects.filter(dataset=dataset).first()
        if last is not None and last.model_version_id == model_version.pk:
            return last
        return Promotion.objects.create(
            dataset=dataset,
            model_version=model_version,
            replaced=last.model_version if last else None,
            person=person,
            reason=reason[:300],
        )


def record_rollback(*, dataset: Dataset, person: Person | None) -> Promotion:
    """Take the newest promotion that stands back: the dataset works with what that one replaced.

    Raises:
        NothingToDo: the dataset works with the starter model, or every promotion was taken back.
    """
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        standing = standing_promotion(dataset)
        if standing is None:
            raise NothingToDo(
                f"No promotion of {dataset.slug} stands that could be rolled back. Promote a model with: manage.py "
                f"promote MODEL {dataset.slug}"
            )
        return Promotion.objects.create(
            dataset=dataset,
            model_version=standing.replaced,
            replaced=promoted_model(dataset),
            takes_back=standing,
            person=person,
            reason=f"took back {standing.model_version}",
        )
