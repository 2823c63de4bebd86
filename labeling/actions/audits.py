"""Audit samples: writing what was drawn, and what was estimated from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from labeling.models import AuditImage, AuditSample, Dataset, Person, Run


@dataclass(frozen=True)
class SampledImage:
    """One image of the population: its stratum (-1: decided before), its risk, and its place if it was drawn."""

    image_id: int
    stratum: int
    risk: float
    place: int | None


def record_sample(
    *,
    dataset: Dataset,
    run: Run,
    half_width: float,
    expected_half_width: float,
    seed: int,
    images: Sequence[SampledImage],
    person: Person | None,
) -> AuditSample:
    """Write a sample as a whole; it takes the place of the dataset's earlier one.

    Args:
        run: the `find_issues` run that saw the risks.
        half_width, expected_half_width: of the interval, as shares of the images: the wanted one, and the likely one.
        images: the whole population, drawn or not.
    """
    with transaction.atomic():
        sample = AuditSample.objects.create(
            dataset=dataset,
            run=run,
            half_width=half_width,
            expected_half_width=expected_half_width,
            seed=seed,
            created_by=person,
        )
        _write(sample, images)
    return sample


def extend_sample(
    *, sample: AuditSample, half_width: float, expected_half_width: float, images: Sequence[SampledImage]
) -> None:
    """Add newly drawn images, and images that were imported since, to a sample; what was drawn stays drawn."""
    with transaction.atomic():
        _write(sample, images)
        sample.half_width, sample.expected_half_width = half_width, expected_half_width
        sample.save(update_fields=["half_width", "expected_half_width"])


def record_estimate(*, sample: AuditSample, estimate: Mapping[str, Any], newest_verdict: int) -> None:
    with transaction.atomic():
        sample.estimate, sample.estimated_at, sample.estimated_verdict = dict(estimate), timezone.now(), newest_verdict
        sample.save(update_fields=["estimate", "estimated_at", "estimated_verdict"])


def _write(sample: AuditSample, images: Sequence[SampledImage]) -> None:
    AuditImage.objects.bulk_create(
        (
            AuditImage(sample=sample, image_id=one.image_id, stratum=one.stratum, risk=one.risk, place=one.place)
            for one in images
        ),
        batch_size=5000,
        update_conflicts=True,
        unique_fields=["sample", "image"],
        update_fields=["stratum", "risk", "place"],
    )
