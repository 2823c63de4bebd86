"""Writing what a `find_issues` run found: fold predictions, label issues, and the order of the queue."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from labeling.models import Dataset, FoldPrediction, IssueKind, LabelIssue, ReviewItem, Run


@dataclass(frozen=True)
class Finding:
    kind: IssueKind
    reason: str


@dataclass(frozen=True)
class RankedImage:
    """One image as the run saw it. `label_quality` is 0..1, low = likely wrong."""

    image_id: int
    fold: int
    probabilities: bytes
    label_quality: float
    suspected: bool
    suggested_class_id: int
    reason: str
    findings: tuple[Finding, ...]


def record_ranking(*, dataset: Dataset, run: Run, ranked: Sequence[RankedImage]) -> None:
    """Write a chunk of the ranking; writing the same chunk again changes nothing.

    The items' states are left alone: what people settled stays settled.
    """
    with transaction.atomic():
        FoldPrediction.objects.bulk_create(
            [
                FoldPrediction(run=run, image_id=one.image_id, fold=one.fold, probabilities=one.probabilities)
                for one in ranked
            ],
            update_conflicts=True,
            unique_fields=["run", "image"],
            update_fields=["fold", "probabilities"],
        )
        LabelIssue.objects.bulk_create(
            [
                LabelIssue(
                    run=run,
                    image_id=one.image_id,
                    kind=finding.kind,
                    label_quality=one.label_quality,
                    suggested_class_id=one.suggested_class_id,
                    reason=finding.reason,
                )
                for one in ranked
                for finding in one.findings
            ],
            update_conflicts=True,
            unique_fields=["run", "image", "kind"],
            update_fields=["label_quality", "suggested_class", "reason"],
        )
        ReviewItem.objects.bulk_create(
            [
                ReviewItem(
                    dataset=dataset,
                    image_id=one.image_id,
                    run=run,
                    label_quality=one.label_quality,
                    suspected=one.suspected,
                    suggested_class_id=one.suggested_class_id,
                    reason=one.reason,
                )
                for one in ranked
            ],
            update_conflicts=True,
            unique_fields=["image"],
            update_fields=["run", "label_quality", "suspected", "suggested_class", "reason"],
        )


def drop_superseded_findings(*, dataset: Dataset, run: Run) -> None:
    """Remove the fold predictions and issues of earlier runs: the run that is done says it all again."""
    with transaction.atomic():
        FoldPrediction.objects.filter(run__dataset=dataset).exclude(run=run).delete()
        LabelIssue.objects.filter(run__dataset=dataset).exclude(run=run).delete()
