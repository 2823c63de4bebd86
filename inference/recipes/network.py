"""From a backbone to a network that answers with classes. Loads TensorFlow inside its functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.errors import ModelRefused
from inference.recipes.backbones import RANGE, Backbone
from inference.recipes.base import RANGES, Augmentation, TrainingRecipe
from inference.train import BATCH_NORM_MOMENTUM
from inference.types import Float32Array

EMBEDDING = "winnow_embedding"


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """One set of weights, seen twice.

    Attributes:
        backbone: the part that may be frozen.
        scores: (n, side, side, 3) → (n, outputs) before sigmoid or softmax, which training needs.
        answers: the same behind it, which is what is kept.
    """

    backbone: Any
    scores: Any
    answers: Any


def build_networks(
    recipe: TrainingRecipe, backbone: Backbone, outputs: int, seed: int, *, from_chance: bool = False
) -> Networks:
    """Range, backbone, mean over the map, hidden layer, dropout, and a last linear layer.

    The backbone's normalisation stays in inference mode, also while its weights are trained: what a small batch says of
    mean and spread is not worth what it disturbs, and serving then is what training was. A backbone that starts from
    chance knows no mean and spread yet, and learns them.

    Args:
        recipe: how.
        backbone: of it.
        outputs: how many numbers the network answers with; 1 answers with a sigmoid.
        seed: of new layers and of dropout.
        from_chance: whether the backbone's weights are random.
    """
    import keras

    keras.utils.set_random_seed(seed)
    picture = keras.Input((recipe.side, recipe.side, 3), name="winnow_picture")
    values = picture
    (low, high), (least, most) = RANGES[recipe.profile], backbone.value_range
    if (low, high) != (least, most):
        scale = (most - least) / (high - low)
        values = keras.layers.Rescaling(scale, least - low * scale, name=RANGE)(values)
    if from_chance:
        for layer in backbone.network._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = BATCH_NORM_MOMENTUM
        values = backbone.network(values)
    else:
        values = backbone.network(values, training=False)
    if len(values.shape) == 4:
        values = keras.layers.GlobalAveragePooling2D(name=EMBEDDING)(values)
    else:
        values = keras.layers.Identity(name=EMBEDDING)(values)
    if recipe.hidden:
        values = keras.layers.Dense(recipe.hidden, activation="relu", name="winnow_hidden")(values)
    if recipe.dropout:
        values = keras.layers.Dropout(recipe.dropout, seed=seed, name="winnow_dropout")(values)
    # In 32 bits also where the rest computes in 16: a loss is a small difference of large numbers.
    scores = keras.layers.Dense(outputs, dtype="float32", name="winnow_scores")(values)
    kind = "sigmoid" if outputs == 1 else "softmax"
    answers = keras.layers.Activation(kind, dtype="float32", name="winnow_answers")(scores)
    return Networks(backbone.network, keras.Model(picture, scores), keras.Model(picture, answers, name=recipe.name))


def augmenter(augmentation: Augmentation | None, seed: int) -> Any:
    """A Keras network that varies pictures at random when called with `training=True`; None where nothing is varied.

    What each picture meets depends on the seed and on how many batches came before it; the state is in its variables.
    """
    import keras

    if augmentation is None:
        return None
    wanted = augmentation
    border = {"fill_mode": "nearest", "interpolation": "bilinear"}
    seeds = iter(range(seed, seed + 10))
    layers = []
    if wanted.flip:
        layers.append(keras.layers.RandomFlip("horizontal", seed=next(seeds)))
    if wanted.rotation:
        layers.append(keras.layers.RandomRotation(wanted.rotation / 360, **border, seed=next(seeds)))
    if wanted.shift:
        layers.append(keras.layers.RandomTranslation(wanted.shift, wanted.shift, **border, seed=next(seeds)))
    if wanted.shear:
        layers.append(keras.layers.RandomShear(wanted.shear, 0.0, **border, seed=next(seeds)))
    if wanted.zoom:
        layers.append(keras.layers.RandomZoom(wanted.zoom, wanted.zoom, **border, seed=next(seeds)))
    return keras.Sequential(layers, name="winnow_augmenter")


def network_with_head(network: Any, embedding_layer: str, kernel: Float32Array, bias: Float32Array, name: str) -> Any:
    """The network up to its embedding, and behind it a softmax layer with these weights.

    Args:
        network: a Keras network.
        embedding_layer: where its embedding is read.
        kernel: (D, K).
        bias: (K,).
        name: of the new network.

    Raises:
        ModelRefused: the embedding is not D numbers.
    """
    import keras

    embedding = network.get_layer(embedding_layer).output
    if tuple(embedding.shape[1:]) != (len(kernel),):
        raise ModelRefused(
            f"expected {len(kernel)} numbers from the layer {embedding_layer}, the network gives {embedding.shape}"
        )
    layer = keras.layers.Dense(len(bias), activation="softmax", name="winnow_answers")
    made = keras.Model(network.inputs[0], layer(embedding), name=name)
    layer.set_weights([np.asarray(kernel, np.float32), np.asarray(bias, np.float32)])
    return made
