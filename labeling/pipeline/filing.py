"""Filing a picture that came over the API: its bytes in the media folder, an image, its prediction and its band.

A picture is filed once: its file is named by its hash, and a second request with the same bytes finds the first.
"""

import hashlib
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

import numpy as np
from django.conf import settings
from django.db import IntegrityError, transaction

from inference.inspection import ImageFacts, inspect_image
from labeling.actions.filing import standing_run
from labeling.actions.imports import add_images, root_for_import
from labeling.actions.predictions import NewPrediction
from labeling.errors import LabelingError, UnknownClass, nearest
from labeling.importers.paths import escape, escape_root
from labeling.importers.records import ImageRecord
from labeling.models import Dataset, Image, ImageRoot, ModelVersion, Quarantine, RunKind, TaxonomyClass
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.importing import keep_thumbnail, measured, thumbnail_path
from labeling.pipeline.moderating import hands
from labeling.pipeline.policies import add_banded_predictions
from labeling.pipeline.serving import Predicted
from labeling.taxonomies import ClassSpec
from labeling.taxonomies.class_maps import map_classes

_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "AVIF": "avif"}


@dataclass(frozen=True)
class Filed:
    """The image, and whether it was new; None where the image is nothing that the caller may know of."""

    image: Image | None
    new: bool


def uploads_root() -> Path:
    """Where the bytes of what was sent lie, named by their sha256."""
    return Path(settings.MEDIA_ROOT) / "uploads"


def filed_before(dataset: Dataset, picture: bytes) -> Image | None:
    """The image of the dataset that has these very bytes."""
    return Image.objects.filter(dataset=dataset, sha256=_sha256(picture)).order_by("pk").first()


def file_picture(dataset: Dataset, picture: bytes, predicted: Predicted, *, source: str, label: str = "") -> Filed:
    """Make the picture an image of the dataset, with the prediction that it got; at once when it is one already.

    Args:
        picture: the bytes of an image file.
        predicted: what a model said of it.
        source: where it came from, for people.
        label: the label it came with; empty = the class that the model predicts.

    Raises:
        UnknownClass: the taxonomy has no such label, or none that means what the model predicts.
        ImageRefused: the picture cannot be used.
        LabelingError: the disk refuses the file.
    """
    before = filed_before(dataset, picture)
    if before is not None:
        return Filed(before, new=False)
    if Quarantine.objects.filter(image__sha256=_sha256(picture)).exists():
        # Escalated bytes that come again are kept already, and are not opened.
        return Filed(None, new=False)
    given = _given_class(dataset, predicted, label)
    path, facts = _keep_bytes(picture)
    keep_thumbnail(facts)
    root = root_for_import(dataset, escape_root(uploads_root()))
    record = ImageRecord(
        path=path,
        stored_path=escape(PurePath(path.relative_to(uploads_root()))),
        label=given.name,
        split="",
        source=source,
    )
    run = standing_run(dataset, RunKind.API)
    embeddings = _embeddings(dataset.pk, predicted.served.version.pk)
    try:
        with embeddings.writing(), transaction.atomic():
            add_images(
                dataset=dataset, root=root, images=[(record, given.pk, measured(facts, path.stat().st_mtime_ns))]
            )
            image = _visible(root, record.stored_path)
            if image is None:
                # Escalated at this very moment: it went into quarantine as it came.
                thumbnail_path(facts.sha256).unlink(missing_ok=True)
                return Filed(None, new=False)
            answer = predicted.answer
            row = embeddings.append(answer.embedding[np.newaxis].astype(np.float16))
            prediction = NewPrediction(
                image_id=image.pk,
                probabilities=answer.probabilities.astype("<f4").tobytes(),
                predicted_index=int(answer.probabilities.argmax()),
                confidence=float(answer.probabilities.max()),
                embedding_row=row,
            )
            add_banded_predictions(run=run, model_version=predicted.served.version, predictions=[prediction])
    except IntegrityError:
        # Another request filed the same bytes in the meantime; the unique path let one of us in.
        return Filed(_visible(root, record.stored_path), new=False)
    return Filed(image, new=True)


def _visible(root: ImageRoot, stored_path: str) -> Image | None:
    return Image.objects.filter(root=root, path=stored_path).select_related("dataset").first()


def _given_class(dataset: Dataset, predicted: Predicted, label: str) -> TaxonomyClass:
    classes = list(dataset.taxonomy.classes.order_by("index"))
    if label:
        wanted = label.strip().casefold()
        for known in classes:
            if wanted in {known.name.casefold(), *(alias.casefold() for alias in known.aliases)}:
                return known
        names = [known.name for known in classes]
        raise UnknownClass(
            f"Expected a label of {dataset.slug} ({', '.join(names)}), received {label!r}.{nearest(label, names)}"
        )
    specs = [ClassSpec(one.name, one.group, one.harm_rank, tuple(one.aliases)) for one in classes]
    mapped = map_classes(predicted.served.classes, specs)
    place = int(predicted.answer.probabilities.argmax())
    found = mapped.classes[place]
    if found is None:
        group = mapped.groups[place]
        found = next((at for at, one in enumerate(specs) if group is not None and one.group == group), None)
    if found is None:
        raise UnknownClass(
            f"The model {predicted.served.version} says {predicted.answer.predicted_class}, which means no class of "
            f"{dataset.slug}. Send the label of the image with it."
        )
    return classes[found]


def _keep_bytes(picture: bytes) -> tuple[Path, ImageFacts]:
    """Write the bytes where their hash says, once they turned out to be a picture."""
    sha256 = _sha256(picture)
    folder = uploads_root() / sha256[:2]
    partial = folder / f".{sha256}.{os.getpid()}.{threading.get_ident()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(picture)
            file.flush()
            os.fsync(file.fileno())
        with hands:
            facts = inspect_image(partial, max_pixels=settings.MAX_IMAGE_PIXELS)
        # Exports name files by this, and readers of folders go by the suffix.
        path = folder / f"{sha256}.{_SUFFIXES[facts.format]}"
        partial.replace(path)
    except OSError as error:
        raise LabelingError(
            f"The image cannot be kept: {error.strerror or error}. Make room on the server's disk, then send it again."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path, facts


@cache
def _embeddings(dataset_pk: int, model_pk: int) -> EmbeddingFile:
    """One a process, so that the next row need not be looked for each time."""
    return EmbeddingFile(Dataset.objects.get(pk=dataset_pk), ModelVersion.objects.get(pk=model_pk))


def _sha256(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()
