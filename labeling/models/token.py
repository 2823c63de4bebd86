"""API tokens: what a program may do with one dataset."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from labeling.models.dataset import Dataset


class Scope(models.TextChoices):
    PREDICT = "predict", "predict"
    MODERATE = "moderate", "moderate"
    SUBMIT = "submit", "submit images"
    REPORT = "report", "report mistakes"


class ApiToken(models.Model):
    """A token of one dataset. Its text is shown once, when it is made; only a hash of the secret half is kept.

    `minute` and `taken` count the calls of the current minute (since 1970, UTC), which server processes take in
    blocks; see `actions.tokens`.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, help_text="What uses it, for people.")
    public_part = models.CharField(max_length=16, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    per_minute = models.PositiveIntegerField(default=600)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    minute = models.BigIntegerField(default=0)
    taken = models.PositiveIntegerField(default=0)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(per_minute__gte=1), name="token_takes_a_call"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_part})"


class WorkerBeat(models.Model):
    """A worker process that is alive, or was at `seen_at`."""

    host = models.CharField(max_length=200)
    pid = models.PositiveBigIntegerField()
    seen_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["host", "pid"], name="worker_once")]

    def __str__(self) -> str:
        return f"{self.pid} on {self.host}"
