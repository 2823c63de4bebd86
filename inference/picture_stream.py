"""Pictures from files to batches, as they are needed: a tf.data pipeline whose memory does not grow with the set.

Decoding and resizing are `preprocess`', so that a network is trained on what it will be served. Loads TensorFlow
inside its functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import ImageRefused
from inference.predict import available_cores
from inference.preprocess import decode, prepare, read_bytes
from inference.types import BoolArray, Float32Array, Int64Array

BATCHES_AHEAD = 2


@dataclass(slots=True)
class PictureStream:
    """Reads pictures by row number.

    Attributes:
        paths, sha256: one a row.
        profile: of `preprocess`.
        side: height and width in pixels.
        on_refusal: called once for each picture that cannot be used, with its row, a code and a reason.
        refused: row → (code, reason) of those so far.
    """

    paths: Sequence[str]
    sha256: Sequence[str]
    profile: str
    side: int
    on_refusal: Callable[[int, str, str], None]
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)

    def batches(self, rows: Int64Array, size: int) -> Iterator[tuple[Int64Array, Float32Array, BoolArray]]:
        """Batches of these rows, in their order: (row numbers, (n, side, side, 3) pictures, which are usable).

        A picture that cannot be used is grey, and marked.
        """
        import tensorflow as tf

        def read(row: Any) -> tuple[Any, Any, Any]:
            picture, usable = tf.numpy_function(self._read, [row], [tf.float32, tf.bool], stateful=False)
            picture.set_shape((self.side, self.side, 3))
            usable.set_shape(())
            return row, picture, usable

        options = tf.data.Options()
        options.deterministic = True
        stream = (
            tf.data.Dataset.from_tensor_slices(np.asarray(rows, dtype=np.int64))
            .map(read, num_parallel_calls=available_cores())
            .batch(size)
            .prefetch(BATCHES_AHEAD)
            .with_options(options)
        )
        for numbers, pictures, usable in stream:
            # What was found on other threads is told on this one.
            yield numbers.numpy(), pictures, usable.numpy()
            self._tell(numbers.numpy()[~usable.numpy()])

    def _read(self, row: np.int64) -> tuple[Float32Array, np.bool_]:
        try:
            return self._prepared(int(row)), np.bool_(True)
        except ImageRefused as error:
            self.refused.setdefault(int(row), (error.code, error.reason))
            return np.zeros((self.side, self.side, 3), dtype=np.float32), np.bool_(False)

    def _prepared(self, row: int) -> Float32Array:
        path = Path(self.paths[row])
        if not path.exists():
            raise ImageRefused("missing", "the file is not there any more")
        content = read_bytes(path)
        if hashlib.sha256(content).hexdigest() != self.sha256[row]:
            raise ImageRefused("changed", "the file is not the one of the release any more: its hash differs")
        return prepare(decode(content), self.profile, (self.side, self.side))

    def _tell(self, rows: Int64Array) -> None:
        for row in rows.tolist():
            self.on_refusal(row, *self.refused[row])
