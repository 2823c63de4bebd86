"""What people said about images, each by themselves: the rows from which agreement is measured."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from labeling.actions.bulk import newest_undos
from labeling.actions.standing import CHUNK, EXCLUDE
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
    """The answers of the dataset in order, or the last so many; three SQL queries and more for what was undone.

    Left out: what was taken back, copies onto near duplicates, decisions about sources and groups, and adjudications,
    whose giver saw what others had said.
    """
    verdicts = (
        Verdict.objects.filter(image__dataset=dataset, alone=False)
        .exclude(kind__in=NO_DECISIONS)
        .filter(Q(bulk__isnull=True) | Q(shown_quality__isnull=False))
        .order_by("-id")
    )
    columns = (
        "pk",
        "image_id",
        "reviewer_id",
        "kind",
        "label_id",
        "image__given_class_id",
        "image__current_class_id",
        "image__excluded",
        "seconds",
        "shown_suggestion_id",
        "hidden_suggestion_id",
        "created_at",
        "undone_by",
    )
    found: list[Any] = list(verdicts.values_list(*columns)[:last] if last else verdicts.values_list(*columns))
    undone = [row[0] for row in found if row[-1] is not None]
    taken_back: set[int] = set()
    for start in range(0, len(undone), CHUNK):
        chains = newest_undos(list(Verdict.objects.filter(pk__in=undone[start : start + CHUNK])))
        taken_back |= {chain.verdict.pk for chain in chains if not chain.stands}
    return [_given(row) for row in reversed(found) if row[0] not in taken_back]


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


def _given(row: Any) -> GivenAnswer:
    pk, image, person, kind, label, given, current, excluded, seconds, shown, hidden, at, _ = row
    right = EXCLUDE if excluded else current
    return GivenAnswer(pk, image, person, _said(kind, label, given), right, seconds, shown, hidden, at)


def _said(kind: str, label_id: int | None, given_class_id: int) -> int | None:
    if kind == VerdictKind.UNSURE:
        return None
    return EXCLUDE if kind == VerdictKind.EXCLUDE else label_id or given_class_id
