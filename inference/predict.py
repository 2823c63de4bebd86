"""The streaming scorer: files in, keyed probabilities and embeddings out, in bounded memory.

Worker threads each take a short batch of paths, decode and prepare it, and answer with an interpreter of their own
that uses a single thread: decoding and inference both release the GIL, so this keeps every core busy without a
second process. The caller's thread alone touches the iterable of items and the `stop` callable, so both may use a
database connection.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from inference.errors import ArrayRefused, ImageRefused
from inference.memory import keep_freed_memory
from inference.models.compiled import CompiledModel
from inference.models.sidecar import ModelFolder
from inference.preprocess import MAX_PIXELS, decode, prepare
from inference.types import Float32Array

Key = TypeVar("Key", bound=Hashable)

BATCHES_AHEAD = 3
"""Batches a worker that are handed out before the first is taken back: a slow reader costs no work, N no memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored(Generic[Key]):
    """One image's answer.

    Attributes:
        key: the caller's key.
        probabilities: (K,) float32 in the order of the sidecar's `class_names`, sums to 1.
        embedding: (D,) float16.
    """

    key: Key
    probabilities: Float32Array
    embedding: npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Unscored(Generic[Key]):
    """One image that could not be scored.

    Attributes:
        key: the caller's key.
        code, reason: as in `ImageRefused`.
    """

    key: Key
    code: str
    reason: str


def score_images(
    model_folder: Path,
    items: Iterable[tuple[Key, Path]],
    *,
    batch_size: int = 8,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Scored[Key] | Unscored[Key]]:
    """Score image files with one model.

    Args:
        model_folder: a finished model folder.
        items: (key, path) pairs; read lazily, never more than a few batches ahead.
        batch_size: images a worker takes at once.
        workers: threads; None = the cores this process may use.
        max_pixels: larger pictures are answered as `Unscored`.
        stop: asked before each batch is handed out; True ends the iterator soon, and items not yet answered are
            not answered.

    Returns:
        One answer an item, in the items' order. Closing the iterator early stops the threads within one image.

    Raises:
        ModelRefused: at once, when the model folder is not usable.
        ArrayRefused: `batch_size` or `workers` below 1.
        Anything else that a worker raises, and that is not about one image, is raised by the iterator.
    """
    threads = workers if workers is not None else available_cores()
    if batch_size < 1 or threads < 1:
        raise ArrayRefused(f"expected batch_size and workers of 1 or more, received {batch_size} and {threads}")
    folder = ModelFolder.open(model_folder)
    CompiledModel.open(folder)  # A model that does not load is refused here, not in the middle of a loop.
    return _stream(_Scorer(folder, max_pixels), iter(items), batch_size, threads, stop)


def available_cores() -> int:
    """Cores this process may run on, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def _stream(
    scorer: _Scorer,
    items: Iterator[tuple[Key, Path]],
    batch_size: int,
    threads: int,
    stop: Callable[[], bool] | None,
) -> Iterator[Scored[Key] | Unscored[Key]]:
    waiting: deque[Future[list[Scored[Key] | Unscored[Key]]]] = deque()
    keep_freed_memory()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scorer")
    try:
        while True:
            while len(waiting) < threads * BATCHES_AHEAD:
                if stop is not None and stop():
                    return
                batch = list(islice(items, batch_size))
                if not batch:
                    break
                waiting.append(pool.submit(scorer.answer, batch))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        scorer.stopping.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Scorer:
    """What the worker threads share; the interpreter is one a thread."""

    def __init__(self, folder: ModelFolder, max_pixels: int) -> None:
        self.folder = folder
        self.max_pixels = max_pixels
        self.stopping = threading.Event()
        self._local = threading.local()

    def answer(self, batch: list[tuple[Key, Path]]) -> list[Scored[Key] | Unscored[Key]]:
        model = self._model()
        answers: list[Scored[Key] | Unscored[Key]] = []
        for key, path in batch:
            if self.stopping.is_set():
                break
            answers.append(self._answer_one(model, key, path))
        return answers

    def _answer_one(self, model: CompiledModel, key: Key, path: Path) -> Scored[Key] | Unscored[Key]:
        sidecar = model.sidecar
        try:
            image = decode(path, max_pixels=self.max_pixels)
        except ImageRefused as refusal:
            return Unscored(key, refusal.code, refusal.reason)
        prepared = prepare(image, sidecar.profile, (sidecar.input_height, sidecar.input_width))
        probabilities, embeddings = model.predict(prepared[None])
        return Scored(key, probabilities[0], embeddings[0].astype(np.float16))

    def _model(self) -> CompiledModel:
        model: CompiledModel | None = getattr(self._local, "model", None)
        if model is None:
            model = self._local.model = CompiledModel.open(self.folder)
        return model
