"""Images: one row a source file."""

from typing import ClassVar

from django.db import models

from labeling.models.dataset import Dataset, ImageRoot, Source
from labeling.models.taxonomy import TaxonomyClass
from labeling.models.visible import Everything, VisibleImages


class Split(models.TextChoices):
    TRAIN = "train", "train"
    VALIDATION = "validation", "validation"
    TEST = "test", "test"


SPLITS: tuple[str, ...] = tuple(Split.values)


class Image(models.Model):
    """A file of a dataset with its facts, its given label and its current label.

    `given_class` is never changed (a database trigger holds it). `current_class` and `excluded` are the fold of
    the given label and the verdicts; only `actions.verdicts` writes them and `check_integrity` recomputes them.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="images")
    root = models.ForeignKey(ImageRoot, on_delete=models.PROTECT, related_name="images")
    path = models.CharField(max_length=4096, help_text="Below the root, '/'-separated, escaped by importers.paths.")
    source = models.ForeignKey(Source, on_delete=models.PROTECT, null=True, related_name="images")

    sha256 = models.CharField(max_length=64)
    pixel_sha256 = models.CharField(max_length=64, blank=True, default="", help_text="Of the decoded pixels.")
    byte_size = models.BigIntegerField()
    modified_ns = models.BigIntegerField()
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    format = models.CharField(max_length=10)
    mode = models.CharField(max_length=10)
    phash = models.BigIntegerField()
    dhash = models.BigIntegerField()
    brightness = models.FloatField()
    contrast = models.FloatField()
    sharpness = models.FloatField()
    entropy = models.FloatField()

    split = models.CharField(max_length=20, blank=True, default="", help_text="Empty until the first release.")
    given_class = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, related_name="+")
    current_class = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, related_name="+")
    excluded = models.BooleanField(default=False)
    duplicate_group = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        related_name="duplicates",
        help_text="The group's centre.",
    )
    imported_at = models.DateTimeField(auto_now_add=True)

    objects = VisibleImages()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["root", "path"], name="image_path_once"),
            models.CheckConstraint(
                condition=models.Q(split__in=["", *SPLITS]),
                name="image_split_known",
            ),
            models.CheckConstraint(
                condition=models.Q(width__gt=0, height__gt=0),
                name="image_has_pixels",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["dataset", "split", "given_class"], name="image_split_class"),
            models.Index(fields=["dataset", "sha256"], name="image_sha256"),
            models.Index(fields=["dataset", "id"], name="image_newest"),
            models.Index(fields=["dataset", "path", "id"], name="image_path"),
            models.Index(fields=["dataset", "split", "id"], name="image_split"),
            models.Index(fields=["dataset", "given_class", "id"], name="image_given"),
            models.Index(fields=["dataset", "current_class", "id"], name="image_current"),
            models.Index(fields=["source", "id"], name="image_source"),
            models.Index(
                fields=["dataset", "id"],
                name="image_relabelled",
                condition=~models.Q(current_class=models.F("given_class")),
            ),
            models.Index(fields=["dataset", "id"], name="image_excluded", condition=models.Q(excluded=True)),
        ]

    def __str__(self) -> str:
        return self.path
