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

STRIP_PIXELS = 1 << 20
"""Pixels that the digest of the pixels takes at once: 3 MB."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts of one image file.

    Attributes:
        sha256: hex digest of the file's bytes.
        pixel_sha256: hex digest of the upright RGB pixels and their width and height: equal for the same picture in
            another file, such as a PNG rewritten as BMP, or a JPEG whose metadata were removed.
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
    pixel_sha256: str
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
        pixel_sha256=pixel_digest(image.rgb),
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


def pixel_digest(rgb: Image.Image) -> str:
    """Digest of a picture's pixels, the same whatever file they came in.

    Args:
        rgb: mode `RGB`, upright, as `DecodedImage.rgb`.

    Returns:
        hex sha256 of width and height and the pixels row by row. The pixels pass in strips, so that a picture of 100
        megapixels needs no second copy of itself.
    """
    digest = hashlib.sha256(f"{rgb.width}×{rgb.height}:".encode())
    rows = max(1, STRIP_PIXELS // rgb.width)
    for top in range(0, rgb.height, rows):
        digest.update(rgb.crop((0, top, rgb.width, min(top + rows, rgb.height))).tobytes())
    return digest.hexdigest()


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
