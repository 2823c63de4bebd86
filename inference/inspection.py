"""Everything an import wants to know of one image file, from one reading and one decoding."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from inference.image_quality import quality_figures
from inference.preprocess import MAX_PIXELS, decode, read_bytes

ANALYSIS_SIDE = 320
"""Hashes and quality figures are taken at this long side, so that they compare between files of any size."""

THUMBNAIL_QUALITY = 80


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts of one image file.

    Attributes:
        sha256: hex digest of the file's bytes.
        byte_size: length of the file.
        width, height: pixels, after EXIF orientation.
        format: `JPEG`, `PNG`, `GIF`, `BMP`, `WEBP` or `AVIF`, by content.
        mode: Pillow's mode as stored, such as `L` or `CMYK`.
        phash, dhash: 64-bit perceptual and difference hash as signed integers (two's complement), which fit an SQL
            bigint. Few differing bits = similar pictures; see `inference.duplicates`.
        brightness, contrast, sharpness, entropy: see `inference.image_quality.QualityFigures`.
        thumbnail: JPEG bytes without metadata, upright, never larger than the picture.
    """

    sha256: str
    byte_size: int
    width: int
    height: int
    format: str
    mode: str
    phash: int
    dhash: int
    brightness: float
    contrast: float
    sharpness: float
    entropy: float
    thumbnail: bytes


def inspect_image(path: Path, *, max_pixels: int = MAX_PIXELS, thumbnail_size: int = 320) -> ImageFacts:
    """Read, hash and decode one file. Safe to call from many threads.

    Args:
        path: the file.
        max_pixels: larger pictures are refused before they are decoded.
        thumbnail_size: longest side of the thumbnail, in pixels.

    Raises:
        ImageRefused: see `inference.preprocess.decode`.
    """
    data = read_bytes(path)
    image = decode(data, max_pixels=max_pixels)
    small = _shrink(image.rgb, ANALYSIS_SIDE)
    grey = small.convert("L")
    quality = quality_figures(np.asarray(grey))
    thumbnail = small if thumbnail_size == ANALYSIS_SIDE else _shrink(image.rgb, thumbnail_size)
    return ImageFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        byte_size=len(data),
        width=image.width,
        height=image.height,
        format=image.format,
        mode=image.mode,
        phash=_signed(imagehash.phash(grey)),
        dhash=_signed(imagehash.dhash(grey)),
        brightness=quality.brightness,
        contrast=quality.contrast,
        sharpness=quality.sharpness,
        entropy=quality.entropy,
        thumbnail=_jpeg(thumbnail),
    )


def _shrink(picture: Image.Image, side: int) -> Image.Image:
    """The picture with its long side at most `side`, aspect kept, never enlarged."""
    scale = side / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.0)


def _signed(hashed: imagehash.ImageHash) -> int:
    return int.from_bytes(np.packbits(hashed.hash).tobytes(), "big", signed=True)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()
