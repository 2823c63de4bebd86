"""Evaluations: what a model version was worth on a release's split."""

from typing import ClassVar

from django.db import models

from labeling.models.image import SPLITS
from labeling.models.prediction import ModelVersion
from labeling.models.release import Release
from labeling.models.run import Run


class LabelsUsed(models.TextChoices):
    """Against which labels a model was measured."""

    RELEASE = "release", "as released"
    GIVEN = "given", "as given, before cleaning"


def labels_used_choices() -> list[tuple[str, str]]:
    return LabelsUsed.choices


class Level(models.TextChoices):
    """How far a model's answers reach: down to the dataset's classes, or to its groups only."""

    CLASS = "class", "class"
    GROUP = "group", "group"


def level_choices() -> list[tuple[str, str]]:
    return Level.choices


class Evaluation(models.Model):
    """The figures of one model version on one split of a release; never changed (a database trigger holds it).

    `figures` holds for "class" (null where the model knows the groups only) and for "group" what
    `inference.metrics.measure` found, with the `names` of their classes or groups. The answers image by image are not
    kept: predictions and release entries do not change either, and `pipeline.evaluating.answers_of` reads them again.

    `images` were measured; `in_sample` of them the model has learned from, or from a near duplicate of them;
    `unscored` could not be read, and `hidden` were in quarantine.
    """

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="evaluations")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="evaluations")
    split = models.CharField(max_length=20)
    labels = models.CharField(max_length=20, choices=labels_used_choices, default=LabelsUsed.RELEASE)
    class_map = models.JSONField(default=dict, help_text="Model's class → dataset's class, where a person said so.")
    level = models.CharField(max_length=20, choices=level_choices)
    images = models.PositiveIntegerField()
    in_sample = models.PositiveIntegerField()
    unscored = models.PositiveIntegerField()
    hidden = models.PositiveIntegerField()
    figures = models.JSONField()
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(split__in=SPLITS), name="evaluation_split_known"),
            models.CheckConstraint(
                condition=models.Q(in_sample__lte=models.F("images")), name="evaluation_in_sample_of_images"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["release", "split", "model_version", "-id"], name="evaluation_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.model_version_id} on {self.split} of release {self.release_id}"
