"""Golden images: their label is known, so answers to them measure people."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from labeling.models.dataset import Dataset
from labeling.models.image import Image
from labeling.models.review import VerdictKind, verdict_kind_choices
from labeling.models.taxonomy import TaxonomyClass
from labeling.models.visible import Everything, OfVisibleImages


class GoldenImage(models.Model):
    """An image whose label is known. `label` is null where the right answer is to exclude it."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="golden_images")
    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="golden")
    label = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    added_at = models.DateTimeField(auto_now_add=True)

    objects = OfVisibleImages()
    everything = Everything()

    def __str__(self) -> str:
        return f"golden image {self.image_id}"


class GoldenAnswer(models.Model):
    """What a person answered to a golden image. It is no verdict: no label depends on it.

    `expected` is the known label at that time. An answer that was taken back is kept, and counts no more.
    """

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="golden_answers")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="golden_answers")
    kind = models.CharField(max_length=20, choices=verdict_kind_choices)
    label = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    expected = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    right = models.BooleanField()
    blind = models.BooleanField(default=False)
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    seconds = models.FloatField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    taken_back_at = models.DateTimeField(null=True)
    taken_back_key = models.UUIDField(null=True, unique=True)
    put_back_key = models.UUIDField(null=True, unique=True)

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(
                    kind__in=[VerdictKind.KEEP, VerdictKind.RELABEL, VerdictKind.EXCLUDE, VerdictKind.UNSURE]
                ),
                name="golden_answer_is_a_decision",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["reviewer", "-id"], name="golden_answer_reviewer")]

    def __str__(self) -> str:
        return f"{self.kind} of golden {self.image_id} by {self.reviewer_id}"


class ReviewerSkill(models.Model):
    """How a person answers where each class is right, estimated from verdicts of several people on the same images.

    `confusion[right][answer]` is a probability; the keys are those of classes, and "0" for exclude.
    `newest_verdict` is the last one that was looked at.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="skills")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    confusion = models.JSONField()
    newest_verdict = models.PositiveBigIntegerField()
    estimated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "person"], name="skill_once"),
        ]

    def __str__(self) -> str:
        return f"skill of {self.person_id} in {self.dataset_id}"
