"""What people decided about images that are alike: the same file, or a near duplicate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from labeling.models import NO_DECISIONS, Dataset, Image, ItemState, TaxonomyClass, Verdict, VerdictKind
from labeling.queries.counts import KEEPER


@dataclass(frozen=True)
class DecidedBefore:
    """The newest decision on an image that is alike; `label` is None for an excluded one.

    `same_file`: byte for byte, else a near duplicate. `others`: how many more such images were decided otherwise.
    """

    label: TaxonomyClass | None
    by: str
    at: datetime
    same_file: bool
    others: int


GROUP_AFTER = 0.002
"""The share of a dataset's images that come in before its near duplicates are looked for again."""


def groups_are_behind(dataset: Dataset) -> bool:
    """Whether enough images came in since near duplicates were last looked for; at most three SQL queries."""
    upto = Dataset.objects.values_list("grouped_up_to", flat=True).get(pk=dataset.pk)
    new = Image.objects.filter(dataset=dataset, pk__gt=upto)
    wanted = int(GROUP_AFTER * KEEPER.counted(("images", dataset.pk), lambda: dataset.images.count()).value)
    return new[wanted : wanted + 1].exists()


def standing_decisions(images: QuerySet[Image]) -> list[Verdict]:
    """The newest standing decision of each of these images that is settled, oldest decision first; one SQL query."""
    verdicts = (
        Verdict.objects.filter(image__in=images, image__item__state=ItemState.SETTLED, undone_by__isnull=True)
        .exclude(kind__in=(*NO_DECISIONS, VerdictKind.UNSURE))
        .select_related("image__current_class", "reviewer")
        .order_by("pk")
    )
    newest = {verdict.image_id: verdict for verdict in verdicts}
    return sorted(newest.values(), key=lambda verdict: verdict.pk)


def decided_before(images: Sequence[Image]) -> dict[int, DecidedBefore]:
    """Image pk → what people decided on an image of its dataset that is alike, for those with one; two SQL queries,
    or one where nothing is alike, as with most images."""
    if not images:
        return {}
    groups = {image.duplicate_group_id for image in images} - {None}
    alike = Image.objects.filter(
        Q(dataset_id=images[0].dataset_id, sha256__in={image.sha256 for image in images})
        | Q(duplicate_group__in=groups)
    )
    keys = list(alike.values_list("pk", flat=True))
    if len(keys) <= len(images):
        return {}
    decisions = standing_decisions(Image.objects.filter(pk__in=keys))
    found: dict[int, DecidedBefore] = {}
    for image in images:
        of_file = [one for one in decisions if one.image.sha256 == image.sha256 and one.image_id != image.pk]
        of_group = [
            one
            for one in decisions
            if image.duplicate_group_id
            and one.image.duplicate_group_id == image.duplicate_group_id
            and one.image_id != image.pk
        ]
        known = of_file or of_group
        if not known:
            continue
        newest = known[-1]
        answer = (newest.image.current_class_id, newest.image.excluded)
        found[image.pk] = DecidedBefore(
            label=None if newest.image.excluded else newest.image.current_class,
            by=newest.reviewer.username,
            at=newest.created_at,
            same_file=bool(of_file),
            others=sum((one.image.current_class_id, one.image.excluded) != answer for one in known),
        )
    return found
