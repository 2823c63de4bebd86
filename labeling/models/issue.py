"""Label issues: what a run found about an image."""

from typing import ClassVar

from django.db import models

from labeling.models.image import Image
from labeling.models.run import Run
from labeling.models.taxonomy import TaxonomyClass
from labeling.models.visible import Everything, OfVisibleImages


class IssueKind(models.TextChoices):
    GIVEN_LABEL = "given_label", "given label"
    DUPLICATE_CONFLICT = "duplicate_conflict", "near-duplicate conflict"
    SPLIT_LEAK = "split_leak", "split leak"
    OUTLIER = "outlier", "outlier"
    IMAGE_QUALITY = "image_quality", "image quality"
    REPORT = "report", "report by a product"


def issue_kind_choices() -> list[tuple[str, str]]:
    return IssueKind.choices


class LabelIssue(models.Model):
    """One finding about one image by one run."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="issues")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="issues")
    kind = models.CharField(max_length=30, choices=issue_kind_choices)
    label_quality = models.FloatField(null=True, help_text="0..1, low = likely wrong.")
    suggested_class = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    reason = models.CharField(max_length=300)

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["kind", "image"], name="issue_kind_image")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "image", "kind"], name="issue_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"
