"""Backbones to train on, and where their weights come from. Loads TensorFlow inside its functions."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import FetchFailed, ModelRefused
from inference.fine_tuning import Original, load_network
from inference.models.compiled import first_line
from inference.recipes.base import IMAGENET, NO_WEIGHTS, RANGES, TrainingRecipe
from inference.recipes.vit import build_vit, load_published
from inference.train import copy_of, trunk_of

BACKBONE, RANGE = "winnow_backbone", "winnow_range"
PUBLISHED = ".npz"
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A network from pictures to a map or an embedding.

    Attributes:
        network: (n, side, side, 3) → (n, h, w, d) or (n, d).
        value_range: darkest and brightest value that it was trained with.
    """

    network: Any
    value_range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of backbone.

    Attributes:
        title: for people.
        build: (side, arguments, weights file or None) → network.
        file: (side, arguments) → name of its ImageNet weights; None where nobody published any for these.
        value_range: what the ImageNet weights expect.
        fetched: whether Keras itself knows where they lie.
    """

    title: str
    build: Callable[[int, Mapping[str, float], str | None], Any]
    file: Callable[[int, Mapping[str, float]], str | None]
    value_range: tuple[float, float] = (-1.0, 1.0)
    fetched: bool = True


def _mobilenet_v2(side: int, arguments: Mapping[str, float], weights: str | None) -> Any:
    import keras

    return keras.applications.MobileNetV2(
        input_shape=(side, side, 3), alpha=arguments["alpha"], include_top=False, weights=weights
    )


def _mobilenet_v2_file(side: int, arguments: Mapping[str, float]) -> str | None:
    return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{arguments['alpha']}_{side}_no_top.h5"


def _inception_v3(side: int, arguments: Mapping[str, float], weights: str | None) -> Any:
    import keras

    return keras.applications.InceptionV3(input_shape=(side, side, 3), include_top=False, weights=weights)


def _inception_v3_file(side: int, arguments: Mapping[str, float]) -> str | None:
    return "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


def _vit(side: int, arguments: Mapping[str, float], weights: str | None) -> Any:
    network = build_vit(side, **{name: int(value) for name, value in arguments.items()})
    if weights is not None:
        load_published(network, Path(weights))
    return network


def _vit_file(side: int, arguments: Mapping[str, float]) -> str | None:
    letters = {768: "B", 192: "Ti"}
    letter = letters.get(int(arguments["width"])) if side == 224 else None
    return f"ViT-{letter}_16{PUBLISHED}" if letter else None


ARCHITECTURES: Mapping[str, Architecture] = {
    "mobilenet_v2": Architecture("MobileNetV2", _mobilenet_v2, _mobilenet_v2_file),
    "inception_v3": Architecture("InceptionV3", _inception_v3, _inception_v3_file),
    "vit": Architecture("ViT/16", _vit, _vit_file, fetched=False),
}


def weights_folder() -> Path:
    """Where Keras keeps downloaded weights, and where people put what they brought themselves."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def make_backbone(recipe: TrainingRecipe, size: str, kind: str, original: Original | None) -> Backbone:
    """The backbone of a recipe with its first weights.

    Args:
        recipe: one with a backbone.
        size: a name in its `sizes`.
        kind: `imagenet`, `none`, or `file`.
        original: the file, for `file`.

    Raises:
        FetchFailed: ImageNet weights that are not there and cannot be fetched.
        ModelRefused: the file holds no such backbone, or nobody published weights for this size.
    """
    architecture, arguments = ARCHITECTURES[recipe.backbone], recipe.arguments(size)
    if kind == NO_WEIGHTS:
        return Backbone(_named(architecture.build(recipe.side, arguments, None)), architecture.value_range)
    if kind == IMAGENET:
        return Backbone(_named(_imagenet(architecture, recipe, arguments)), architecture.value_range)
    if original is None:
        raise ModelRefused("expected a file to start from, received none")
    if original.path.suffix == PUBLISHED:
        if recipe.backbone != "vit":
            raise ModelRefused(f"expected a model file for the recipe {recipe.name}, received {original.path}")
        network = architecture.build(recipe.side, arguments, str(original.path))
        return Backbone(_named(network), architecture.value_range)
    network, embedding_layer = load_network(original)
    return _taken(architecture, recipe, arguments, network, embedding_layer, original)


def _taken(
    architecture: Architecture,
    recipe: TrainingRecipe,
    arguments: Mapping[str, float],
    network: Any,
    embedding_layer: str,
    original: Original,
) -> Backbone:
    """The part of another network that is this architecture."""
    names = {layer.name for layer in network.layers}
    value_range = RANGES[original.profile]
    if BACKBONE in names:
        # A network of ours: what stands before its backbone only shifts the range.
        trunk = network.get_layer(BACKBONE)
        if RANGE in names:
            shift = network.get_layer(RANGE)
            low, high = (value * shift.scale + shift.offset for value in value_range)
            value_range = (low, high)
    else:
        trunk = trunk_of(network, embedding_layer)
    wanted = architecture.build(recipe.side, arguments, None)
    if trunk.count_params() != wanted.count_params() or trunk.outputs[0].shape[-1] != wanted.outputs[0].shape[-1]:
        raise ModelRefused(
            f"expected a {architecture.title} of {wanted.count_params():,} weights in {original.path.name}, for the "
            f"recipe {recipe.name}, received a network of {trunk.count_params():,}: name another model, or another size"
        )
    own = tuple(trunk.inputs[0].shape[1:3])
    if own != (recipe.side, recipe.side):
        if recipe.backbone == "vit":
            raise ModelRefused(f"expected a network for {recipe.side} pixels, received one for {own}")
        trunk = copy_of(trunk, (recipe.side, recipe.side))
    return Backbone(_named(trunk), value_range)


def _imagenet(architecture: Architecture, recipe: TrainingRecipe, arguments: Mapping[str, float]) -> Any:
    name = architecture.file(recipe.side, arguments)
    if name is None:
        raise ModelRefused(
            f"expected a published size for ImageNet weights, {recipe.name} has none for {dict(arguments)}: choose the "
            f"size {next(iter(recipe.sizes))}, or say where weights come from with --weights"
        )
    kept = weights_folder() / name
    if kept.is_file():
        return architecture.build(recipe.side, arguments, str(kept))
    reason = "it is not there"
    if architecture.fetched:
        try:
            with _not_waiting_for_ever():
                return architecture.build(recipe.side, arguments, IMAGENET)
        except Exception as error:  # Keras raises whatever the network does.
            reason = f"it is not there, and fetching it failed ({first_line(error)})"
    raise FetchFailed(
        f"expected the ImageNet weights of {architecture.title} in {kept}, {reason}: put the file {name} there, or "
        "start from a registered model or a file with --weights (--weights none starts from chance)"
    )


@contextmanager
def _not_waiting_for_ever() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _named(network: Any) -> Any:
    import keras

    return keras.Model(network.inputs[0], network.outputs[0], name=BACKBONE)
