"""Trainings: their epochs, and what came of them."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from labeling.models import ModelVersion, Run, TrainingEpoch


@dataclass(frozen=True)
class EpochRow:
    """The figures of one epoch, see `labeling.models.TrainingEpoch`."""

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_group_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class TrainingSummary:
    """A finished training.

    `refused` images could not be used, `in_quarantine` ones were left out; `history` has every epoch, and `best_epoch`
    is the one whose weights were kept.
    """

    dataset: str
    version: str
    recipe: str
    model: str
    run: int
    folder: str
    learned_from: int
    validated_on: int
    refused: int
    in_quarantine: int
    best_epoch: int
    history: tuple[EpochRow, ...]
    notes: tuple[str, ...]


def epochs_of(run: Run) -> tuple[EpochRow, ...]:
    """The epochs of a run so far; one SQL query."""
    return tuple(
        EpochRow(
            epoch.number,
            epoch.loss,
            epoch.accuracy,
            epoch.validation_loss,
            epoch.validation_accuracy,
            epoch.validation_group_accuracy,
            epoch.seconds,
        )
        for epoch in TrainingEpoch.objects.filter(run=run).order_by("number")
    )


def training_summary(model: ModelVersion) -> TrainingSummary:
    """What the run came to that trained this model version.

    Raises:
        ValueError: it was not trained here.
    """
    run = model.trained_by
    if run is None:
        raise ValueError(f"{model} was not trained here")
    said = Run.objects.values_list("summary", flat=True).get(pk=run.pk)
    return TrainingSummary(
        dataset=said["dataset"],
        version=said["version"],
        recipe=said["recipe"],
        model=str(model),
        run=run.pk,
        folder=str(Path(settings.MODELS_ROOT) / model.folder / "files"),
        learned_from=said["learned_from"],
        validated_on=said["validated_on"],
        refused=said["refused"],
        in_quarantine=said["in_quarantine"],
        best_epoch=said["best_epoch"],
        history=epochs_of(run),
        notes=tuple(said["notes"]),
    )
