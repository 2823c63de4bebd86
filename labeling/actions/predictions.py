"""Writing model versions and their predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max

from labeling.models import Dataset, ImageBand, ModelVersion, Prediction, Run, Taxonomy
from labeling.queries.policies import policy_in_force


@dataclass(frozen=True)
class NewPrediction:
    """`probabilities` is float32 little-endian in index order; `embedding_row` a row of the dataset's file."""

    image_id: int
    probabilities: bytes
    predicted_index: int
    confidence: float
    embedding_row: int


def register_model_version(
    *,
    name: str,
    taxonomy: Taxonomy,
    folder: str,
    sha256: str,
    profile: str,
    embedding_size: int,
    sidecar: dict[str, Any],
) -> ModelVersion:
    """The model version of these very bytes and facts under this name, added as the next version when it is new."""
    with transaction.atomic():
        known = ModelVersion.objects.filter(name=name, sha256=sha256, profile=profile, folder=folder).first()
        if known is not None:
            return known
        last = ModelVersion.objects.filter(name=name).aggregate(last=Max("version"))["last"] or 0
        return ModelVersion.objects.create(
            name=name,
            version=last + 1,
            taxonomy=taxonomy,
            folder=folder,
            sha256=sha256,
            profile=profile,
            embedding_size=embedding_size,
            sidecar=sidecar,
        )


def add_predictions(*, run: Run, model_version: ModelVersion, predictions: Sequence[NewPrediction]) -> None:
    """Add a chunk of predictions, all or none; the model version and its profile are named on each."""
    with transaction.atomic():
        Prediction.objects.bulk_create(
            Prediction(
                image_id=new.image_id,
                model_version=model_version,
                run=run,
                profile=model_version.profile,
                probabilities=new.probabilities,
                predicted_index=new.predicted_index,
                confidence=new.confidence,
                embedding_row=new.embedding_row,
            )
            for new in predictions
        )


def drop_predictions_without_embedding(*, dataset: Dataset, model_version: ModelVersion, rows: int) -> int:
    """Remove predictions that name a row at or past `rows`, the rows that the embedding file still has.

    They are scored again. Nothing that people decided depends on them.
    """
    with transaction.atomic():
        lost = Prediction.everything.filter(
            image__dataset=dataset, model_version=model_version, embedding_row__gte=rows
        )
        if (policy := policy_in_force(dataset)) and policy.model_version_id == model_version.pk:
            ImageBand.everything.filter(image__in=lost.values("image")).delete()
        dropped, _ = lost.delete()
    return dropped
