"""The terms of a verdict: what the fold has to know of the moment when it was given."""

from typing import TypedDict

from labeling.actions.standing import EXCLUDE, UNKNOWN_RELIABILITY
from labeling.models import (
    Consensus,
    Dataset,
    FilledSlot,
    Membership,
    Person,
    ReviewerSkill,
    ReviewItem,
    TaxonomyClass,
)


class Terms(TypedDict):
    """Fields of `Verdict`."""

    wanted: int
    rule: str
    senior: bool
    evidence: dict[str, float] | None


def terms(item: ReviewItem, locked: ReviewItem, reviewer: Person, *, answer: int) -> Terms:
    """The terms of a verdict that this person gives now.

    Args:
        item: with its dataset.
        locked: the same item as it stands now.
        answer: the class that the verdict says is right, or `EXCLUDE`.
    """
    dataset = Dataset.objects.get(pk=item.dataset_id)
    wanted = dataset.verdicts_wanted
    if locked.missing is not None:
        wanted = locked.missing + FilledSlot.objects.filter(item=locked, slot__isnull=False).count()
    weighed = dataset.consensus == Consensus.DAWID_SKENE and wanted > 1
    return Terms(
        wanted=wanted,
        rule=dataset.consensus,
        senior=wanted > 1 and is_senior(dataset, reviewer),
        evidence=evidence_of_answer(dataset, reviewer, answer) if weighed else None,
    )


def is_senior(dataset: Dataset, person: Person) -> bool:
    return Membership.objects.filter(dataset=dataset, person=person, senior=True).exists()


def evidence_of_answer(dataset: Dataset, person: Person, answer: int) -> dict[str, float]:
    """For each class that may be right, how probable it is that this person answers so."""
    right = [EXCLUDE, *TaxonomyClass.objects.filter(taxonomy_id=dataset.taxonomy_id).values_list("pk", flat=True)]
    skill = ReviewerSkill.objects.filter(dataset=dataset, person=person).first()
    if skill is not None:
        return {str(one): float(skill.confusion[str(one)][str(answer)]) for one in right}
    other = (1 - UNKNOWN_RELIABILITY) / (len(right) - 1)
    return {str(one): UNKNOWN_RELIABILITY if one == answer else other for one in right}
