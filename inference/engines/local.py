"""All cores of this machine, in this process."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from inference.predict import Scored, Unscored, score_images
from inference.preprocess import MAX_PIXELS

Key = TypeVar("Key", bound=Hashable)


class LocalEngine:
    """`score_images`; answers come in the items' order."""

    def score(
        self,
        model_folder: Path,
        items: Iterable[tuple[Key, Path]],
        *,
        batch_size: int = 8,
        max_pixels: int = MAX_PIXELS,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[Scored[Key] | Unscored[Key]]:
        return score_images(model_folder, items, batch_size=batch_size, max_pixels=max_pixels, stop=stop)
