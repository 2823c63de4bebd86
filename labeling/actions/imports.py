"""Writing imported images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction

from labeling.actions.escalations import one_at_a_time, quarantine_known_bytes
from labeling.errors import WrongUsage
from labeling.importers.records import ImageRecord
from labeling.models import Dataset, Image, ImageRoot, Source


@dataclass(frozen=True)
class Measured:
    """What the one decode of an image told; see `inference.inspection.ImageFacts` for units."""

    sha256: str
    pixel_sha256: str
    byte_size: int
    modified_ns: int
    width: int
    height: int
    format: str
    mode: str
    phash: int
    dhash: int
    brightness: float
    contrast: float
    sharpness: float
    entropy: float


def add_images(*, dataset: Dataset, root: ImageRoot, images: Sequence[tuple[ImageRecord, int, Measured]]) -> int:
    """Add a chunk of new images, all or none; those with bytes that are in quarantine go there at once.

    Args:
        images: the record, the primary key of its given class, and its facts; paths that are new below the root.
    """
    if not images:
        return 0
    with transaction.atomic():
        sources = {name: _source(dataset, name) for name in sorted({record.source for record, _, _ in images})}
        one_at_a_time()
        added = Image.objects.bulk_create(
            Image(
                dataset=dataset,
                root=root,
                path=record.stored_path,
                source_id=sources[record.source],
                split=record.split,
                given_class_id=class_pk,
                current_class_id=class_pk,
                **vars(facts),
            )
            for record, class_pk, facts in images
        )
        quarantine_known_bytes(added)
    return len(images)


def touch_images(modified: Mapping[int, int]) -> None:
    """Note new modification times (image pk → ns) of files whose bytes are the same as before."""
    with transaction.atomic():
        for pk, modified_ns in modified.items():
            Image.objects.filter(pk=pk).update(modified_ns=modified_ns)


def root_for_import(dataset: Dataset, path: str) -> ImageRoot:
    root, _ = ImageRoot.objects.get_or_create(dataset=dataset, path=path)
    return root


def move_root(*, dataset: Dataset, old: str, new: str) -> ImageRoot:
    """Note that a source folder was moved as a whole: its images stay what they are, only the place is new.

    Args:
        old, new: absolute folders in their stored form (`importers.paths.escape_root`).

    Raises:
        WrongUsage: no images came from `old`, or some did from `new` already.
    """
    with transaction.atomic():
        root = ImageRoot.objects.filter(dataset=dataset, path=old).first()
        if root is None:
            known = list(ImageRoot.objects.filter(dataset=dataset).values_list("path", flat=True))
            raise WrongUsage(
                f"No image of {dataset.slug} came from {old}; its folders are: {', '.join(known) or 'none'}."
            )
        if ImageRoot.objects.filter(dataset=dataset, path=new).exists():
            raise WrongUsage(f"{dataset.slug} has images from {new} already, so {old} cannot become it.")
        root.path = new
        root.save(update_fields=["path"])
        return root


def set_duplicate_groups(*, dataset: Dataset, centres: Mapping[int, int | None], up_to: int) -> int:
    """Set the near-duplicate group of images (image pk → pk of the group's centre, None for an image alone).

    Args:
        up_to: the newest image that was looked at.

    Returns:
        how many images changed their group.
    """
    current = dict(Image.objects.filter(dataset=dataset).values_list("pk", "duplicate_group_id"))
    changed = [
        Image(pk=pk, duplicate_group_id=centre)
        for pk, centre in centres.items()
        if pk in current and current[pk] != centre
    ]
    with transaction.atomic():
        Image.objects.bulk_update(changed, ["duplicate_group"], batch_size=500)
        Dataset.objects.filter(pk=dataset.pk).update(grouped_up_to=up_to)
    return len(changed)


def _source(dataset: Dataset, name: str) -> int:
    source, _ = Source.objects.get_or_create(dataset=dataset, name=name[:300])
    return source.pk
