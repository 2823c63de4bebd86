"""The scorer on a Ray cluster: Ray Data's decode tasks feed a pool of actors that hold an interpreter each.

The caller's thread alone touches items, `stop` and answers: whatever the cluster does, predictions are written by one
process, in chunks, as on one machine. Items are read a wave at a time, so memory here does not grow with the dataset.
The model travels as bytes; image files are read where they are decoded, so every node must see them under one path.
A node that dies costs its unfinished blocks, which Ray computes again elsewhere; an answer that comes twice is dropped.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

import inference
from inference.errors import ArrayRefused, EngineFailed, ImageRefused, MissingTool
from inference.models.compiled import CompiledModel
from inference.models.sidecar import ModelFolder
from inference.predict import Scored, Unscored
from inference.preprocess import MAX_PIXELS, decode, prepare, read_bytes

Key = TypeVar("Key", bound=Hashable)
Batch = dict[str, Any]

WAVE_A_CORE = 8192
"""Items handed to Ray Data at once, for each core of the cluster: a minute of MobileNetV2. Between two waves the pool
of scorers starts again, which takes seconds."""

WAVE_AT_MOST = 524_288
"""Items of the largest wave: their keys take some 100 MB here."""

BLOCK = 64
"""Images a decode task: about 40 MB of MobileNetV2's input."""

RETRIES = 5
"""How often a block of images, or a scorer, is tried again in a wave when its worker dies. Ray Data's own default is
for ever, which a picture that ends every decoder would use."""

SCORER_CPUS = 0.75
DECODER_CPUS = 0.25
"""Cores reserved for each, as measured (6.3 ms to 2.4 ms an image of 640×480): a core carries one of both."""

CONNECT_SECONDS = 5.0
"""How long a cluster's port may take to answer. Ray itself would wait for minutes."""


class RayEngine:
    """A connection to a Ray cluster. Use `with`: leaving it ends a connection that it made itself.

    Where Ray is connected already, that connection is used, and its workers must be able to import `inference`.
    """

    def __init__(self, address: str | None = None) -> None:
        """Remember the cluster.

        Args:
            address: `HOST:PORT` of a cluster that this machine is a node of, or `auto` to find it;
                None = start Ray on this machine.

        Raises:
            MissingTool: Ray is not installed.
        """
        # Ray reports its use to its makers, tries for ever what ran out of memory, and writes what it mends to stderr,
        # unless told not to before it is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        try:
            import ray
            import ray.data
        except ImportError:
            raise MissingTool("expected the library ray, it is not installed: pip install '.[ray]'") from None
        self._ray: Any = ray
        self._address = address
        self._connected_here = False

    def __enter__(self) -> RayEngine:
        """Connect.

        Raises:
            EngineFailed: the cluster cannot be reached, or has no cores.
        """
        if not self._ray.is_initialized():
            self._connect()
            self._connected_here = True
        # Winnow reports progress itself.
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        try:
            self._cores()
        except EngineFailed:
            self._disconnect()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()

    def score(
        self,
        model_folder: Path,
        items: Iterable[tuple[Key, Path]],
        *,
        batch_size: int = 8,
        max_pixels: int = MAX_PIXELS,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[Scored[Key] | Unscored[Key]]:
        """One answer an item, each once, in any order.

        Args:
            model_folder: a finished model folder on this machine.
            items: (key, path) pairs, read a wave at a time; the paths are opened on the cluster's nodes.
            batch_size: images a scorer takes at once, at most `BLOCK` of them.
            max_pixels: larger pictures are answered as `Unscored`.
            stop: asked before each batch of answers; True ends the iterator, and what has no answer yet gets none.

        Raises:
            ModelRefused: at once, when the model folder is not usable.
            ArrayRefused: `batch_size` below 1.
            EngineFailed: the cluster failed beyond what Ray mends, or one of its nodes does not see the files.
        """
        if batch_size < 1:
            raise ArrayRefused(f"expected batch_size of 1 or more, received {batch_size}")
        folder = ModelFolder.open(model_folder)
        CompiledModel.open(folder)
        return self._score(folder, iter(items), min(batch_size, BLOCK), max_pixels, stop)

    def _connect(self) -> None:
        where = self._address or "this machine"
        try:
            if self._address is not None and self._address != "auto":
                _knock(self._address)
            self._ray.init(
                address=self._address or "local",
                runtime_env={"py_modules": [str(Path(inference.__file__).parent)]},
                include_dashboard=None if self._address else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError and its own.
            raise EngineFailed(
                f"expected a Ray cluster at {where}, it cannot be used ({_one_line(error)}): check that `ray status` "
                "answers on this machine and, where the cluster asks for a token, that RAY_AUTH_MODE=token is set"
            ) from error

    def _disconnect(self) -> None:
        if self._connected_here:
            self._ray.shutdown()
            self._connected_here = False

    def _cores(self) -> int:
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        if cores < 1:
            raise EngineFailed("expected a Ray cluster with at least one core, received none: start a worker node")
        return cores

    def _score(
        self,
        folder: ModelFolder,
        items: Iterator[tuple[Key, Path]],
        batch_size: int,
        max_pixels: int,
        stop: Callable[[], bool] | None,
    ) -> Iterator[Scored[Key] | Unscored[Key]]:
        model = self._ray.put({path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()})
        while True:
            keys, blocks = _next_wave(items, min(WAVE_A_CORE * self._cores(), WAVE_AT_MOST))
            if not keys:
                return
            with warnings.catch_warnings():
                # The arguments that bound retries have no other name yet; pyproject.toml keeps to Rays that know them.
                warnings.simplefilter("ignore", DeprecationWarning)
                plan = self._plan(blocks, folder, model, batch_size, max_pixels)
            del blocks
            answered = np.zeros(len(keys), dtype=bool)
            for batch in self._batches(plan):
                if stop is not None and stop():
                    return
                for index, answer in _read(batch, keys):
                    if not answered[index]:
                        answered[index] = True
                        yield answer
            if not answered.all():
                raise EngineFailed(
                    f"expected {len(keys):,} answers from the cluster, received {int(answered.sum()):,}: "
                    "run the same command again, it scores what is missing"
                )

    def _batches(self, plan: Any) -> Iterator[Batch]:
        try:
            yield from plan.iter_batches(batch_size=None, batch_format="numpy")
        except self._ray.exceptions.RayError as error:
            raise EngineFailed(
                f"{self._what_happened(error)}. What is scored is kept; the same command goes on from there"
            ) from error

    def _plan(self, blocks: list[Any], folder: ModelFolder, model: Any, batch_size: int, max_pixels: int) -> Any:
        ray, sidecar = self._ray, folder.sidecar
        return (
            ray.data.from_arrow(blocks)
            .map_batches(
                _decode_block,
                batch_size=None,
                fn_kwargs={
                    "profile": sidecar.profile,
                    "size": (sidecar.input_height, sidecar.input_width),
                    "max_pixels": max_pixels,
                },
                num_cpus=DECODER_CPUS,
                max_retries=RETRIES,
            )
            .map_batches(
                _ScoreBatch,
                batch_size=batch_size,
                fn_constructor_args=(model,),
                num_cpus=SCORER_CPUS,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._cores()),
                max_restarts=RETRIES,
                max_task_retries=RETRIES,
            )
        )

    def _what_happened(self, error: BaseException) -> str:
        known = self._ray.exceptions
        if isinstance(error, known.OutOfMemoryError):
            return (
                "expected room for a decoder and a scorer for each core, a node of the Ray cluster ran out of memory "
                f"{RETRIES + 1} times at the same images: start its nodes with a smaller --num-cpus"
            )
        if isinstance(error, known.WorkerCrashedError | known.RayActorError):
            return (
                f"expected an answer from the Ray cluster, its workers died {RETRIES + 1} times at the same images "
                f"({_one_line(error)}): look for too little memory on its nodes, or for a file that ends the decoder"
            )
        cause = getattr(error, "cause", None)
        return f"expected an answer from the Ray cluster, a worker failed ({_one_line(cause or error)})"


def _knock(address: str) -> None:
    """Open the cluster's port and close it again.

    Raises:
        OSError, ValueError: nobody is there, or the address is none.
    """
    # Ray Data does not run through Ray's client: it needs a node on this machine.
    parts = urlsplit(f"//{address}")
    if "://" in address or parts.hostname is None or parts.port is None:
        raise ValueError("an address is HOST:PORT or auto; this machine joins by ray start --address=… --num-cpus=0")
    socket.create_connection((parts.hostname, parts.port), timeout=CONNECT_SECONDS).close()


def _next_wave(items: Iterator[tuple[Key, Path]], most: int) -> tuple[list[Key], list[Any]]:
    """Keys of the next items, and tables of their numbers and paths, `BLOCK` rows each."""
    import pyarrow as pa

    keys: list[Key] = []
    blocks = []
    while part := list(islice(items, min(BLOCK, most - len(keys)))):
        numbers = range(len(keys), len(keys) + len(part))
        # Bytes: names need not be text.
        blocks.append(pa.table({"index": numbers, "path": [os.fsencode(path) for _, path in part]}))
        keys += [key for key, _ in part]
    return keys, blocks


def _decode_block(block: Batch, *, profile: str, size: tuple[int, int], max_pixels: int) -> Batch:
    """Paths → model inputs; a refused picture keeps a black input that nobody scores."""
    count = len(block["index"])
    images = np.zeros((count, *size, 3), dtype=np.float32)
    codes, reasons, unseen_by = [""] * count, [""] * count, [""] * count
    for row, name in enumerate(block["path"]):
        try:
            content = read_bytes(Path(os.fsdecode(name)))
        except ImageRefused as refusal:
            codes[row], reasons[row] = refusal.code, refusal.reason
            if refusal.code == "unreadable":
                unseen_by[row] = socket.gethostname()
            continue
        try:
            images[row] = prepare(decode(content, max_pixels=max_pixels), profile, size)
        except ImageRefused as refusal:
            codes[row], reasons[row] = refusal.code, refusal.reason
    return block | {"image": images, "code": codes, "reason": reasons, "unseen_by": unseen_by}


class _ScoreBatch:
    """One single-thread interpreter in an actor."""

    def __init__(self, model: Any) -> None:
        import ray

        files: dict[str, bytes] = ray.get(model)
        with tempfile.TemporaryDirectory(prefix="winnow-model-") as name:
            for file, content in files.items():
                (Path(name) / file).write_bytes(content)
            self._model = CompiledModel.open(Path(name))

    def __call__(self, batch: Batch) -> Batch:
        probabilities, embeddings = [b""] * len(batch["index"]), [b""] * len(batch["index"])
        for row, code in enumerate(batch["code"]):
            if code:
                continue
            one, embedding = self._model.predict(np.ascontiguousarray(batch["image"][row : row + 1]))
            probabilities[row], embeddings[row] = one[0].tobytes(), embedding[0].astype(np.float16).tobytes()
        answers = {name: column for name, column in batch.items() if name != "image"}
        return answers | {"probabilities": probabilities, "embedding": embeddings}


def _read(batch: Batch, keys: list[Key]) -> Iterator[tuple[int, Scored[Key] | Unscored[Key]]]:
    """Rows of the cluster's answers, by their index in the wave.

    Raises:
        EngineFailed: a node cannot read a file that is readable here: that says nothing about the picture.
    """
    for row, index in enumerate(map(int, batch["index"])):
        if code := str(batch["code"][row]):
            path, reason = Path(os.fsdecode(batch["path"][row])), str(batch["reason"][row])
            if batch["unseen_by"][row] and path.is_file() and os.access(path, os.R_OK):
                raise EngineFailed(
                    f"expected {path} under this path on every node of the Ray cluster, {batch['unseen_by'][row]} "
                    f"cannot read it ({reason}): mount the folder there as here, then run the same command again"
                )
            yield index, Unscored(keys[index], code, reason)
        else:
            # Copies: an answer may be kept longer than the block that it came in.
            probabilities = np.frombuffer(batch["probabilities"][row], dtype=np.float32).copy()
            embedding = np.frombuffer(batch["embedding"][row], dtype=np.float16).copy()
            yield index, Scored(keys[index], probabilities, embedding)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
