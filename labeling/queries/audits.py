"""The newest audit sample as its page and the overview show it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labeling.models import AuditSample, Dataset, ItemState, Verdict
from labeling.queries.queue_part import newest_sample


@dataclass(frozen=True)
class AuditState:
    """A sample, how much of it is judged, and the estimate that was computed from it last (empty before the first).

    `behind` verdicts were given since that estimate.
    """

    sample: AuditSample
    drawn: int
    answered: int
    estimate: dict[str, Any]
    estimated_at: datetime | None
    behind: int

    @property
    def waiting(self) -> int:
        return self.drawn - self.answered

    @property
    def half_width_points(self) -> str:
        return f"{100 * self.sample.expected_half_width:.1f}"

    @property
    def parts(self) -> tuple[tuple[str, list[dict[str, Any]]], ...]:
        """The estimate by split and by class."""
        return ("split", self.estimate["splits"]), ("class", self.estimate["classes"])


def audit_state(dataset: Dataset) -> AuditState | None:
    """The state of the newest sample, None where there is none; four SQL queries."""
    sample = newest_sample(dataset)
    if sample is None:
        return None
    drawn = sample.images.filter(place__isnull=False)
    return AuditState(
        sample=sample,
        drawn=drawn.count(),
        answered=drawn.filter(image__item__state=ItemState.SETTLED).count(),
        estimate=sample.estimate,
        estimated_at=sample.estimated_at,
        behind=Verdict.objects.filter(image__dataset=dataset, pk__gt=sample.estimated_verdict).count(),
    )


def estimate_is_behind(dataset: Dataset, *, by: int) -> bool:
    """Whether `by` verdicts or more were given since the newest sample's last estimate; False without a sample."""
    sample = newest_sample(dataset)
    if sample is None:
        return False
    newer = Verdict.objects.filter(image__dataset=dataset, pk__gt=sample.estimated_verdict)
    return newer.values("pk")[:by].count() >= by
