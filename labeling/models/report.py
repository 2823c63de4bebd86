"""What products say about decisions, and how they are told what people decided."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.dataset import Dataset
from labeling.models.image import Image
from labeling.models.taxonomy import TaxonomyClass
from labeling.models.token import ApiToken
from labeling.models.visible import Everything, OfVisibleImages


class ReportKind(models.TextChoices):
    FALSE_POSITIVE = "false_positive", "held back, but harmless"
    FALSE_NEGATIVE = "false_negative", "let through, but harmful"


def report_kind_choices() -> list[tuple[str, str]]:
    return ReportKind.choices


class Report(models.Model):
    """A product says that a decision about an image is wrong; people look, and the product is told.

    `appeal`: the image was settled then, so somebody else than who settled it looks. `told_at` is null until the
    product was told (or there was nobody to tell) what was decided; `told_class` and `told_excluded` are what it was
    told last, and a later decision that differs is told again.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="reports")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="reports")
    token = models.ForeignKey(ApiToken, on_delete=models.SET_NULL, null=True, related_name="reports")
    kind = models.CharField(max_length=20, choices=report_kind_choices)
    reason = models.CharField(max_length=500, blank=True)
    reference = models.CharField(max_length=200, blank=True, help_text="The product's own name for it.")
    appeal = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    told_at = models.DateTimeField(null=True)
    told_class = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    told_excluded = models.BooleanField(default=False)

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["token", "reference"], condition=~Q(reference=""), name="report_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["dataset", "-id"], name="report_newest")]

    def __str__(self) -> str:
        return f"report {self.pk}: {self.kind}"


class Webhook(models.Model):
    """An address of a product that is told what people decided. Its secret is derived, and kept nowhere."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=2000)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "url"], condition=Q(stopped_at=None), name="webhook_once"),
        ]

    def __str__(self) -> str:
        return self.url


class Delivery(models.Model):
    """One message to one webhook: waiting (`next_try_at`), delivered, or given up."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="deliveries")
    body = models.TextField()
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["next_try_at"], name="delivery_due", condition=Q(next_try_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk} of report {self.report_id}"
