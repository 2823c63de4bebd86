"""Writing how reliable each person is; the consensus of Dawid and Skene reads it when a verdict is given."""

from collections.abc import Mapping

from django.db import transaction

from labeling.models import Dataset, ReviewerSkill


def record_skills(
    *, dataset: Dataset, confusion: Mapping[int, Mapping[str, Mapping[str, float]]], newest_verdict: int
) -> None:
    """Store the confusion of each person, by the person's key: right class → given answer → probability."""
    with transaction.atomic():
        ReviewerSkill.objects.bulk_create(
            [
                ReviewerSkill(
                    dataset=dataset,
                    person_id=person,
                    confusion={right: dict(row) for right, row in rows.items()},
                    newest_verdict=newest_verdict,
                )
                for person, rows in confusion.items()
            ],
            update_conflicts=True,
            unique_fields=["dataset", "person"],
            update_fields=["confusion", "newest_verdict", "estimated_at"],
        )
