"""Where scoring happens: on this machine, or on a Ray cluster. The same scorer, the same answers, the same keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from inference.engines.local import LocalEngine
from inference.errors import ArrayRefused
from inference.predict import Scored, Unscored
from inference.preprocess import MAX_PIXELS

Key = TypeVar("Key", bound=Hashable)
ENGINES = ("local", "ray")


class Engine(Protocol):
    """What scores image files with one model."""

    def score(
        self,
        model_folder: Path,
        items: Iterable[tuple[Key, Path]],
        *,
        batch_size: int = 8,
        max_pixels: int = MAX_PIXELS,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[Scored[Key] | Unscored[Key]]:
        """One answer an item, each once, in any order; else as `inference.predict.score_images`."""


@contextmanager
def open_engine(name: str = "local", *, ray_address: str | None = None) -> Iterator[Engine]:
    """The engine of that name, ready until the block ends.

    Args:
        name: one of `ENGINES`.
        ray_address: `HOST:PORT` of a Ray cluster that this machine is a node of, or `auto` to find it;
            None = a cluster of this machine only.

    Raises:
        ArrayRefused: no engine of that name, or an address for another engine than `ray`.
        MissingTool: Ray is not installed.
        EngineFailed: the cluster cannot be reached.
    """
    if name not in ENGINES:
        raise ArrayRefused(f"expected an engine of {', '.join(ENGINES)}, received {name!r}")
    if name != "ray":
        if ray_address is not None:
            raise ArrayRefused(f"expected no Ray address for the engine {name}, received {ray_address!r}: say ray")
        yield LocalEngine()
        return
    from inference.engines.ray import RayEngine

    with RayEngine(ray_address) as engine:
        yield engine
