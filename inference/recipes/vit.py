"""A vision transformer of stock Keras layers, so that its files load anywhere without code of ours.

Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; layer norm first, GELU, the class token read out.

Class token, position embedding and the bias of the patch projection are one table that is added to the projected
patches: a row for the class token, whose patch is zero, and one for each position. Stock Keras has one layer with such
a table, `EinsumDense` with a bias over positions; so it projects the patches too, cut out by reshaping.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import ModelRefused
from inference.types import Float32Array

PATCH = 16
_EPSILON = 1e-6


def build_vit(side: int, *, width: int, depth: int, heads: int) -> Any:
    """A Keras network (n, side, side, 3) → (n, width), the class token behind the last normalisation.

    Args:
        side: pixels, a multiple of 16.
        width: numbers a token; a multiple of `heads`.
        depth: blocks.
        heads: of attention.
    """
    import keras

    if side % PATCH or width % heads:
        raise ModelRefused(
            f"expected a side that is a multiple of {PATCH} and a width that is one of {heads} heads, received {side} "
            f"and {width}"
        )
    rows = side // PATCH
    patches = rows * rows
    picture = keras.Input((side, side, 3), name="vit_picture")
    tokens = keras.layers.Reshape((rows, PATCH, rows, 3 * PATCH), name="in_stripes")(picture)
    tokens = keras.layers.Permute((1, 3, 2, 4), name="in_squares")(tokens)
    tokens = keras.layers.Reshape((patches, 3 * PATCH * PATCH), name="in_a_row")(tokens)
    tokens = keras.layers.ZeroPadding1D((1, 0), name="room_for_class")(tokens)
    tokens = keras.layers.EinsumDense(
        "bpc,cd->bpd",
        output_shape=(patches + 1, width),
        bias_axes="pd",
        bias_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name="patches",
    )(tokens)
    for number in range(depth):
        tokens = _block(tokens, number, width, heads)
    tokens = keras.layers.LayerNormalization(epsilon=_EPSILON, name="norm")(tokens)
    first = keras.layers.Cropping1D((0, patches), name="class_token")(tokens)
    return keras.Model(picture, keras.layers.Flatten(name="vit_embedding")(first), name="vit")


def _block(tokens: Any, number: int, width: int, heads: int) -> Any:
    import keras

    name = f"block_{number}"
    normed = keras.layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm_1")(tokens)
    seen = keras.layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(normed, normed)
    tokens = keras.layers.Add(name=f"{name}_add_1")([tokens, seen])
    normed = keras.layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm_2")(tokens)
    hidden = keras.layers.Dense(4 * width, name=f"{name}_hidden")(normed)
    hidden = keras.layers.Activation("gelu", name=f"{name}_gelu")(hidden)
    back = keras.layers.Dense(width, name=f"{name}_out")(hidden)
    return keras.layers.Add(name=f"{name}_add_2")([tokens, back])


def load_published(network: Any, path: Path) -> None:
    """Put the weights of a published `.npz` (the format of Google's vision_transformer) into a network of `build_vit`.

    Raises:
        ModelRefused: an array is missing, or has another shape than this network needs.
    """
    try:
        with np.load(path) as arrays:
            given = {name: np.asarray(arrays[name], dtype=np.float32) for name in arrays.files}
    except (OSError, ValueError, EOFError) as error:
        raise ModelRefused(
            f"expected weights of a vision transformer in {path}, reading them failed: {error}"
        ) from error

    def take(name: str) -> Float32Array:
        if name not in given:
            raise ModelRefused(f"expected the array {name} in {path}, it is not there: is it a ViT-B/16 in .npz?")
        return given[name]

    for layer, values in _published(network, take):
        wanted = [tuple(weight.shape) for weight in layer.weights]
        received = [value.shape for value in values]
        if wanted != received:
            raise ModelRefused(
                f"expected {wanted} for {layer.name} in {path}, received {received}: the weights are of another size "
                "of the network, or of another picture size"
            )
        layer.set_weights(values)


def _published(network: Any, take: Any) -> list[tuple[Any, list[Float32Array]]]:
    table = take("Transformer/posembed_input/pos_embedding")[0].copy()
    table[0] += take("cls")[0, 0]
    table[1:] += take("embedding/bias")
    projection = take("embedding/kernel")
    found = [
        (network.get_layer("patches"), [projection.reshape(-1, projection.shape[-1]), table]),
        (network.get_layer("norm"), [take(f"Transformer/encoder_norm/{name}") for name in ("scale", "bias")]),
    ]
    number = 0
    while any(layer.name == f"block_{number}_hidden" for layer in network.layers):
        at, name = f"Transformer/encoderblock_{number}", f"block_{number}"
        parts = {
            f"{name}_norm_1": [f"LayerNorm_0/{one}" for one in ("scale", "bias")],
            f"{name}_attention": [
                f"MultiHeadDotProductAttention_1/{part}/{one}"
                for part in ("query", "key", "value", "out")
                for one in ("kernel", "bias")
            ],
            f"{name}_norm_2": [f"LayerNorm_2/{one}" for one in ("scale", "bias")],
            f"{name}_hidden": [f"MlpBlock_3/Dense_0/{one}" for one in ("kernel", "bias")],
            f"{name}_out": [f"MlpBlock_3/Dense_1/{one}" for one in ("kernel", "bias")],
        }
        found += [(network.get_layer(layer), [take(f"{at}/{one}") for one in names]) for layer, names in parts.items()]
        number += 1
    return found
