"""The nearest neighbours of one image among a dataset's embeddings, fast enough to be looked up while somebody reviews.

Beside the embeddings lies a sketch of them: each row projected on `SKETCH` random directions, which keeps cosines to
about 1/√SKETCH (Johnson and Lindenstrauss, "Extensions of Lipschitz mappings into a Hilbert space", Contemporary
Mathematics 26, 1984). A look-up reads the whole sketch, 256 bytes an image, and then the embeddings of the most
promising images only. The worker extends the sketch; a page never does.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from django.conf import settings
from filelock import FileLock

from labeling.models import Dataset, Image, ModelVersion, Prediction
from labeling.pipeline.embeddings import EmbeddingFile

SKETCH = 64
SHORTLIST = 200
_BLOCK = 4096
_SEED = 20261121
_ASK_AGAIN_SECONDS = 60

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Near:
    """An image and its cosine similarity to the one asked about, -1..1, 1 = same direction."""

    image: Image
    similarity: float


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest images, nearest first.

    `model` is None where no model has scored the image. `ready` is False while the sketch lacks images: then there
    are no neighbours yet, and `prepare_neighbours` has to run.
    """

    near: tuple[Near, ...]
    model: ModelVersion | None
    ready: bool


def neighbourhood(dataset: Dataset, image: Image, count: int) -> Neighbourhood:
    """The `count` nearest images outside the image's own near-duplicate group, by the newest model that scored it."""
    prediction = (
        Prediction.objects.filter(image=image).select_related("model_version").order_by("-model_version_id").first()
    )
    if prediction is None:
        return Neighbourhood((), None, True)
    model = prediction.model_version
    path = _sketch_path(dataset, model)
    rows = _sketch_rows(path)
    if prediction.embedding_row >= rows:
        return Neighbourhood((), model, False)
    sketch = np.memmap(path, dtype=np.float32, mode="r", shape=(rows, SKETCH))
    rough = sketch @ sketch[prediction.embedding_row]
    shortlist = np.argpartition(-rough, min(SHORTLIST, rows - 1))[: SHORTLIST + 1].astype(np.int64)
    numbers = np.append(shortlist[shortlist != prediction.embedding_row], prediction.embedding_row)
    exact = unit_rows(EmbeddingFile(dataset, model).rows(numbers))
    similarity = dict(zip(numbers.tolist(), (exact @ exact[-1]).tolist(), strict=True))
    return Neighbourhood(_named(dataset, image, model, similarity, count), model, True)


def _named(
    dataset: Dataset, image: Image, model: ModelVersion, similarity: dict[int, float], count: int
) -> tuple[Near, ...]:
    """The images of these rows; identical files share a row."""
    found = (
        Prediction.objects.filter(model_version=model, embedding_row__in=similarity, image__dataset=dataset)
        .exclude(image=image)
        .select_related("image__given_class", "image__current_class")
    )
    if image.duplicate_group_id is not None:
        found = found.exclude(image__duplicate_group=image.duplicate_group_id)
    near = sorted(
        (Near(one.image, similarity[one.embedding_row]) for one in found),
        key=lambda one: (-one.similarity, one.image.pk),
    )
    return tuple(near[:count])


def extend_sketch(dataset: Dataset, model: ModelVersion) -> int:
    """Add the embeddings that were written since the last time; how many rows the sketch has now."""
    path = _sketch_path(dataset, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    embeddings = EmbeddingFile(dataset, model)
    settings.LOCKS_ROOT.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.LOCKS_ROOT / f"sketch-{dataset.pk}-{model.pk}.lock"):
        directions = _directions(embeddings.size)
        done = _sketch_rows(path)
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(done * SKETCH * 4)
            file.truncate()
            for start in range(done, embeddings.next_row, _BLOCK):
                numbers = np.arange(start, min(start + _BLOCK, embeddings.next_row), dtype=np.int64)
                file.write(unit_rows(unit_rows(embeddings.rows(numbers)) @ directions).tobytes())
    return _sketch_rows(path)


def first_to_ask(dataset: Dataset, model: ModelVersion) -> bool:
    """Whether the sketch has to be asked for now: False within a minute of somebody who did."""
    asked = _sketch_path(dataset, model).with_suffix(".asked")
    if asked.exists() and time.time() - asked.stat().st_mtime < _ASK_AGAIN_SECONDS:
        return False
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.touch()
    return True


def unit_rows(rows: npt.NDArray[np.floating]) -> Floats:
    """(N, D) rows of length 1; a row without a direction (zeros, or not finite) becomes zeros, near to nothing."""
    values = np.nan_to_num(np.asarray(rows, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _directions(size: int) -> Floats:
    drawn: Floats = np.random.default_rng(_SEED).standard_normal((size, SKETCH), dtype=np.float32)
    return drawn


def _sketch_path(dataset: Dataset, model: ModelVersion) -> Path:
    return EmbeddingFile(dataset, model).path.with_suffix(".sketch")


def _sketch_rows(path: Path) -> int:
    return path.stat().st_size // (SKETCH * 4) if path.exists() else 0
