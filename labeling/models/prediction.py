"""Model versions and what they said about images."""

from typing import ClassVar

from django.db import models

from labeling.models.image import Image
from labeling.models.run import Run
from labeling.models.taxonomy import Taxonomy
from labeling.models.visible import Everything, OfVisibleImages


class ModelVersion(models.Model):
    """A registered model: a folder below WINNOW_HOME/models that holds the compiled model and its sidecar."""

    name = models.SlugField(max_length=100)
    version = models.PositiveIntegerField(default=1)
    taxonomy = models.ForeignKey(Taxonomy, on_delete=models.PROTECT, related_name="model_versions")
    folder = models.CharField(max_length=300, help_text="Below WINNOW_HOME/models.")
    sha256 = models.CharField(max_length=64)
    profile = models.CharField(max_length=60)
    embedding_size = models.PositiveIntegerField()
    sidecar = models.JSONField()
    release = models.ForeignKey(
        "labeling.Release",
        on_delete=models.PROTECT,
        null=True,
        related_name="model_versions",
        help_text="What it was trained on, for models that were trained here.",
    )
    trained_by = models.OneToOneField(Run, on_delete=models.PROTECT, null=True, related_name="model_version")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "version"], name="model_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class Prediction(models.Model):
    """One model version's probabilities for one image, with the profile that prepared its pixels.

    `probabilities` is float32 little-endian, one value a class of the model's taxonomy in index order.
    `embedding_row` is the row of the image in the dataset's embedding file of that model version.
    """

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="predictions")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="predictions")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    profile = models.CharField(max_length=60)
    probabilities = models.BinaryField()
    predicted_index = models.PositiveSmallIntegerField()
    confidence = models.FloatField()
    embedding_row = models.PositiveBigIntegerField()

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["image", "model_version"], name="prediction_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["model_version", "embedding_row"], name="prediction_row"),
            models.Index(fields=["model_version", "predicted_index", "image"], name="prediction_class"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} by {self.model_version_id}"


class EnsembleMember(models.Model):
    """One of the classifiers whose out-of-sample probabilities a `find_issues` run combined.

    `weight` is its share of the combination, 0..1; `temperature` what its confidence was divided by.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="members")
    name = models.CharField(max_length=200)
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    weight = models.FloatField()
    temperature = models.FloatField(null=True)

    class Meta:
        ordering: ClassVar = ["-weight", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "name"], name="ensemble_member_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.weight:.2f})"


class FoldPrediction(models.Model):
    """Out-of-sample probabilities: by the fold of a `find_issues` run that did not train on the image.

    The run names the model versions and the ensemble's members.

    `probabilities` is float32 little-endian, one value a class of the dataset's taxonomy in index order.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="fold_predictions")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="fold_predictions")
    fold = models.PositiveSmallIntegerField()
    probabilities = models.BinaryField()

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "image"], name="fold_prediction_once"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} by fold {self.fold} of run {self.run_id}"
