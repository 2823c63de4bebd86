"""What a training came to, epoch by epoch."""

from typing import ClassVar

from django.db import models

from labeling.models.run import Run


class TrainingEpoch(models.Model):
    """One epoch of a run that trains. Rows are added and never changed.

    Losses are log losses; accuracies are shares, 0..1. What was measured on validation images is null where a release
    has none; `validation_group_accuracy` also where classes have no groups.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="epochs")
    number = models.PositiveIntegerField()
    loss = models.FloatField()
    accuracy = models.FloatField()
    validation_loss = models.FloatField(null=True)
    validation_accuracy = models.FloatField(null=True)
    validation_group_accuracy = models.FloatField(null=True)
    seconds = models.FloatField()

    class Meta:
        ordering: ClassVar = ["run", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "number"], name="training_epoch_once"),
        ]

    def __str__(self) -> str:
        return f"epoch {self.number} of run {self.run_id}"
