"""Policies: saving a version, writing bands, and queueing the images that became unknown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from labeling.errors import Conflict, NothingToDo
from labeling.models import (
    BandName,
    BandSample,
    Claim,
    Dataset,
    Image,
    ImageBand,
    ItemState,
    ModelVersion,
    Person,
    Policy,
    Prediction,
    ReviewItem,
    Run,
    RunKind,
    TaxonomyClass,
    Verdict,
)
from labeling.queries.policies import newest_policy
from labeling.queries.queue_part import side_region

CHUNK = 2000
NOTE_LENGTH = 300

# Items of these runs are there for what the run found or drew, whatever the band.
_KEPT_KINDS = (RunKind.FIND_ISSUES, RunKind.RERANK, RunKind.BAND_SAMPLE, RunKind.REPORT)

# Behind everything that a ranking places, the riskiest first.
_PLACE = 10.0

_WRITE_BAND = (
    "INSERT INTO labeling_imageband (image_id, dataset_id, unsafe, adult, held, band, draw) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (image_id) DO UPDATE SET "
    "unsafe = excluded.unsafe, adult = excluded.adult, held = excluded.held, band = excluded.band"
)

_BAND = "CASE WHEN held THEN 'unknown' WHEN unsafe <= %s THEN 'safe' WHEN adult >= %s THEN 'adult' ELSE 'unknown' END"
# The sum keeps planners from an index on the dataset: in the order of the images, a million rows are read ten times
# faster than one after the other in the order of an index.
_MOVE_BANDS = (
    f"UPDATE labeling_imageband SET band = {_BAND} "  # noqa: S608 - a constant
    f"WHERE image_id >= %s AND image_id < %s AND dataset_id + 0 = %s AND band <> {_BAND}"
)
_WALK = 50_000


@dataclass(frozen=True, eq=False)
class NewBands:
    """Rows of `ImageBand`, one entry an image in each array; an image that has a row keeps its draw."""

    image_id: npt.NDArray[np.int64]
    unsafe: npt.NDArray[np.float64]
    adult: npt.NDArray[np.float64]
    held: npt.NDArray[np.bool_]
    band: npt.NDArray[np.str_]
    draw: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image_id)


def record_policy(
    *,
    dataset: Dataset,
    model_version: ModelVersion,
    definition: Mapping[str, Any],
    note: str,
    person: Person | None,
    expected: int,
) -> Policy:
    """Save the next version of a dataset's policy; the bands are changed by the run that applies it.

    Args:
        definition: what `PolicyDefinition.as_json` gave.
        expected: the version that the person saw, 0 for none.

    Raises:
        Conflict: somebody saved another version in the meantime.
        NothingToDo: it is what the newest version says already.
    """
    newest = newest_policy(dataset)
    if newest is None and expected:
        raise Conflict(f"Expected version {expected} to be the newest; {dataset.slug} has no policy yet.")
    if newest is not None and newest.version != expected:
        raise Conflict(_saved_meanwhile(newest, expected))
    if newest is not None and newest.definition == definition and newest.model_version_id == model_version.pk:
        raise NothingToDo(f"Nothing was changed: version {newest.version} says the same.")
    try:
        with transaction.atomic():
            return Policy.objects.create(
                dataset=dataset,
                version=(newest.version if newest else 0) + 1,
                model_version=model_version,
                definition=dict(definition),
                note=note.strip()[:NOTE_LENGTH],
                created_by=person,
            )
    except IntegrityError:
        # Two people saved at the same moment; the database let one in.
        faster = newest_policy(dataset)
        if faster is None or faster == newest:
            raise
        raise Conflict(_saved_meanwhile(faster, expected)) from None


def _saved_meanwhile(newest: Policy, expected: int) -> str:
    by = f" by {newest.created_by.username}" if newest.created_by else ""
    return (
        f"Version {newest.version} was saved{by} in the meantime; yours was made from "
        f"{f'version {expected}' if expected else 'no version'}. Nothing was changed. Look at what differs, then save "
        "yours again if it is still meant."
    )


def hold_bands(dataset: Dataset) -> None:
    """Keep everybody else from writing bands of the dataset until this transaction ends (SQLite has one writer)."""
    Dataset.objects.select_for_update().get(pk=dataset.pk)


def count_changed(*, dataset: Dataset, bands: NewBands) -> int:
    """How many of these images have another band stored, or none."""
    keys = bands.image_id.tolist()
    if not keys:
        return 0
    stored = ImageBand.everything.filter(dataset=dataset, image_id__gte=min(keys), image_id__lte=max(keys))
    before = dict(stored.values_list("image_id", "band"))
    return sum(before.get(image) != band for image, band in zip(keys, bands.band.tolist(), strict=True))


def write_bands(*, dataset: Dataset, bands: NewBands) -> None:
    """Write or rewrite the bands of images. Call it with `hold_bands`."""
    columns = (bands.unsafe, bands.adult, bands.held, bands.band, bands.draw)
    rows = zip(bands.image_id.tolist(), repeat(dataset.pk), *(column.tolist() for column in columns), strict=False)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(_WRITE_BAND, list(rows))


def move_thresholds(
    *, dataset: Dataset, safe_up_to: float, adult_from: float, advance: Callable[[int], None] = lambda images: None
) -> int:
    """Give every image of the dataset the band that its stored scores have now; how many changed.

    Args:
        advance: told how many image numbers were gone through, again and again.
    """
    first, last = _image_numbers(dataset)
    thresholds = (safe_up_to, adult_from)
    changed = 0
    with transaction.atomic(), connection.cursor() as cursor:
        for start in range(first, last + 1, _WALK):
            cursor.execute(_MOVE_BANDS, (*thresholds, start, min(start + _WALK, last + 1), dataset.pk, *thresholds))
            changed += cursor.rowcount
            advance(min(_WALK, last + 1 - start))
    return changed


def _image_numbers(dataset: Dataset) -> tuple[int, int]:
    """The lowest and the highest primary key of all the dataset's images; (1, 0) where there are none."""
    keys = Image.everything.filter(dataset=dataset).order_by("pk").values_list("pk", flat=True)
    first, last = keys.first(), keys.last()
    return (first, last) if first is not None and last is not None else (1, 0)


def drop_bands_without_prediction(*, dataset: Dataset, model_version: ModelVersion) -> None:
    """Remove the bands of images that this model version has not scored."""
    scored = Prediction.everything.filter(image=OuterRef("image_id"), model_version=model_version)
    with transaction.atomic():
        ImageBand.everything.filter(~Exists(scored), dataset=dataset).delete()


def put_in_force(*, policy: Policy) -> None:
    """The bands are now this version's."""
    policy.applied_at = timezone.now()
    with transaction.atomic():
        Policy.objects.filter(pk=policy.pk).update(applied_at=policy.applied_at)


def queue_unknown(
    *,
    dataset: Dataset,
    model_version: ModelVersion,
    run: Run,
    after: int = 0,
    images: Sequence[int] | None = None,
) -> tuple[int, int | None]:
    """Queue images of the unknown band that have no review item and that nobody has decided, up to `CHUNK` of them.

    Args:
        model_version: the policy's.
        after: an image; only later ones.
        images: only these.

    Returns:
        how many were queued, and the last of them where there may be more.
    """
    waiting = ImageBand.objects.filter(dataset=dataset, band=BandName.UNKNOWN, image_id__gt=after)
    if images is not None:
        waiting = waiting.filter(image_id__in=images)
    return _queue(dataset, model_version, run, waiting, "unknown band")


def _queue(
    dataset: Dataset, model_version: ModelVersion, run: Run, waiting: QuerySet[ImageBand], why: str
) -> tuple[int, int | None]:
    with transaction.atomic():
        queued = ReviewItem.objects.filter(image=OuterRef("image_id"))
        judged = Verdict.objects.filter(image=OuterRef("image_id"))
        found = list(
            waiting.filter(~Exists(queued), ~Exists(judged), image__excluded=False)
            .order_by("image_id")
            .values_list("image_id", "unsafe", "image__given_class_id")[:CHUNK]
        )
        keys = [image for image, _, _ in found]
        predicted = dict(
            Prediction.objects.filter(image__in=keys, model_version=model_version).values_list(
                "image_id", "predicted_index"
            )
        )
        same = model_version.taxonomy_id == dataset.taxonomy_id
        classes = dict(TaxonomyClass.objects.filter(taxonomy=dataset.taxonomy_id).values_list("index", "pk"))
        ReviewItem.objects.bulk_create(
            [
                ReviewItem(
                    dataset=dataset,
                    image_id=image,
                    given_class_id=given,
                    run=run,
                    # Nothing is known against the label: no out-of-sample judgement has seen it.
                    label_quality=1.0,
                    suggested_class_id=classes.get(predicted.get(image, -1), given) if same else given,
                    reason=f"{why}: unsafe score {unsafe:.2f}",
                    priority=_PLACE - unsafe,
                )
                for image, unsafe, given in found
            ],
            ignore_conflicts=True,
        )
    return len(found), keys[-1] if len(found) == CHUNK else None


def withdraw_known(*, dataset: Dataset) -> int:
    """Take items out of the queue that only their band had put there, whose band is known now, and that nobody judged.

    One that somebody holds right now stays; its verdict counts.

    Returns:
        how many, up to `CHUNK`; call it again while it gives that many.
    """
    runs = list(Run.objects.filter(dataset=dataset).exclude(kind__in=_KEPT_KINDS).values_list("pk", flat=True))
    held = Claim.objects.filter(item=OuterRef("pk"), lease_expires_at__gt=timezone.now())
    judged = Verdict.objects.filter(image=OuterRef("image_id"))
    with transaction.atomic():
        known = (
            ReviewItem.objects.filter(dataset=dataset, run__in=runs, state=ItemState.OPEN)
            .exclude(image__banding__band=BandName.UNKNOWN)
            .filter(~Exists(held), ~Exists(judged))
            .order_by("pk")
        )
        keys = list(known.values_list("pk", flat=True)[:CHUNK])
        ReviewItem.objects.filter(pk__in=keys).delete()
    return len(keys)


def record_band_sample(
    *, dataset: Dataset, policy: Policy, run: Run, side: str, threshold: float, wanted: int, person: Person | None
) -> BandSample:
    """Draw images of a side at random for people to judge blind; it takes the place of the side's earlier sample.

    Args:
        threshold: of the side's own score: the side as the person is looking at it, in force or not.
        wanted: images that nobody has judged yet; fewer are drawn where there are fewer.

    Raises:
        NothingToDo: no image of the side is unjudged.
    """
    region = ImageBand.objects.filter(side_region(side, threshold), dataset=dataset, image__excluded=False)
    with transaction.atomic():
        # Later images have draws too, and would enter the sample unjudged day by day.
        newest = ImageBand.objects.filter(dataset=dataset).order_by("-image_id").values_list("image_id", flat=True)[0]
        unjudged = region.exclude(image__item__state=ItemState.SETTLED).order_by("draw")
        draws = list(unjudged.values_list("draw", flat=True)[:wanted])
        if not draws:
            raise NothingToDo(f"Every image that the {side} side decides there is judged already; nothing was drawn.")
        sample = BandSample.objects.create(
            dataset=dataset,
            side=side,
            threshold=threshold,
            cut=draws[-1],
            newest_image=newest,
            drawn=len(draws),
            created_by=person,
        )
        missing = region.filter(draw__lte=draws[-1], image_id__lte=newest)
        # What only its band had put into the queue stays there from now on, whatever becomes of its band.
        there = ReviewItem.objects.filter(image__in=missing.values("image_id")).exclude(run__kind__in=_KEPT_KINDS)
        there.update(run=run)
        more: int | None = 0
        while more is not None:
            _, more = _queue(
                dataset,
                policy.model_version,
                run,
                missing.filter(image_id__gt=more),
                f"drawn at random from the {side} side",
            )
    return sample
