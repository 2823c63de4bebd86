"""The standing of an image: what its given label and its verdicts make of it. The only writer of current labels.

A verdict is appended, then the image is folded again from its given label and all its verdicts. Undo is a verdict
too. So everything that a page shows about an image's state can be recomputed from this log (`check_integrity`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.db.models import F

from labeling.models import Dataset, Image, ItemState, ReviewItem, Verdict, VerdictKind

CHUNK = 2000


@dataclass(frozen=True)
class Standing:
    """What the verdicts make of an image."""

    current_class_id: int
    excluded: bool
    state: ItemState
    deciding: Verdict | None


def fold(given_class_id: int, verdicts: Iterable[Verdict]) -> Standing:
    """The standing of an image from its given label and its verdicts in order.

    An undo takes its verdict out; an undo of an undo puts it back. The last verdict that is left decides.
    """
    in_order = list(verdicts)
    taken_back: set[int] = set()
    # Later undos are read first, so that an undone undo no longer takes anything back.
    for verdict in reversed(in_order):
        if verdict.undoes_id is not None and verdict.pk not in taken_back:
            taken_back.add(verdict.undoes_id)
    standing = [v for v in in_order if v.pk not in taken_back and v.kind != VerdictKind.UNDO]
    if not standing:
        return Standing(given_class_id, False, ItemState.OPEN, None)
    last = standing[-1]
    if last.kind == VerdictKind.UNSURE:
        # An unsure verdict leaves the label where the verdicts before it had brought it.
        before = fold(given_class_id, standing[:-1])
        return Standing(before.current_class_id, before.excluded, ItemState.UNSURE, last)
    label_id = last.label_id if last.kind == VerdictKind.RELABEL and last.label_id is not None else given_class_id
    return Standing(label_id, last.kind == VerdictKind.EXCLUDE, ItemState.SETTLED, last)


def standings_of(dataset: Dataset) -> dict[int, Standing]:
    """Image pk → its standing, for every image of the dataset with a verdict, all as of one moment.

    One query reads it all, so labels, exclusions and the verdicts behind them fit each other whatever people decide
    meanwhile.
    """
    verdicts = (
        Verdict.objects.filter(image__dataset=dataset)
        .order_by("image_id", "id")
        .annotate(given_class_id=F("image__given_class_id"))
    )
    return {
        image_id: fold(given_class_id, of_image)
        for (image_id, given_class_id), of_image in groupby(
            list(verdicts), key=lambda verdict: (verdict.image_id, verdict.given_class_id)
        )
    }


def append_verdict(image: Image, verdict: Verdict) -> Verdict:
    # The row lock keeps two verdicts on one image from folding past each other (PostgreSQL; SQLite has one writer).
    Image.objects.select_for_update().get(pk=image.pk)
    verdict.save(force_insert=True)
    standing = fold(image.given_class_id, Verdict.objects.filter(image=image).order_by("id"))
    Image.objects.filter(pk=image.pk).update(current_class_id=standing.current_class_id, excluded=standing.excluded)
    ReviewItem.objects.filter(image=image).update(state=standing.state)
    return verdict


def append_verdicts(verdicts: Sequence[Verdict]) -> None:
    """`append_verdict` for many images at once, each with one new verdict."""
    for start in range(0, len(verdicts), CHUNK):
        part = verdicts[start : start + CHUNK]
        keys = sorted(verdict.image_id for verdict in part)
        given = dict(
            Image.objects.select_for_update().filter(pk__in=keys).order_by("pk").values_list("pk", "given_class_id")
        )
        Verdict.objects.bulk_create(part)
        of_images = Verdict.objects.filter(image__in=keys).order_by("image_id", "id")
        by_standing: dict[tuple[int, bool, ItemState], list[int]] = defaultdict(list)
        for image_id, of_image in groupby(list(of_images), key=lambda verdict: verdict.image_id):
            standing = fold(given[image_id], of_image)
            by_standing[standing.current_class_id, standing.excluded, standing.state].append(image_id)
        for (class_id, excluded, state), images in by_standing.items():
            Image.objects.filter(pk__in=images).update(current_class_id=class_id, excluded=excluded)
            ReviewItem.objects.filter(image__in=images).update(state=state)
