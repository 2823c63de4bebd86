"""The shapes of a dataset's pictures, from the thumbnails of the import; described once, kept in a file."""

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from django.conf import settings
from PIL import Image as Picture

from inference.predict import available_cores
from inference.shapes import SIZE, shape_features
from labeling.models import Dataset
from labeling.pipeline.importing import thumbnail_path

AT_MOST = 50_000
"""Images up to which shapes are looked at unasked: describing 1,000 takes about two seconds a core, once."""

_CHUNK = 500
Halves = npt.NDArray[np.float16]


def shapes_of(dataset: Dataset, sha256: Sequence[str], *, progress: Callable[[int, int], None]) -> Halves:
    """(N, `SIZE`) float16 in the order of the digests; a row of NaN where the thumbnail cannot be read.

    What was described before is read from the file beside the embeddings; a torn or foreign file is made again.
    """
    path = Path(settings.EMBEDDINGS_ROOT) / str(dataset.pk) / "shapes.npz"
    known = _read(path)
    missing = sorted({digest for digest in sha256 if digest not in known})
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(missing), _CHUNK):
            part = missing[start : start + _CHUNK]
            known |= dict(zip(part, pool.map(_describe, part), strict=True))
            progress(min(start + _CHUNK, len(missing)), len(missing))
    if missing:
        _write(path, {digest: known[digest] for digest in dict.fromkeys(sha256)})
    return np.stack([known[digest] for digest in sha256]) if sha256 else np.empty((0, SIZE), dtype=np.float16)


def _describe(digest: str) -> Halves:
    try:
        with Picture.open(thumbnail_path(digest)) as picture:
            return shape_features(picture)
    except (OSError, ValueError):
        return np.full(SIZE, np.nan, dtype=np.float16)


def _read(path: Path) -> dict[str, Halves]:
    try:
        with path.open("rb") as file, np.load(file) as kept:
            rows, digests = kept["shapes"], kept["digests"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}
    if rows.ndim != 2 or rows.shape != (len(digests), SIZE) or rows.dtype != np.float16:
        return {}
    return {str(digest): row for digest, row in zip(digests.tolist(), rows, strict=True) if np.isfinite(row).all()}


def _write(path: Path, shapes: dict[str, Halves]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=".shapes-", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        np.savez(file, digests=np.array(list(shapes), dtype="U64"), shapes=np.stack(list(shapes.values())))
    Path(partial).replace(path)
