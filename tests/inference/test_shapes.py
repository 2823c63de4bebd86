"""Shapes: what a picture shows, whatever its colour, size or brightness."""

import numpy as np
from PIL import Image, ImageDraw

from inference.shapes import SIZE, shape_features


def picture(*, size: int = 128, colour: str = "white", shape: str = "ellipse") -> Image.Image:
    made = Image.new("RGB", (size, size), "black")
    draw = ImageDraw.Draw(made)
    box = (size // 4, size // 4, 3 * size // 4, 3 * size // 4)
    (draw.ellipse if shape == "ellipse" else draw.rectangle)(box, fill=colour)
    return made


def alike(one: Image.Image, other: Image.Image) -> float:
    left, right = (shape_features(each).astype(np.float64) for each in (one, other))
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def test_features_have_a_fixed_size_and_are_finite_for_any_mode() -> None:
    for made in (picture(), picture().convert("L"), picture().convert("P"), Image.new("RGB", (1, 1))):
        features = shape_features(made)
        assert features.shape == (SIZE,)
        assert features.dtype == np.float16
        assert np.isfinite(features).all()


def test_another_size_or_colour_is_the_same_shape_and_another_shape_is_not() -> None:
    same = min(alike(picture(), picture(size=300)), alike(picture(), picture(colour="red")))
    assert same > 0.97
    assert alike(picture(), picture(shape="rectangle")) < same - 0.05
