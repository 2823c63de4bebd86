"""Promotions: which model version a dataset works with, and since when."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from labeling.models.dataset import Dataset
from labeling.models.prediction import ModelVersion


class Promotion(models.Model):
    """An event: from now on the dataset works with `model_version`, before it with `replaced`.

    None means the newest version of the starter model, with which every dataset begins. The last event counts. A
    rollback is an event too, which names the promotion that it takes back. Rows are only ever added (a database trigger
    refuses changes).
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="promotions")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="promotions")
    replaced = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    takes_back = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="taken_back_by")
    reason = models.CharField(max_length=300, blank=True)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(model_version__isnull=False) | models.Q(takes_back__isnull=False),
                name="promotion_names_model",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["dataset", "-id"], name="promotion_newest")]

    def __str__(self) -> str:
        return f"{self.model_version_id} in {self.dataset_id}"
