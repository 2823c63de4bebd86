"""What every compiled model is held to: two outputs, and its original's answers on a set of probes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from inference.errors import DriftTooLarge, ModelRefused
from inference.models.compiled import EMBEDDING, PROBABILITIES, CompiledModel, class_answers
from inference.models.loaded import Answer
from inference.preprocess import DecodedImage, decode, prepare
from inference.types import Float32Array

if TYPE_CHECKING:
    import keras

MAX_DRIFT = 1e-3
"""Largest difference of a probability between original and compiled model that is accepted."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the compiled model lies from its original on the probe set.

    Attributes:
        max_probability: largest absolute difference of any probability.
        max_embedding: largest absolute difference of any embedding value, as a share of the largest value.
        changed_winners: probes whose most probable class differs.
        probes: how many were compared.
    """

    max_probability: float
    max_embedding: float
    changed_winners: int
    probes: int


def with_embedding(network: keras.Model, layer: str, size: int, *, model_class: Any = None) -> keras.Model:
    """The network with two outputs: (probabilities, embedding).

    Args:
        network: with one output.
        layer, size: where the embedding is read, and how many numbers it must have.
        model_class: the class to make it of, such as `tf_keras.Model`; None = `keras.Model`.

    Raises:
        ModelRefused: there is no such layer, or its output has another size.
    """
    if model_class is None:
        import keras

        model_class = keras.Model
    try:
        output = network.get_layer(layer).output
    except ValueError:
        raise ModelRefused(f"expected a layer {layer!r} to read the embedding from, the network has none") from None
    if tuple(output.shape[1:]) != (size,):
        raise ModelRefused(f"expected {size} numbers from layer {layer!r}, its output is {tuple(output.shape)}")
    return model_class(network.inputs, {PROBABILITIES: network.outputs[0], EMBEDDING: output})


def measure_drift(original: Answer, compiled: CompiledModel, probes: Float32Array) -> Drift:
    """Compare original and compiled model.

    Args:
        original: prepared images → the original's own outputs and embeddings.
        compiled: the same model, compiled.
        probes: (N, H, W, 3) float32 model inputs.
    """
    outputs, wanted = original(probes)
    expected = class_answers(compiled.sidecar)(outputs)
    probabilities, embeddings = compiled.predict(probes)
    scale = float(np.abs(wanted).max()) or 1.0
    winners = probabilities.argmax(axis=1) != expected.argmax(axis=1)
    return Drift(
        max_probability=float(np.abs(probabilities - expected).max()),
        max_embedding=float(np.abs(embeddings - wanted).max()) / scale,
        changed_winners=int(winners.sum()),
        probes=len(probes),
    )


def check_drift(drift: Drift, *, limit: float = MAX_DRIFT) -> None:
    """Refuse a compiled model that does not answer as its original does.

    Raises:
        DriftTooLarge: with the figures.
    """
    if not drift.max_probability <= limit or drift.changed_winners:
        raise DriftTooLarge(
            f"expected probabilities within {limit:g} of the original and no changed winner on {drift.probes} probes, "
            f"received a difference of {drift.max_probability:.2g} and {drift.changed_winners} changed winners: "
            "the compiled model is not used"
        )


def probe_images(profile: str, size: tuple[int, int], *, seed: int = 0) -> Float32Array:
    """Model inputs of many kinds: flat, noise, gradients, shapes, and crops of two photographs.

    Returns:
        (N, height, width, 3) float32, prepared with the profile; the same for the same seed.
    """
    rng = np.random.default_rng(seed)
    pictures = [
        *(Image.new("RGB", (64, 48), colour) for colour in ("black", "white", "grey", "red", "green", "blue")),
        *(_noise(rng, side) for side in (8, 32, 300)),
        *(_gradient(rng) for _ in range(6)),
        *(_shapes(rng) for _ in range(12)),
        *_photographs(rng),
    ]
    inputs = [prepare(_decoded(picture), profile, size) for picture in pictures]
    return np.stack(inputs)


def _decoded(picture: Image.Image) -> DecodedImage:
    return DecodedImage(picture, picture.width, picture.height, "PNG", "RGB")


def _noise(rng: np.random.Generator, side: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def _gradient(rng: np.random.Generator) -> Image.Image:
    first, second = rng.uniform(0, 255, (2, 3))
    share = np.linspace(0, 1, 320)[None, :, None] * np.linspace(0.5, 1, 240)[:, None, None]
    return Image.fromarray((first + (second - first) * share).astype(np.uint8))


def _shapes(rng: np.random.Generator) -> Image.Image:
    def colour() -> tuple[int, int, int]:
        red, green, blue = rng.integers(0, 256, 3)
        return int(red), int(green), int(blue)

    picture = Image.new("RGB", (320, 240), colour())
    draw = ImageDraw.Draw(picture)
    for number in range(int(rng.integers(3, 12))):
        x, y, width, height = (int(value) for value in rng.integers(5, 200, 4))
        draw_shape = (draw.ellipse, draw.rectangle)[number % 2]
        draw_shape((x, y, x + width, y + height), fill=colour(), outline=colour(), width=3)
    return picture


def _photographs(rng: np.random.Generator) -> list[Image.Image]:
    """scikit-learn's two sample photographs, whole and in crops."""
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "images"
    pictures = []
    for name in ("china.jpg", "flower.jpg"):
        whole = decode(folder / name).rgb
        pictures.append(whole)
        for _ in range(8):
            side = int(rng.integers(100, min(whole.size)))
            x, y = int(rng.integers(0, whole.width - side)), int(rng.integers(0, whole.height - side))
            pictures.append(whole.crop((x, y, x + side, y + side)))
    return pictures
