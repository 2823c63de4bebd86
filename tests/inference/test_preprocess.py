"""Decoding: what is accepted, what is refused and with which code; and the profiles' arithmetic."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inference.errors import ImageRefused, ModelRefused
from inference.preprocess import DecodedImage, decode, prepare, resize_align_corners, to_rgb


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def two_halves(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return image.convert(mode)


def noise(size: tuple[int, int] = (320, 240), seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises a huge picture that the file does not hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def refusal(source: bytes | Path, **options: Any) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        decode(source, **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF"])
def test_it_decodes_every_listed_format(image_format: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(encoded(two_halves(), image_format))
    image = decode(path)
    assert (image.format, image.width, image.height, image.rgb.mode) == (image_format, 60, 40, "RGB")
    left, right = np.asarray(image.rgb)[20, 5].astype(int), np.asarray(image.rgb)[20, 55].astype(int)
    assert left[0] > 230
    assert left[2] < 30
    assert right[2] > 230
    assert right[0] < 30


def test_it_goes_by_the_content_not_by_the_file_name(tmp_path: Path) -> None:
    path = tmp_path / "holiday.png"
    path.write_bytes(encoded(two_halves(), "JPEG"))
    assert decode(path).format == "JPEG"


def test_it_refuses_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert refusal(path).code == "empty"
    assert refusal(b"").code == "empty"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_it_refuses_a_file_that_ends_early(image_format: str, share: float) -> None:
    data = encoded(noise(), image_format)
    assert refusal(data[: int(len(data) * share)]).code in {"truncated", "unreadable"}


def test_a_jpeg_cut_in_the_middle_is_called_truncated() -> None:
    data = encoded(noise(), "JPEG")
    assert refusal(data[: len(data) // 2]).code == "truncated"
    assert refusal(data[:10]).code == "truncated"


@pytest.mark.parametrize("data", [b"hello, this is text", b"\x00" * 500, b"<html>", b"PK\x03\x04" + b"\x01" * 60])
def test_it_refuses_what_is_no_image(data: bytes) -> None:
    assert refusal(data).code == "not_an_image"


def test_it_names_an_image_format_that_is_not_supported() -> None:
    refused = refusal(encoded(two_halves(), "TIFF"))
    assert refused.code == "unsupported"
    assert "TIFF" in refused.reason


def test_it_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jpg").code == "unreadable"
    assert refusal(tmp_path).code == "unreadable"


def test_it_refuses_a_bomb_by_pixel_count_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def must_not_load(*arguments: Any) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", must_not_load)
    for width, height in ((20_000, 20_000), (11_000, 11_000)):
        assert refusal(png_bomb(width, height)).code == "too_many_pixels"


def test_the_pixel_limit_is_inclusive_and_can_be_set() -> None:
    data = encoded(two_halves(size=(60, 40)), "PNG")
    assert decode(data, max_pixels=2400).width == 60
    refused = refusal(data, max_pixels=2399)
    assert refused.code == "too_many_pixels"
    assert "60 × 40" in refused.reason


def test_no_warning_of_pillow_gets_out() -> None:
    bomb = png_bomb(9_600, 9_600)  # 92 million pixels: above the figure from which Pillow warns.
    palette = two_halves("P")
    palette.info["transparency"] = bytes([255] * 256)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(bomb).code in {"truncated", "unreadable"}
        decode(encoded(palette, "PNG"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_applies_exif_orientation(orientation: int) -> None:
    upright = two_halves(size=(64, 32))
    upright.paste((0, 255, 0), (0, 0, 32, 16))  # The top left quarter is green: all eight differ.
    undo = {2: 0, 3: 1 + 1, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    if orientation == 3:
        stored = upright.transpose(Image.Transpose.ROTATE_180)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encoded(stored, "PNG", exif=exif))
    if orientation in {1, 2, 3, 4, 5, 7}:
        assert (image.width, image.height) == (64, 32)
        np.testing.assert_array_equal(np.asarray(image.rgb), np.asarray(upright))
    else:
        assert {image.width, image.height} == {64, 32}


def test_a_rotated_photograph_stands_upright() -> None:
    upright = two_halves(size=(60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # Stored turned a quarter to the left; to be turned to the right for showing.
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    image = decode(encoded(stored, "JPEG", exif=exif, quality=95))
    assert (image.width, image.height) == (60, 40)
    assert np.abs(np.asarray(image.rgb).astype(int) - np.asarray(upright)).mean() < 5


def test_broken_exif_does_not_refuse_a_sound_picture() -> None:
    data = encoded(two_halves(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fgarbage")
    assert decode(data).width == 60


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    image = decode(encoded(Image.fromarray(ramp), "PNG"))
    assert image.mode.startswith("I")
    np.testing.assert_allclose(np.asarray(image.rgb)[0, :, 0], np.arange(256), atol=1)


def test_cmyk_becomes_the_colours_that_people_see() -> None:
    image = decode(encoded(two_halves("CMYK"), "JPEG", quality=95))
    assert image.mode == "CMYK"
    red = np.asarray(image.rgb)[20, 5].astype(int)
    assert red[0] > 220
    assert red[1:].max() < 40


def test_transparency_is_flattened_over_white() -> None:
    clear = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    half = Image.new("RGBA", (10, 10), (0, 0, 0, 128))
    assert np.asarray(decode(encoded(clear, "PNG")).rgb).min() == 255
    assert np.asarray(decode(encoded(half, "PNG")).rgb)[0, 0].tolist() == [127, 127, 127]
    assert np.asarray(decode(encoded(clear.convert("LA"), "PNG")).rgb).min() == 255


def test_a_transparent_palette_entry_is_flattened_over_white() -> None:
    palette = Image.new("P", (10, 10), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    assert np.asarray(decode(encoded(palette, "PNG", transparency=1)).rgb).min() == 255
    assert np.asarray(decode(encoded(palette, "PNG")).rgb)[0, 0].tolist() == [200, 10, 10]


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    for image_format in ("GIF", "WEBP"):
        data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
        pixel = np.asarray(decode(data).rgb)[5, 5].astype(int)
        assert pixel[0] > 240
        assert pixel[1:].max() < 15


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "La", "CMYK", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb_of_its_look(mode: str) -> None:
    grey = Image.new("L", (8, 8), 255)
    source = grey.convert("RGBA").convert(mode) if mode in {"RGBa", "PA"} else grey.convert("RGB").convert(
        {"La": "LA"}.get(mode, mode)
    )  # fmt: skip
    source = source.convert(mode)
    rgb = to_rgb(source)
    assert (rgb.mode, rgb.info) == ("RGB", {})
    assert np.asarray(rgb).min() >= 253


def test_whole_number_and_float_pictures_are_read_by_their_range() -> None:
    eight_bit = Image.fromarray(np.array([[0, 128, 255]], dtype=np.int32))
    sixteen_bit = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.int32))
    unit = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    for picture in (eight_bit, sixteen_bit, unit):
        assert np.asarray(to_rgb(picture))[0, :, 1].tolist() == [0, 128, 255]


def test_a_mode_without_a_way_to_rgb_is_refused() -> None:
    with pytest.raises(ImageRefused, match="LAB"):
        to_rgb(Image.new("LAB", (4, 4)))


def slow_align_corners(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The definition, one output pixel at a time, in float64."""
    out = np.empty((height, width, 3))
    for row in range(height):
        for column in range(width):
            y = row * (pixels.shape[0] - 1) / (height - 1) if height > 1 else 0.0
            x = column * (pixels.shape[1] - 1) / (width - 1) if width > 1 else 0.0
            top, left = int(np.floor(y + 1e-9)), int(np.floor(x + 1e-9))
            bottom, right = min(top + 1, pixels.shape[0] - 1), min(left + 1, pixels.shape[1] - 1)
            upper = pixels[top, left] * (1 - (x - left)) + pixels[top, right] * (x - left)
            lower = pixels[bottom, left] * (1 - (x - left)) + pixels[bottom, right] * (x - left)
            out[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    return out


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    out_width=st.integers(1, 25),
    out_height=st.integers(1, 25),
)
def test_the_nsfwjs_resize_follows_its_definition(width: int, height: int, out_width: int, out_height: int) -> None:
    image = noise((width, height))
    expected = slow_align_corners(np.asarray(image).astype(float), out_height, out_width)
    received = resize_align_corners(image, (out_height, out_width))
    np.testing.assert_allclose(received, expected, atol=0.01)


def test_a_profile_gives_float32_of_the_wanted_shape() -> None:
    image = decode(encoded(noise((50, 30)), "PNG"))
    for profile in ("nsfwjs", "keras_default"):
        prepared = prepare(image, profile, (20, 24))
        assert prepared.shape == (20, 24, 3)
        assert prepared.dtype == np.float32
        assert prepared.flags.c_contiguous
        assert 0 <= prepared.min() < prepared.max() <= 1


def test_profiles_differ_and_an_unknown_one_is_refused_with_the_names_there_are() -> None:
    picture = noise((300, 200))
    image = DecodedImage(picture, 300, 200, "PNG", "RGB")
    assert np.abs(prepare(image, "nsfwjs", (224, 224)) - prepare(image, "keras_default", (224, 224))).max() > 0.05
    with pytest.raises(ModelRefused, match="gantman, keras_default, nsfwjs"):
        prepare(image, "vgg", (224, 224))
