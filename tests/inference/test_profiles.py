"""Each profile against a computation that shares nothing with ours: Keras' own calls, Pillow's own, plain NumPy."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.errors import ModelRefused
from inference.preprocess import PROFILES, DecodedImage, decode, prepare
from inference.types import Float32Array

KERAS_CALLS = """
import sys
import numpy as np
from keras.applications.mobilenet_v2 import preprocess_input
from keras.utils import img_to_array, load_img

photo, out = sys.argv[1:]
nearest = {f"nearest_{side}": img_to_array(load_img(photo, target_size=(side, side))) / 255 for side in (224, 299)}
lanczos = preprocess_input(img_to_array(load_img(photo, target_size=(224, 224), interpolation="lanczos")))
np.savez(out, lanczos=lanczos, **nearest)
"""


@pytest.fixture(scope="module")
def by_keras(photographs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Float32Array]:
    """What Keras makes of china.jpg, in a process of its own."""
    out = tmp_path_factory.mktemp("keras") / "inputs.npz"
    subprocess.run(
        [sys.executable, "-c", KERAS_CALLS, str(photographs[0]), str(out)],
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"},
        check=True,
        capture_output=True,
    )
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("profile", ["gantman", "keras_default"])
@pytest.mark.parametrize("side", [224, 299])
def test_nearest_profiles_equal_load_img_and_img_to_array(
    profile: str, side: int, photographs: tuple[Path, Path], by_keras: dict[str, Float32Array]
) -> None:
    received = prepare(decode(photographs[0]), profile, (side, side))
    np.testing.assert_allclose(received, by_keras[f"nearest_{side}"], atol=1e-7)


def test_seven_equals_lanczos_and_the_preprocessing_of_mobilenet(
    photographs: tuple[Path, Path], by_keras: dict[str, Float32Array]
) -> None:
    received = prepare(decode(photographs[0]), "seven", (224, 224))
    assert (received.min(), received.max()) == (-1, 1)
    np.testing.assert_allclose(received, by_keras["lanczos"], atol=1e-6)


def test_vit_half_equals_resize_rescale_normalise_as_vit_image_processor_defines_them(
    photographs: tuple[Path, Path],
) -> None:
    with Image.open(photographs[1]) as photo:
        resized = np.asarray(photo.convert("RGB").resize((224, 224), resample=2))  # 2 is BILINEAR
    expected = (resized.astype(np.float64) / 255 - np.array([0.5, 0.5, 0.5])) / np.array([0.5, 0.5, 0.5])
    np.testing.assert_allclose(prepare(decode(photographs[1]), "vit_half", (224, 224)), expected, atol=1e-6)


def test_open_nsfw_equals_its_recipe_written_out_pixel_by_pixel(photographs: tuple[Path, Path]) -> None:
    with Image.open(photographs[1]) as photo:
        buffer = io.BytesIO()
        photo.convert("RGB").resize((256, 256), resample=2).save(buffer, format="JPEG")
    with Image.open(buffer) as again:
        pixels = np.array(again)
    received = prepare(decode(photographs[1]), "open_nsfw", (224, 224))
    assert received.flags.c_contiguous
    for row, column in [(0, 0), (0, 223), (223, 0), (100, 57), (223, 223)]:
        red, green, blue = (float(value) for value in pixels[row + 16, column + 16])
        assert received[row, column].tolist() == [blue - 104, green - 117, red - 123]


def test_the_jpeg_round_trip_of_open_nsfw_is_really_made(photographs: tuple[Path, Path]) -> None:
    picture = decode(photographs[1]).rgb
    crop = np.asarray(picture.resize((256, 256), resample=2).crop((16, 16, 240, 240)), dtype=np.float32)
    straight = crop[..., ::-1] - np.array([104, 117, 123], dtype=np.float32)
    received = prepare(decode(photographs[1]), "open_nsfw", (224, 224))
    assert 0.1 < np.abs(received - straight).mean() < 10


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_gives_float32_of_the_size_it_is_asked_for(profile: str, photographs: tuple[Path, Path]) -> None:
    prepared = prepare(decode(photographs[0]), profile, (224, 224))
    assert prepared.shape == (224, 224, 3)
    assert prepared.dtype == np.float32
    assert prepared.flags.c_contiguous


@pytest.mark.parametrize("profile", ["seven", "vit_half", "open_nsfw"])
def test_a_profile_of_one_size_refuses_another_with_both_named(profile: str) -> None:
    picture = Image.new("RGB", (30, 20))
    image = DecodedImage(picture, 30, 20, "PNG", "RGB")
    with pytest.raises(ModelRefused, match=rf"224×224 pixels for the profile {profile}, received one of 299×299"):
        prepare(image, profile, (299, 299))
