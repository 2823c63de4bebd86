"""Policies: what sorts a dataset's images into bands, and what each image's band is."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from labeling.models.dataset import Dataset
from labeling.models.image import Image
from labeling.models.prediction import ModelVersion
from labeling.models.visible import Everything, OfVisibleImages


class BandName(models.TextChoices):
    SAFE = "safe", "safe"
    UNKNOWN = "unknown", "unknown"
    ADULT = "adult", "adult"


def band_choices() -> list[tuple[str, str]]:
    return BandName.choices


class Policy(models.Model):
    """One version of a dataset's policy; a change is a new version (a database trigger refuses another).

    `definition` is what `inference.bands.PolicyDefinition.as_json` gives; its classes are those of the model version.
    `applied_at` is null until the bands are this version's; the newest version with one is the policy in force.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="policies")
    version = models.PositiveIntegerField()
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="policies")
    definition = models.JSONField()
    note = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    applied_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "version"], name="policy_version_once"),
        ]

    def __str__(self) -> str:
        return f"policy {self.version} of {self.dataset_id}"


class ImageBand(models.Model):
    """What the policy in force makes of an image; derived, and recomputed by `check_integrity`.

    `unsafe` and `adult` are the scores that the thresholds are compared with. `held`: a rule has people look at the
    image, whatever its scores. `draw` is the image's permanent random number: the images of a band in its order, up
    to any number, are a random sample of the band.
    """

    image = models.OneToOneField(Image, on_delete=models.CASCADE, primary_key=True, related_name="banding")
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, db_index=False, related_name="+")
    unsafe = models.FloatField()
    adult = models.FloatField()
    held = models.BooleanField()
    band = models.CharField(max_length=10, choices=band_choices)
    draw = models.FloatField()

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["dataset", "band", "image"], name="band_oldest"),
            models.Index(fields=["dataset", "band", "-unsafe", "image"], name="band_riskiest"),
            models.Index(fields=["dataset", "draw"], name="band_draw"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id}: {self.band}"


class BandSample(models.Model):
    """A random sample of what one side decides, to be judged blind: the only honest source for its errors.

    It is every image up to `newest_image` with a draw of at most `cut`; people are shown those of the side, as it was
    with `threshold`. A later sample of the side takes the place of an earlier one.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="band_samples")
    side = models.CharField(max_length=10, choices=band_choices)
    threshold = models.FloatField()
    cut = models.FloatField()
    newest_image = models.PositiveBigIntegerField()
    drawn = models.PositiveIntegerField(help_text="Images that nobody had judged before.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(side__in=["safe", "adult"]), name="band_sample_has_side"),
        ]

    def __str__(self) -> str:
        return f"sample {self.pk} of the {self.side} band of {self.dataset_id}"
