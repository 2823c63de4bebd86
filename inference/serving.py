"""The serving predictor: one picture in, one answer out, for many request threads at once.

A bounded pool of single-thread interpreters answers the requests in the order they came. On two cores that measured
as fast as collecting requests into batches, with lower latency, so nothing is batched; a GPU would want batches.
Decoding happens in the pool as well, so that both cores and memory are bounded by its size and not by the number of
request threads. A request that finds the queue full is refused at once: waiting longer would only slow the others.

TensorFlow is never imported here: the web process serves with this module.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from inference.errors import ArrayRefused, Busy
from inference.memory import keep_freed_memory
from inference.models.compiled import CompiledModel
from inference.models.sidecar import ModelFolder
from inference.predict import available_cores
from inference.preprocess import MAX_PIXELS, decode, prepare
from inference.types import Float32Array

WAITING_FOR_EACH = 8
"""Requests that may wait for each interpreter unless told otherwise: under a quarter of a second for MobileNetV2."""

_FIRST_GUESS_SECONDS = 0.05
_SHARE_OF_THE_NEWEST = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a model says about one picture.

    Attributes:
        probabilities: (K,) float32 in the order of `class_names`, sums to 1.
        embedding: (D,) float32.
        class_names: K names in output order.
        model, model_sha256, profile: the model version and the preprocessing that answered.
        width, height: the picture's size in pixels, upright.
    """

    probabilities: Float32Array
    embedding: Float32Array
    class_names: tuple[str, ...]
    model: str
    model_sha256: str
    profile: str
    width: int
    height: int

    @property
    def predicted_class(self) -> str:
        return self.class_names[int(self.probabilities.argmax())]

    def by_class(self) -> dict[str, float]:
        """Class name → probability, in output order."""
        return dict(zip(self.class_names, map(float, self.probabilities), strict=True))


class ServingPredictor:
    """Answers single pictures for any number of threads. Make one a process and model; close it, or use `with`.

    Nothing is opened before the first request, so it may be made before a web server forks.
    """

    def __init__(
        self,
        model_folder: Path,
        *,
        interpreters: int | None = None,
        waiting: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Remember what to open.

        Args:
            model_folder: a finished model folder.
            interpreters: how many requests are worked on at once; None = the cores this process may use.
            waiting: how many more may wait before further ones are refused; None = 8 for each interpreter.
            max_pixels: larger pictures are refused.

        Raises:
            ArrayRefused: `interpreters` below 1 or `waiting` below 0.
        """
        self.interpreters = available_cores() if interpreters is None else interpreters
        self.waiting = self.interpreters * WAITING_FOR_EACH if waiting is None else waiting
        if self.interpreters < 1 or self.waiting < 0:
            raise ArrayRefused(
                "expected interpreters of 1 or more and waiting of 0 or more, "
                f"received {self.interpreters} and {self.waiting}"
            )
        self._path = model_folder
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._local = threading.local()
        self._folder: ModelFolder | None = None
        self._admitted = 0
        self._seconds = _FIRST_GUESS_SECONDS
        self._pool = ThreadPoolExecutor(self.interpreters, thread_name_prefix="serving")

    def predict(self, source: bytes | Path, *, timeout: float | None = None) -> Answer:
        """Answer one picture; safe to call from any thread.

        Args:
            source: the picture's bytes, or its file.
            timeout: seconds to wait for the answer; None = as long as it takes.

        Raises:
            Busy: at once when the queue is full, or after `timeout` seconds, with a hint when to ask again.
            ImageRefused: the picture cannot be used.
            ModelRefused and the errors below it: the model folder is not usable.
        """
        future = self._admit(source)
        try:
            return future.result(timeout)
        except TimeoutError:
            # Still waiting: its place is given back. Already worked on: nobody waits for the answer any more.
            future.cancel()
            raise Busy(f"no answer within {timeout:g} seconds: ask again later", self._retry_after()) from None
        except CancelledError:
            raise RuntimeError("the serving predictor was closed while this request waited") from None

    def close(self) -> None:
        """Finish what is being worked on, drop what waits, and end the threads. Closing twice does nothing."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> ServingPredictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _admit(self, source: bytes | Path) -> Future[Answer]:
        most = self.interpreters + self.waiting
        with self._lock:
            if self._admitted >= most:
                raise Busy(
                    f"expected at most {most} requests at once ({self.interpreters} worked on, {self.waiting} "
                    "waiting), and there are as many already: ask again later",
                    self._retry_after(),
                )
            future = self._pool.submit(self._answer_and_leave, source)
            self._admitted += 1
        future.add_done_callback(self._leave_unanswered)
        return future

    def _answer_and_leave(self, source: bytes | Path) -> Answer:
        # Before the answer is handed over: who has it must find the place free, and not refused for its own sake.
        try:
            return self._answer(source)
        finally:
            with self._lock:
                self._admitted -= 1

    def _leave_unanswered(self, future: Future[Answer]) -> None:
        if future.cancelled():
            with self._lock:
                self._admitted -= 1

    def _retry_after(self) -> float:
        """Seconds until everything that waits now is likely to be answered."""
        return self._seconds * max(1.0, self._admitted / self.interpreters)

    def _answer(self, source: bytes | Path) -> Answer:
        model = self._model()
        begun = time.perf_counter()
        sidecar = model.sidecar
        image = decode(source, max_pixels=self._max_pixels)
        prepared = prepare(image, sidecar.profile, (sidecar.input_height, sidecar.input_width))
        probabilities, embeddings = model.predict(prepared[None])
        # A lost update between two threads changes a hint and nothing else.
        self._seconds += _SHARE_OF_THE_NEWEST * (time.perf_counter() - begun - self._seconds)
        return Answer(
            probabilities=probabilities[0],
            embedding=embeddings[0],
            class_names=sidecar.class_names,
            model=sidecar.name,
            model_sha256=sidecar.model_sha256,
            profile=sidecar.profile,
            width=image.width,
            height=image.height,
        )

    def _model(self) -> CompiledModel:
        model: CompiledModel | None = getattr(self._local, "model", None)
        if model is None:
            keep_freed_memory()
            with self._opening:
                if self._folder is None:
                    self._folder = ModelFolder.open(self._path)
            model = self._local.model = CompiledModel.open(self._folder, serving=True)
        return model
