"""Bytes → pixels → model input. The only module that decodes, resizes or scales an image.

Preprocessing silently changes what a model answers (INTEROP.md 3: another resize flips the winning class), so
each way of doing it is a named `Profile`, and predictions carry that name.

What every picture goes through, in this order:

1. The format is found by content, never by the file's name, and must be one of `FORMATS`.
2. The pixel count is read from the header and checked *before* anything is decoded.
3. The first frame is decoded completely; a file that ends early is refused, never half-read.
4. EXIF orientation is applied.
5. Every mode becomes 8-bit RGB (`to_rgb`). Transparency is flattened over white: that is what a reviewer sees on
   a page, so people and model judge the same picture. (The systems of INTEROP.md drop the alpha channel, which
   shows whatever colour happens to lie below transparent pixels. Pictures without transparency are unaffected.)
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from inference.errors import ImageRefused, ModelRefused
from inference.types import Float32Array, Float64Array, Int64Array, UInt8Array

MAX_PIXELS = 100_000_000
"""Default limit. Pillow's own limit (2 × `Image.MAX_IMAGE_PIXELS`, about 179 million) holds above it as well."""

MAX_BYTES = 1 << 29
"""Files above 512 MiB are refused unread: no photograph of `MAX_PIXELS` needs as much."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF")

_ORIENTATION_TAG = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OPAQUE_8_BIT = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})

# (offset, bytes, name). The first six are ours: such a file is an image that is damaged, not "no image".
_OWN_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (8, b"WEBP", "WebP"),
    (4, b"ftypavi", "AVIF"),
)
_FOREIGN_SIGNATURES = (
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftyp", "video (MP4)"),
    (0, b"\x1aE\xdf\xa3", "video (WebM)"),
    (0, b"<svg", "SVG"),
)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A picture, upright, in 8-bit RGB.

    Attributes:
        rgb: mode `RGB`, after EXIF orientation, without metadata.
        width, height: pixels, after EXIF orientation.
        format: `JPEG`, `PNG`, `GIF`, `BMP`, `WEBP` or `AVIF`, by content.
        mode: Pillow's mode of the file as it was stored, such as `CMYK` or `I;16`.
    """

    rgb: Image.Image
    width: int
    height: int
    format: str
    mode: str


def read_bytes(path: Path) -> bytes:
    """Read a whole image file.

    Raises:
        ImageRefused: `unreadable` (missing, a folder, no permission), `empty` or `too_many_bytes`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageRefused("unreadable", f"the file cannot be read: {detail}") from error
    if not data:
        raise ImageRefused("empty", "the file is empty (0 bytes)")
    if len(data) > MAX_BYTES:
        raise ImageRefused("too_many_bytes", f"expected at most {MAX_BYTES:,} bytes, the file holds more")
    return data


def decode(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode one image file, or its bytes, completely.

    Args:
        source: a path or the file's bytes.
        max_pixels: largest width × height accepted, compared before decoding.

    Raises:
        ImageRefused: with a `code` for programs and a one-line reason for people.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not data:
        raise ImageRefused("empty", "the file is empty (0 bytes)")
    _silence_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_pixels(image, max_pixels)
            image.load()
            _check_pixels(image, max_pixels)
            mode = image.mode
            # A JPEG that carries further pictures (phones, stereo cameras) calls itself MPO.
            image_format = "JPEG" if image.format == "MPO" else str(image.format)
            rgb = to_rgb(_upright(image))
    except ImageRefused:
        raise
    except Image.DecompressionBombError as error:
        raise ImageRefused("too_many_pixels", f"expected at most {max_pixels:,} pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise _not_identified(data) from error
    except MemoryError as error:
        raise ImageRefused("unreadable", "there is too little memory to decode this image") from error
    except Exception as error:  # A damaged file makes decoders raise anything, from struct.error to KeyError.
        if _ends_early(error):
            raise ImageRefused("truncated", "the file ends before the picture does") from error
        raise ImageRefused("unreadable", f"the picture is damaged: {str(error) or type(error).__name__}") from error
    return DecodedImage(rgb=rgb, width=rgb.width, height=rgb.height, format=image_format, mode=mode)


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture of any mode into 8-bit `RGB`, with no metadata.

    16-bit grey is scaled by 255/65535, not clipped. Modes with transparency are flattened over white. `I` (32-bit
    integers) is read as 8-bit when all values lie in 0..255, as 16-bit when they lie in 0..65535; `F` as 0..1 or
    0..255; wider ranges are stretched from their minimum to their maximum.

    Raises:
        ImageRefused: `unsupported` for a mode without a defined way to RGB (such as LAB).
    """
    mode = image.mode
    if mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float32) * np.float32(255 / 65535)
        rgb = Image.fromarray((grey + 0.5).astype(np.uint8)).convert("RGB")
    elif mode in ("I", "F"):
        rgb = Image.fromarray(_stretch(np.asarray(image, dtype=np.float64), mode)).convert("RGB")
    elif mode in _WITH_ALPHA or (mode in _OPAQUE_8_BIT and "transparency" in image.info):
        straight = image.convert("LA") if mode == "La" else image
        rgba = straight if mode == "RGBA" else straight.convert("RGBA")
        rgb = Image.new("RGB", image.size, (255, 255, 255))
        rgb.paste(rgba, mask=rgba.getchannel("A"))
    elif mode in _OPAQUE_8_BIT:
        rgb = image.copy() if mode == "RGB" else image.convert("RGB")
    else:
        raise ImageRefused("unsupported", f"expected a picture in grey, RGB, CMYK or palette, received mode {mode}")
    rgb.info = {}
    return rgb


@dataclass(frozen=True, slots=True)
class Profile:
    """One named way from pixels to model input; the name travels with every prediction.

    Attributes:
        name: stored in sidecars and predictions.
        description: one line for people.
        prepare: (RGB picture, (height, width)) → (height, width, 3) float32.
        only_size: the one (height, width) that the profile is defined for; None for any.
    """

    name: str
    description: str
    prepare: Callable[[Image.Image, tuple[int, int]], Float32Array]
    only_size: tuple[int, int] | None = None


def find_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ModelRefused: with the names there are.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise ModelRefused(
            f"expected a preprocessing profile of {', '.join(sorted(PROFILES))}, received {name!r}"
        ) from None


def check_profile_fits(name: str, size: tuple[int, int]) -> None:
    """Refuse a profile that does not make inputs of this (height, width).

    Raises:
        ModelRefused: unknown profile, or one that is defined for another size.
    """
    only = find_profile(name).only_size
    if only is not None and only != tuple(size):
        raise ModelRefused(
            f"expected a model with an input of {only[0]}×{only[1]} pixels for the profile {name}, received one of "
            f"{size[0]}×{size[1]}: choose the profile that the model was trained with"
        )


def prepare(image: DecodedImage, profile: str, size: tuple[int, int]) -> Float32Array:
    """Make the model input of one picture.

    Args:
        image: from `decode`.
        profile: a name in `PROFILES`.
        size: (height, width) of the model's input, in pixels.

    Returns:
        (height, width, 3) float32, C-contiguous; the range is the profile's.

    Raises:
        ModelRefused: for an unknown profile, or a size that it is not defined for.
    """
    check_profile_fits(profile, size)
    return PROFILES[profile].prepare(image.rgb, size)


def _nsfwjs(rgb: Image.Image, size: tuple[int, int]) -> Float32Array:
    values = resize_align_corners(rgb, size)
    values /= np.float32(255)
    return values


def _nearest_unit(rgb: Image.Image, size: tuple[int, int]) -> Float32Array:
    return _resized(rgb, size, Image.Resampling.NEAREST) / np.float32(255)


def _seven(rgb: Image.Image, size: tuple[int, int]) -> Float32Array:
    return _resized(rgb, size, Image.Resampling.LANCZOS) / np.float32(127.5) - np.float32(1)


def _vit_half(rgb: Image.Image, size: tuple[int, int]) -> Float32Array:
    unit = _resized(rgb, size, Image.Resampling.BILINEAR) * np.float32(1 / 255)
    return (unit - np.float32(0.5)) / np.float32(0.5)


def _open_nsfw(rgb: Image.Image, size: tuple[int, int]) -> Float32Array:
    height, width = size
    file = io.BytesIO()
    # The JPEG round trip is part of what the network was trained with; Pillow's own quality is opennsfw2's.
    rgb.resize((256, 256), Image.Resampling.BILINEAR).save(file, "JPEG")
    with Image.open(file, formats=("JPEG",)) as again:
        pixels = np.asarray(again.convert("RGB"), dtype=np.float32)
    top, left = (256 - height) // 2, (256 - width) // 2
    blue_green_red = pixels[top : top + height, left : left + width, ::-1]
    return np.ascontiguousarray(blue_green_red - np.array([104, 117, 123], dtype=np.float32))


def _resized(rgb: Image.Image, size: tuple[int, int], method: Image.Resampling) -> Float32Array:
    height, width = size
    return np.asarray(rgb.resize((width, height), method), dtype=np.float32)


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "nsfwjs",
            "RGB in 0..1; bilinear with aligned corners, no antialias, aspect not kept (nsfwjs)",
            _nsfwjs,
        ),
        Profile(
            "keras_default",
            "RGB in 0..1; nearest neighbour, aspect not kept (Keras load_img with target_size)",
            _nearest_unit,
        ),
        Profile(
            "gantman",
            "RGB in 0..1; nearest neighbour, aspect not kept (predict.py of GantMan/nsfw_model)",
            _nearest_unit,
        ),
        Profile(
            "seven",
            "RGB in -1..1; Pillow's Lanczos to 224, aspect not kept (swiss-ai-center image-nsfw-detector)",
            _seven,
            (224, 224),
        ),
        Profile(
            "vit_half",
            "RGB with mean .5 and deviation .5; antialiased bilinear to 224, aspect not kept (ViTImageProcessor)",
            _vit_half,
            (224, 224),
        ),
        Profile(
            "open_nsfw",
            "BGR minus (104, 117, 123); bilinear to 256, JPEG round trip, centre crop of 224 (open_nsfw, opennsfw2)",
            _open_nsfw,
            (224, 224),
        ),
    )
}


def resize_align_corners(rgb: Image.Image, size: tuple[int, int]) -> Float32Array:
    """Bilinear sampling whose corner samples are the corner pixels: TensorFlow's `ResizeBilinear(align_corners=True)`.

    Output row r reads source row r·(H−1)/(h−1), columns alike; each value mixes the four nearest pixels and no
    others, so shrinking aliases, as the reference does. Computed in float32: Pillow's affine transform takes the
    same samples but rounds them to 8 bits.

    Args:
        rgb: mode `RGB`, any size.
        size: (height, width) wanted.

    Returns:
        (height, width, 3) float32 in 0..255.
    """
    source_width, source_height = rgb.size
    top, bottom, down = _samples(source_height, size[0])
    left, right, along = _samples(source_width, size[1])
    top, bottom = top[:, None] * source_width, bottom[:, None] * source_width
    # Four bytes a pixel, so that a pixel is one number: picking numbers is several times as fast as picking rows of 3.
    pixels = np.frombuffer(rgb.tobytes("raw", "RGBX"), dtype=np.uint32)
    along = np.repeat(along, 4)

    def mix_columns(rows: Int64Array) -> Float32Array:
        lefts = pixels.take(rows + left).view(np.uint8).astype(np.float32)
        rights = pixels.take(rows + right).view(np.uint8).astype(np.float32)
        rights -= lefts
        rights *= along
        rights += lefts
        return rights

    upper, lower = mix_columns(top), mix_columns(bottom)
    lower -= upper
    lower *= down[:, None]
    lower += upper
    return np.ascontiguousarray(lower.reshape(*size, 4)[..., :3])


def _samples(source: int, wanted: int) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Lower index, upper index and the upper one's share, for each of `wanted` samples along one axis."""
    scale = np.float32((source - 1) / (wanted - 1)) if wanted > 1 else np.float32(0)
    positions = np.arange(wanted, dtype=np.float32) * scale
    lower = np.minimum(positions.astype(np.int64), source - 1)
    upper = np.minimum(lower + 1, source - 1)
    return lower, upper, (positions - lower).astype(np.float32)


def _stretch(values: Float64Array, mode: str) -> UInt8Array:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    ceilings = (255.0, 65535.0) if mode == "I" else (1.0, 255.0)
    ceiling = next((ceiling for ceiling in ceilings if high <= ceiling), None) if low >= 0 else None
    if ceiling is not None:
        low, high = 0.0, ceiling
    span = (high - low) or 1.0
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (255 / span)
    stretched: UInt8Array = (np.clip(scaled, 0, 255) + 0.5).astype(np.uint8)
    return stretched


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # Broken metadata is no reason to refuse a sound picture.
        return image
    transposition = _TRANSPOSITIONS.get(orientation) if isinstance(orientation, int) else None
    if transposition is None:
        return image
    turned = image.transpose(transposition)
    turned.info = dict(image.info)  # `to_rgb` needs a palette's transparency.
    return turned


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageRefused(
            "too_many_pixels",
            f"expected at most {max_pixels:,} pixels, received {width:,} × {height:,} = {width * height:,}",
        )


def _not_identified(data: bytes) -> ImageRefused:
    for offset, signature, name in _OWN_SIGNATURES:
        if data.startswith(signature, offset) and (name != "BMP" or len(data) < 54):
            return ImageRefused("truncated", f"the file starts as {name}, but ends or breaks within its header")
    for offset, signature, name in _FOREIGN_SIGNATURES:
        if data.startswith(signature, offset):
            return ImageRefused("unsupported", f"expected JPEG, PNG, GIF, BMP, WebP or AVIF, received {name}")
    return ImageRefused("not_an_image", "expected JPEG, PNG, GIF, BMP, WebP or AVIF, the content is none of them")


def _ends_early(error: Exception) -> bool:
    message = str(error).lower()
    return isinstance(error, EOFError) or any(
        clue in message for clue in ("truncated", "unexpected end", "incomplete", "not enough data")
    )


def _silence_pillow() -> None:
    """Let no warning of Pillow's out: everything it warns of is either judged above or harmless metadata.

    A filter that stays is safe with threads; `warnings.catch_warnings` swaps global state back and forth and is not.
    """
    first = warnings.filters[0] if warnings.filters else None
    if first is None or getattr(first[3], "pattern", None) != _PILLOW_MODULES:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)


_PILLOW_MODULES = r"PIL\."
