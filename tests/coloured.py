"""Small pictures whose class can be told by its colour, for everything that has to learn something within seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from labeling.actions.datasets import dataset_for_import
from labeling.models import Dataset, Release
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.importing import import_images, plan_import
from labeling.taxonomies import load_taxonomy

COLOURS = (
    (220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 210, 50), (210, 60, 210), (60, 210, 210), (240, 240, 240)
)  # fmt: skip


def write_coloured(folder: Path, counts: Mapping[str, int], classes: Sequence[str], *, side: int = 48) -> Path:
    """`folder/<split>/<class>/NNN.png`, `counts[split]` of each class: a blot of the class's colour on noise."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for index, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (side, side, 3))
                top, left = rng.integers(0, side // 3, 2)
                blot = np.array(COLOURS[index]) + rng.integers(-25, 26, (2 * side // 3, 2 * side // 3, 3))
                pixels[top : top + 2 * side // 3, left : left + 2 * side // 3] = blot
                Picture.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{number:03}.png")
    return folder


def coloured_release(
    folder: Path, counts: Mapping[str, int], *, taxonomy: str = "five", slug: str = "set"
) -> tuple[Dataset, Release]:
    """A dataset of such pictures, imported, and its first release."""
    spec = load_taxonomy(taxonomy)
    write_coloured(folder, counts, spec.names)
    dataset = dataset_for_import(slug, spec)
    import_images(dataset, plan_import(folder, spec, labels=None, mapping={}))
    return dataset, cut_release(dataset)
