"""Audit samples: random images, judged blind, from which the number of remaining errors is estimated."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from labeling.models.dataset import Dataset
from labeling.models.image import Image
from labeling.models.run import Run
from labeling.models.visible import Everything, OfVisibleImages


class AuditSample(models.Model):
    """A stratified random sample of a dataset's ranked images, outside the ranking.

    Risk is the probability of a wrong label as `run` saw it. A later sample of the dataset takes the place of an
    earlier one. `estimate` is what was computed from it last, when `estimated_verdict` was the newest verdict.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="audit_samples")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    half_width = models.FloatField(help_text="The wanted half-width of the interval, as a share of the images.")
    expected_half_width = models.FloatField()
    seed = models.PositiveBigIntegerField()
    estimate = models.JSONField(default=dict)
    estimated_at = models.DateTimeField(null=True)
    estimated_verdict = models.PositiveBigIntegerField(default=0)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"audit sample {self.pk} of {self.dataset_id}"


class AuditImage(models.Model):
    """An image of the population of an audit sample.

    Every image of the population has a row, because the estimate needs to know what was *not* drawn as well. `place`
    is the random order of the drawn ones, null for the others. `stratum` is -1 for an image that was decided before
    the draw.
    """

    sample = models.ForeignKey(AuditSample, on_delete=models.CASCADE, related_name="images")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    stratum = models.SmallIntegerField()
    risk = models.FloatField()
    place = models.PositiveIntegerField(null=True)

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sample", "image"], name="audit_image_once"),
            models.UniqueConstraint(fields=["sample", "place"], name="audit_place_once"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} in audit sample {self.sample_id}"
