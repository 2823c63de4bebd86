"""Writing evaluations: added once, never changed."""

import json
from typing import Any

from django.db import transaction

from labeling.models import Evaluation, LabelsUsed, Level, ModelVersion, Release, Run


def record_evaluation(
    *,
    run: Run,
    release: Release,
    model_version: ModelVersion,
    split: str,
    labels: LabelsUsed,
    class_map: dict[str, str],
    level: Level,
    images: int,
    in_sample: int,
    unscored: int,
    hidden: int,
    figures: dict[str, Any],
) -> Evaluation:
    """The evaluation with these figures; the last one of the same question is returned where it says the same."""
    asked = {
        "release": release,
        "model_version": model_version,
        "split": split,
        "labels": labels,
        "class_map": class_map,
    }
    found = {
        "level": level,
        "images": images,
        "in_sample": in_sample,
        "unscored": unscored,
        "hidden": hidden,
        # As the database gives it back, which knows no tuples.
        "figures": json.loads(json.dumps(figures)),
    }
    with transaction.atomic():
        last = Evaluation.objects.filter(**asked).first()
        if last is not None and all(getattr(last, name) == value for name, value in found.items()):
            return last
        return Evaluation.objects.create(**asked, **found, run=run)
