"""Altered copies of real photographs, as an upload, a thumbnailer or a scraper makes them."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
import sklearn.datasets
from PIL import Image, ImageEnhance, ImageOps

_SCIKIT_LEARN = ("china.jpg", "flower.jpg")
_SCIKIT_IMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
TILE = 200
"""Smallest side of a tile, in pixels."""


def tiles() -> list[Image.Image]:
    """Photographs cut into tiles that share no pixel: pictures that differ, many of them of one surface."""
    learn = Path(sklearn.datasets.__file__).parent / "images"
    image = Path(skimage.__file__).parent / "data"
    cut: list[Image.Image] = []
    for path in [*(learn / name for name in _SCIKIT_LEARN), *(image / name for name in _SCIKIT_IMAGE)]:
        with Image.open(path) as opened:
            whole = opened.convert("RGB")
        columns, rows = whole.width // TILE, whole.height // TILE
        width, height = whole.width // columns, whole.height // rows
        cut += [
            whole.crop((column * width, row * height, (column + 1) * width, (row + 1) * height))
            for row in range(rows)
            for column in range(columns)
        ]
    return cut


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _cropped(picture: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Without `share` of the width and of the height, unevenly from both sides."""
    width, height = round(picture.width * (1 - share)), round(picture.height * (1 - share))
    left = int(rng.integers(picture.width - width + 1))
    top = int(rng.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def _bordered(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    colour = int(rng.choice([0, 255]))
    return ImageOps.expand(picture, max(1, round(0.04 * max(picture.size))), (colour, colour, colour))


def _encoded(picture: Image.Image, file_format: str, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, file_format, quality=quality)
    return out.getvalue()


def _jpeg(picture: Image.Image) -> bytes:
    return _encoded(picture, "JPEG", 88)


Copy = Callable[[Image.Image, np.random.Generator], bytes]

COPIES: dict[str, Copy] = {
    "JPEG quality 30": lambda picture, rng: _encoded(picture, "JPEG", 30),
    "JPEG quality 50": lambda picture, rng: _encoded(picture, "JPEG", 50),
    "JPEG quality 80": lambda picture, rng: _encoded(picture, "JPEG", 80),
    "WebP quality 60": lambda picture, rng: _encoded(picture, "WEBP", 60),
    "half size": lambda picture, rng: _jpeg(_scaled(picture, 0.5)),
    "double size": lambda picture, rng: _jpeg(_scaled(picture, 2)),
    "cropped by 5 %": lambda picture, rng: _jpeg(_cropped(picture, 0.05, rng)),
    "cropped by 10 %": lambda picture, rng: _jpeg(_cropped(picture, 0.10, rng)),
    "cropped by 20 %": lambda picture, rng: _jpeg(_cropped(picture, 0.20, rng)),
    "darker or brighter by 15 %": lambda picture, rng: _jpeg(
        ImageEnhance.Brightness(picture).enhance(float(rng.choice([0.85, 1.15])))
    ),
    "4 % border": lambda picture, rng: _jpeg(_bordered(picture, rng)),
}
