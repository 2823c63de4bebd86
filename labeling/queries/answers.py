"""What people said about images, each by themselves: the rows from which agreement is measured."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from labeling.actions.bulk import newest_undos
from labeling.actions.standing import EXCLUDE, answer_of
from labeling.models import NO_DECISIONS, Dataset, GoldenAnswer, ReviewerSkill, Verdict, VerdictKind


@dataclass(frozen=True)
class GivenAnswer:
    """A standing verdict that a person gave on an image of their own accord, looking at it.

    `said` is the class that it says is right, `EXCLUDE` for none, and None for unsure. `right` is the image's current
    class or `EXCLUDE`. `hidden` is what a blind one was kept from seeing.
    """

    verdict_id: int
    image_id: int
    person_id: int
    said: int | None
    right: int
    seconds: float | None
    shown: int | None
    hidden: int | None
    at: datetime


@dataclass(frozen=True)
class GoldenRow:
    """An answer to a golden image; `expected` and `said` are classes or `EXCLUDE`, `said` None for unsure."""

    image_id: int
    person_id: int
    said: int | None
    expected: int
    right: bool
    seconds: float | None


def given_answers(dataset: Dataset, *, last: int | None = None) -> list[GivenAnswer]:
    """The answers of the dataset in order, or the last so many; three SQL queries.

    Left out: what was taken back, copies onto near duplicates, decisions about sources and groups, and adjudications,
    whose giver saw what others had said.
    """
    rows = (
        Verdict.objects.filter(image__dataset=dataset, alone=False)
        .exclude(kind__in=NO_DECISIONS)
        .filter(Q(bulk__isnull=True) | Q(shown_quality__isnull=False))
        .select_related("image", "undone_by")
        .order_by("-id")
    )
    found = list(rows[:last] if last else rows)
    undone = newest_undos([verdict for verdict in found if hasattr(verdict, "undone_by")])
    taken_back = {chain.verdict.pk for chain in undone if not chain.stands}
    return [_given(verdict) for verdict in reversed(found) if verdict.pk not in taken_back]


def golden_rows(dataset: Dataset) -> list[GoldenRow]:
    """Every answer to a golden image that counts, in order; one SQL query."""
    answers = GoldenAnswer.objects.filter(image__dataset=dataset, taken_back_at__isnull=True).order_by("id")
    rows: list[Any] = list(
        answers.values_list(
            "image_id", "reviewer_id", "kind", "label_id", "image__given_class_id", "expected_id", "right", "seconds"
        )
    )
    return [
        GoldenRow(image, person, _said(kind, label, given), expected or EXCLUDE, right, seconds)
        for image, person, kind, label, given, expected, right, seconds in rows
    ]


def skills_are_behind(dataset: Dataset, *, by: int) -> bool:
    """Whether `by` verdicts or more were given since people's reliability was estimated last."""
    newest = ReviewerSkill.objects.filter(dataset=dataset).order_by("-newest_verdict").first()
    newer = Verdict.objects.filter(image__dataset=dataset, pk__gt=newest.newest_verdict if newest else 0)
    return newer.values("pk")[:by].count() >= by


def _given(verdict: Verdict) -> GivenAnswer:
    image = verdict.image
    return GivenAnswer(
        verdict_id=verdict.pk,
        image_id=verdict.image_id,
        person_id=verdict.reviewer_id,
        said=None if verdict.kind == VerdictKind.UNSURE else answer_of(verdict, image.given_class_id),
        right=EXCLUDE if image.excluded else image.current_class_id,
        seconds=verdict.seconds,
        shown=verdict.shown_suggestion_id,
        hidden=verdict.hidden_suggestion_id,
        at=verdict.created_at,
    )


def _said(kind: str, label_id: int | None, given_class_id: int) -> int | None:
    if kind == VerdictKind.UNSURE:
        return None
    return EXCLUDE if kind == VerdictKind.EXCLUDE else label_id or given_class_id
