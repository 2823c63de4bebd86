"""Folders of harmless JPEGs of a given size: crops of the photographs that scikit-learn and scikit-image carry."""

import io
from pathlib import Path

import numpy as np
import skimage
import sklearn.datasets
from PIL import Image

DISTINCT = 200
_SCIKIT_LEARN = ("china.jpg", "flower.jpg")
_SCIKIT_IMAGE = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "retina.jpg",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
)


def photographs() -> list[Image.Image]:
    learn = Path(sklearn.datasets.__file__).parent / "images"
    image = Path(skimage.__file__).parent / "data"
    files = [*(learn / name for name in _SCIKIT_LEARN), *(image / name for name in _SCIKIT_IMAGE)]
    return [Image.open(path).convert("RGB") for path in files]


def write_jpegs(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """`count` JPEGs of (width, height) `size`, every one with bytes of its own.

    200 crops are drawn; further files repeat their pixels behind another comment, which costs the same to decode.
    """
    rng = np.random.default_rng(0)
    whole = photographs()
    crops: list[Image.Image] = []
    for number in range(min(count, DISTINCT)):
        picture = whole[number % len(whole)]
        share = float(rng.uniform(0.5, 1))
        width, height = int(picture.width * share), int(picture.height * share)
        left, top = int(rng.integers(picture.width - width + 1)), int(rng.integers(picture.height - height + 1))
        crops.append(picture.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BICUBIC))
    folder.mkdir(parents=True)
    encoded = [_encode(crop) for crop in crops]
    for number in range(count):
        jpeg, comment = encoded[number % len(encoded)], f"{number:08}".encode()
        # Behind the two bytes that every JPEG starts with: marker, length (with itself), text.
        commented = jpeg[:2] + b"\xff\xfe\x00\x0a" + comment + jpeg[2:]
        (folder / f"img_{number:06}.jpg").write_bytes(commented)
    return folder


def _encode(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return out.getvalue()
