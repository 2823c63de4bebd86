"""How people are protected from what they look at, and how much of it they saw."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q


class ShieldStyle(models.TextChoices):
    BLUR_GREY = "blur-grey", "blurred and grey"
    BLUR = "blur", "blurred"
    GREY = "grey", "grey"


class ImageSize(models.TextChoices):
    FULL = "full", "as large as fits"
    MEDIUM = "medium", "medium"
    SMALL = "small", "small"


def shield_style_choices() -> list[tuple[str, str]]:
    return ShieldStyle.choices


def image_size_choices() -> list[tuple[str, str]]:
    return ImageSize.choices


class Comfort(models.Model):
    """One person's own settings, or the organisation's defaults where `person` is null. Null fields follow those.

    Images of classes from `shield_from_rank` up are shielded; `daily_cap` counts sensitive views a day, and 0 is none.
    """

    person = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="comfort")
    shield_style = models.CharField(max_length=20, choices=shield_style_choices, null=True)  # noqa: DJ001
    shield_from_rank = models.PositiveSmallIntegerField(null=True)
    image_size = models.CharField(max_length=20, choices=image_size_choices, null=True)  # noqa: DJ001
    daily_cap = models.PositiveIntegerField(null=True)
    break_minutes = models.PositiveIntegerField(null=True)
    interleave = models.BooleanField(null=True, help_text="Mix harmless images between sensitive ones.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(models.Value(1), condition=Q(person__isnull=True), name="comfort_one_default"),
        ]

    def __str__(self) -> str:
        return f"comfort of {self.person_id or 'everybody'}"


class Exposure(models.Model):
    """What one person saw on one day: images, those of them that are sensitive, and how often one was revealed."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="exposures")
    day = models.DateField()
    views = models.PositiveIntegerField(default=0)
    sensitive_views = models.PositiveIntegerField(default=0)
    reveals = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["-day"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["person", "day"], name="exposure_once_a_day"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} on {self.day}"
