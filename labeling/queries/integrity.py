"""Recompute what is derived, and report what differs from what is stored."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from labeling.actions.escalations import fold_case
from labeling.actions.releases import NewEntry, content_hash
from labeling.actions.standing import Standing, fold
from labeling.models import (
    Dataset,
    Escalation,
    EscalationState,
    FilledSlot,
    Image,
    ItemState,
    Promotion,
    Quarantine,
    Release,
    ReleaseEntry,
    ReviewItem,
    Verdict,
)


@dataclass(frozen=True)
class Difference:
    """One stored value that is not what it should be."""

    where: str
    expected: str
    received: str


def differences() -> Iterator[Difference]:
    """Everything derivable whose stored value differs: current labels, exclusions, item states, release hashes, cases
    and what is in quarantine because of them, and which model was promoted in the place of which.
    """
    standings = dict(_standings())
    yield from _image_differences(standings)
    yield from _item_differences(standings)
    yield from _release_differences()
    yield from _quarantine_differences()
    yield from _promotion_differences()


def _standings() -> Iterator[tuple[int, Standing]]:
    verdicts = Verdict.everything.select_related("image").order_by("image_id", "id").iterator(chunk_size=2000)
    for image, of_image in groupby(verdicts, key=lambda verdict: (verdict.image_id, verdict.image.given_class_id)):
        yield image[0], fold(image[1], of_image)


def _image_differences(standings: dict[int, Standing]) -> Iterator[Difference]:
    rows = Image.everything.order_by("pk").values_list(
        "pk", "path", "given_class_id", "current_class_id", "excluded", "quarantine__escalation"
    )
    for pk, path, given, current, excluded, case in rows.iterator(chunk_size=2000):
        standing = standings.get(pk) or fold(given, ())
        if (current, excluded) != (standing.current_class_id, standing.excluded):
            yield Difference(
                f"an image of case {case}" if case else f"image {pk} ({path})",
                f"class {standing.current_class_id}, excluded {standing.excluded} by its verdicts",
                f"class {current}, excluded {excluded} is stored",
            )


def _item_differences(standings: dict[int, Standing]) -> Iterator[Difference]:
    filled: dict[int, set[tuple[int, int | None, int]]] = defaultdict(set)
    for one in FilledSlot.everything.iterator(chunk_size=2000):
        filled[one.item_id].add((one.reviewer_id, one.slot, one.verdict_id))
    unjudged = Standing(0, False, ItemState.OPEN, None)
    rows = ReviewItem.everything.values_list("pk", "image_id", "state", "missing", "image__quarantine__escalation")
    for pk, image_id, state, missing, case in rows.iterator(chunk_size=2000):
        standing = standings.get(image_id, unjudged)
        if (state, missing) != (standing.state, standing.missing):
            yield Difference(
                f"the review item of an image of case {case}" if case else f"review item {pk}",
                f"{standing.state}, {standing.missing} verdicts missing by its verdicts",
                f"{state}, {missing} missing is stored",
            )
        expected = {(who.reviewer_id, who.slot, who.verdict_id) for who in standing.filled}
        if filled[pk] != expected:
            yield Difference(
                f"slots of an item of case {case}" if case else f"slots of review item {pk}",
                f"{sorted(map(str, expected))}",
                f"{sorted(map(str, filled[pk]))}",
            )


def _release_differences() -> Iterator[Difference]:
    for release in Release.objects.select_related("dataset"):
        entries = ReleaseEntry.everything.filter(release=release)
        rows = entries.values_list("image_id", "sha256", "split", "label_id", "label__name")
        in_order = rows.order_by("sha256").iterator(chunk_size=2000)
        recomputed = content_hash(NewEntry(*row, None, None) for row in in_order)
        if recomputed != release.content_hash:
            yield Difference(
                f"release {release.version} of {release.dataset}",
                f"content hash {release.content_hash}",
                f"its entries hash to {recomputed}",
            )


def _promotion_differences() -> Iterator[Difference]:
    """Each event replaces what the one before it chose, and a rollback returns to what its promotion replaced."""
    current: dict[int, int | None] = {}
    for event in Promotion.objects.select_related("takes_back").order_by("dataset_id", "id"):
        before = current.get(event.dataset_id)
        chosen = event.takes_back.replaced_id if event.takes_back else event.model_version_id
        if (event.replaced_id, event.model_version_id) != (before, chosen):
            yield Difference(
                f"promotion {event.pk}",
                f"model {chosen} in the place of {before}",
                f"{event.model_version_id} in the place of {event.replaced_id} is stored",
            )
        current[event.dataset_id] = event.model_version_id


def _quarantine_differences() -> Iterator[Difference]:
    """Cases are the fold of their events, and exactly the images with the bytes of a case that stands are hidden."""
    datasets = list(Dataset.objects.values_list("pk", flat=True))
    expected: dict[int, int] = {}
    for case in Escalation.objects.prefetch_related("events"):
        standing = fold_case(case.events.all())
        stored = (case.state, case.legal_hold, case.purged_at is not None)
        if stored != (standing.state, standing.legal_hold, standing.purged):
            yield Difference(
                f"case {case.pk}",
                f"{standing.state}, legal hold {standing.legal_hold}, purged {standing.purged} by its events",
                f"{case.state}, legal hold {case.legal_hold}, purged {case.purged_at is not None} is stored",
            )
        if standing.state != EscalationState.RELEASED:
            same = Image.everything.filter(sha256=case.sha256, dataset__in=datasets)
            expected |= dict.fromkeys(same.values_list("pk", flat=True), case.pk)
    received = dict(Quarantine.objects.values_list("image", "escalation"))
    items = dict(ReviewItem.everything.filter(image__in=list(received)).values_list("image", "pk"))
    for image, item, held in Quarantine.objects.values_list("image", "item", "escalation"):
        if items.get(image) != item:
            yield Difference(f"an item of case {held}", f"item {items.get(image)}", f"item {item} is stored")
    for image in sorted(expected.keys() | received.keys()):
        if expected.get(image) != received.get(image):
            yield Difference(
                f"quarantine of an image with the bytes of case {expected.get(image) or received.get(image)}",
                f"in quarantine by case {expected.get(image)}",
                f"by case {received.get(image)} is stored",
            )
