"""Releases: frozen, content-hashed lists of (image, split, label)."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from labeling.models.dataset import Dataset
from labeling.models.image import SPLITS, Image
from labeling.models.review import Verdict
from labeling.models.run import Run
from labeling.models.taxonomy import TaxonomyClass
from labeling.models.visible import Everything, OfVisibleImages


class Release(models.Model):
    """A frozen version of a dataset; its entries never change (a database trigger holds it)."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="releases")
    major = models.PositiveIntegerField()
    minor = models.PositiveIntegerField()
    content_hash = models.CharField(max_length=64)
    ratios = models.JSONField()
    note = models.CharField(max_length=500, blank=True)
    left_out = models.JSONField(default=dict, help_text="How many images were left out, by reason.")
    issues_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="+")
    cut_run = models.OneToOneField(Run, on_delete=models.PROTECT, null=True, related_name="release")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-major", "-minor"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "major", "minor"], name="release_version_once"),
        ]

    def __str__(self) -> str:
        return self.version

    @property
    def version(self) -> str:
        return f"{self.major}.{self.minor}"


class ReleaseEntry(models.Model):
    """One image of a release as it was when the release was cut."""

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="entries")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    sha256 = models.CharField(max_length=64)
    split = models.CharField(max_length=20)
    label = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, related_name="+")
    verdict = models.ForeignKey(Verdict, on_delete=models.PROTECT, null=True, related_name="+")
    label_quality = models.FloatField(null=True)

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["release", "image"], name="release_image_once"),
            models.UniqueConstraint(fields=["release", "sha256"], name="release_bytes_once"),
            models.CheckConstraint(condition=models.Q(split__in=SPLITS), name="release_split_known"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} in {self.release_id}"
