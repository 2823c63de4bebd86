"""Runs: long jobs with progress, a heartbeat and a result."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.dataset import Dataset
from labeling.models.visible import Everything, VisibleRefusals


class RunKind(models.TextChoices):
    IMPORT = "import", "import"
    SCORE = "score", "score"
    FIND_ISSUES = "find_issues", "find issues"
    RERANK = "rerank", "re-rank"
    REORDER = "reorder", "change the order"
    AUDIT = "audit", "draw an audit sample"
    CUT = "cut", "cut a release"
    EXPORT = "export", "export"
    POLICY = "policy", "apply a policy"
    BAND_SAMPLE = "band_sample", "draw a sample of a band"
    API = "api", "receive images by the API"
    REPORT = "report", "take reports of mistakes"
    EVALUATE = "evaluate", "evaluate a model"
    PROMOTE = "promote", "promote a model"
    LOOP = "loop", "loop"
    VERDICTS = "verdicts", "import verdicts"
    PREDICTIONS = "predictions", "import predictions"
    TRAIN = "train", "train a model"


def run_kind_choices() -> list[tuple[str, str]]:
    return RunKind.choices


class RunState(models.TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    STOPPED = "stopped", "stopped"


def run_state_choices() -> list[tuple[str, str]]:
    return RunState.choices


class Run(models.Model):
    """One long job. A killed run stays `running` with a dead owner; the next start of the same job adopts it."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=20, choices=run_kind_choices)
    state = models.CharField(max_length=20, choices=run_state_choices, default=RunState.QUEUED)
    parameters = models.JSONField(default=dict)
    stage = models.CharField(max_length=100, blank=True)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(null=True)
    host = models.CharField(max_length=200, blank=True)
    stop_requested = models.BooleanField(default=False)
    summary = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="runs")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["dataset", "kind"], condition=Q(state="running"), name="run_one_running_of_a_kind"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} run {self.pk}"


class RunRefusal(models.Model):
    """A file that a run could not use, with the reason; the run went on."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="refusals")
    path = models.CharField(max_length=4096)
    code = models.CharField(max_length=40)
    reason = models.CharField(max_length=500)

    objects = VisibleRefusals()
    everything = Everything()

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "path", "code"], name="refusal_once"),
        ]

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
