"""Audit samples: random images, judged blind, from which the number of remaining errors is estimated."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from labeling.models.dataset import Dataset
from labeling.models.image import Image
from labeling.models.run import Run
from labeling.models.taxonomy import TaxonomyClass


class AuditSample(models.Model):
    """A stratified random sample of a dataset's ranked images, outside the ranking.

    `strata` lists, lowest risk first, `{"upper": risk, "population": images}`; risk is 1 − label quality as `run`
    gave it. A later sample of the dataset takes the place of an earlier one.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="audit_samples")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    half_width = models.FloatField(help_text="The wanted half-width of the interval, as a share of the images.")
    strata = models.JSONField()
    seed = models.PositiveBigIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"audit sample {self.pk} of {self.dataset_id}"


class AuditImage(models.Model):
    """An image of the population of an audit sample, as it was when the sample was drawn.

    Every image of the population has a row, because the estimate needs to know what was *not* drawn as well. `place`
    is the random order of the drawn ones, null for the others. `label` is the current label at that moment, and
    `settled` whether people had already decided about it.
    """

    sample = models.ForeignKey(AuditSample, on_delete=models.CASCADE, related_name="images")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    stratum = models.PositiveSmallIntegerField()
    risk = models.FloatField()
    place = models.PositiveIntegerField(null=True)
    label = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, related_name="+")
    settled = models.BooleanField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sample", "image"], name="audit_image_once"),
            models.UniqueConstraint(fields=["sample", "place"], name="audit_place_once"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} in audit sample {self.sample_id}"
