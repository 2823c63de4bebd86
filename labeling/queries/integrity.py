"""Recompute what is derived, and report what differs from what is stored."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from labeling.actions.releases import NewEntry, content_hash
from labeling.actions.standing import Standing, fold
from labeling.models import FilledSlot, Image, ItemState, Release, ReviewItem, Verdict


@dataclass(frozen=True)
class Difference:
    """One stored value that is not what it should be."""

    where: str
    expected: str
    received: str


def differences() -> Iterator[Difference]:
    """Everything derivable whose stored value differs: current labels, exclusions, item states, release hashes."""
    standings = dict(_standings())
    yield from _image_differences(standings)
    yield from _item_differences(standings)
    yield from _release_differences()


def _standings() -> Iterator[tuple[int, Standing]]:
    verdicts = Verdict.objects.select_related("image").order_by("image_id", "id").iterator(chunk_size=2000)
    for image, of_image in groupby(verdicts, key=lambda verdict: (verdict.image_id, verdict.image.given_class_id)):
        yield image[0], fold(image[1], of_image)


def _image_differences(standings: dict[int, Standing]) -> Iterator[Difference]:
    rows = Image.objects.order_by("pk").values_list("pk", "path", "given_class_id", "current_class_id", "excluded")
    for pk, path, given, current, excluded in rows.iterator(chunk_size=2000):
        standing = standings.get(pk) or fold(given, ())
        if (current, excluded) != (standing.current_class_id, standing.excluded):
            yield Difference(
                f"image {pk} ({path})",
                f"class {standing.current_class_id}, excluded {standing.excluded} by its verdicts",
                f"class {current}, excluded {excluded} is stored",
            )


def _item_differences(standings: dict[int, Standing]) -> Iterator[Difference]:
    filled: dict[int, set[tuple[int, int | None, int]]] = defaultdict(set)
    for one in FilledSlot.objects.iterator(chunk_size=2000):
        filled[one.item_id].add((one.reviewer_id, one.slot, one.verdict_id))
    unjudged = Standing(0, False, ItemState.OPEN, None)
    rows = ReviewItem.objects.values_list("pk", "image_id", "state", "missing")
    for pk, image_id, state, missing in rows.iterator(chunk_size=2000):
        standing = standings.get(image_id, unjudged)
        if (state, missing) != (standing.state, standing.missing):
            yield Difference(
                f"review item {pk}",
                f"{standing.state}, {standing.missing} verdicts missing by its verdicts",
                f"{state}, {missing} missing is stored",
            )
        expected = {(who.reviewer_id, who.slot, who.verdict_id) for who in standing.filled}
        if filled[pk] != expected:
            yield Difference(
                f"slots of review item {pk}", f"{sorted(map(str, expected))}", f"{sorted(map(str, filled[pk]))}"
            )


def _release_differences() -> Iterator[Difference]:
    for release in Release.objects.select_related("dataset"):
        rows = release.entries.values_list("image_id", "sha256", "split", "label_id", "label__name")
        recomputed = content_hash(NewEntry(*row, None, None) for row in rows.iterator(chunk_size=2000))
        if recomputed != release.content_hash:
            yield Difference(
                f"release {release.version} of {release.dataset}",
                f"content hash {release.content_hash}",
                f"its entries hash to {recomputed}",
            )
