"""Writing what a training came to: its epochs, and the model version at its end."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from labeling.actions.predictions import register_model_version
from labeling.models import ModelVersion, Release, Run, TrainingEpoch


@dataclass(frozen=True)
class NewEpoch:
    """The figures of an epoch, see `TrainingEpoch`."""

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_group_accuracy: float | None
    seconds: float


def add_epoch(*, run: Run, epoch: NewEpoch) -> None:
    """Add an epoch to the run; one that is there already, told again after a kill, stays as it is."""
    with transaction.atomic():
        TrainingEpoch.objects.get_or_create(run=run, number=epoch.number, defaults=vars(epoch) | {"run": run})


def register_trained_version(
    *,
    run: Run,
    release: Release,
    name: str,
    folder: str,
    sha256: str,
    profile: str,
    embedding_size: int,
    sidecar: dict[str, Any],
) -> ModelVersion:
    """The model version that this run trained on this release; the one that is there, after a kill."""
    with transaction.atomic():
        known = ModelVersion.objects.filter(trained_by=run).first()
        if known is not None:
            return known
        made = register_model_version(
            name=name,
            taxonomy=release.dataset.taxonomy,
            folder=folder,
            sha256=sha256,
            profile=profile,
            embedding_size=embedding_size,
            sidecar=sidecar,
        )
        if made.trained_by_id is None:
            made.release, made.trained_by = release, run
            made.save(update_fields=["release", "trained_by"])
        return made
