"""Embeddings on disk: one file of float16 rows for each dataset and model version.

A row counts only once a prediction names it. Rows are written and synced before their predictions are committed, so
a crash leaves at most unnamed rows at the end, which the next chunk overwrites.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.db.models import Max, QuerySet
from filelock import FileLock

from labeling.errors import LabelingError
from labeling.models import Dataset, ModelVersion, Prediction


class EmbeddingFile:
    """The embeddings of one dataset by one model version: rows of `size` float16 values."""

    def __init__(self, dataset: Dataset, model_version: ModelVersion) -> None:
        self._dataset = dataset
        self.size = model_version.embedding_size
        self.path = Path(settings.EMBEDDINGS_ROOT) / str(dataset.pk) / f"{model_version.pk}.f16"
        self._model_version = model_version

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers away until what is appended inside is named by predictions that are committed.

        A run that scores and the web server, which files single images, may both be writing.
        """
        settings.LOCKS_ROOT.mkdir(parents=True, exist_ok=True)
        with FileLock(settings.LOCKS_ROOT / f"embeddings-{self._dataset.pk}-{self._model_version.pk}.lock"):
            there = self.whole_rows()
            if self.__dict__.get("next_row") != there:
                # Somebody else wrote since, or nobody at all. Looking at the last row alone is quick in a large file.
                self.__dict__.pop("next_row", None)
                if there and self._named().filter(embedding_row=there - 1).exists():
                    self.__dict__["next_row"] = there
            yield

    def _named(self) -> QuerySet[Prediction]:
        # Of images in quarantine too: their rows are kept.
        return Prediction.everything.filter(image__dataset=self._dataset, model_version=self._model_version)

    @cached_property
    def next_row(self) -> int:
        """The first row that no prediction names."""
        last = self._named().aggregate(last=Max("embedding_row"))["last"]
        return 0 if last is None else last + 1

    def append(self, rows: npt.NDArray[np.float16]) -> int:
        """Write (N, size) rows durably after the last named one; the number of the first.

        Raises:
            LabelingError: the disk is full, or the file cannot be written. No named row is touched.
        """
        if rows.ndim != 2 or rows.shape[1] != self.size or rows.dtype != np.float16:
            raise ValueError(f"Expected float16 rows (N, {self.size}), received {rows.dtype} {rows.shape}.")
        try:
            self._write(np.ascontiguousarray(rows).tobytes())
        except OSError as error:
            raise LabelingError(
                f"The embeddings cannot be written to {self.path}: {error.strerror or error}. Expected room for "
                f"{rows.nbytes:,} more bytes. The images scored so far are kept; free space, then run `manage.py score "
                f"{self._dataset.slug}` again: it goes on from there."
            ) from error
        first = self.next_row
        self.next_row += len(rows)
        return first

    def _write(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        # Unbuffered: a buffer that could not be written would be tried again, and raise, when the file is closed.
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.seek(self.next_row * self.size * 2)
            remaining = memoryview(content)
            while remaining:
                # A disk that fills up takes a part first, and refuses the next call.
                remaining = remaining[file.write(remaining) :]
            os.fsync(file.fileno())

    def rows(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        """The (N, size) rows of these numbers; read through a memory map, so only these are loaded."""
        if not len(numbers):
            return np.empty((0, self.size), dtype=np.float16)
        there = self.whole_rows()
        if int(numbers.max()) >= there:
            raise LabelingError(
                f"The embeddings in {self.path} are not all there: expected row {int(numbers.max())}, found {there} "
                f"rows. Run `manage.py score {self._dataset.slug}`: it scores the images without embeddings again."
            )
        # What a write that was cut short left behind the last whole row is not looked at.
        stored = np.memmap(self.path, dtype=np.float16, mode="r", shape=(there, self.size))
        return np.asarray(stored[numbers])

    def whole_rows(self) -> int:
        """How many whole rows the file holds; 0 where there is no file."""
        return self.path.stat().st_size // (self.size * 2) if self.path.exists() else 0
