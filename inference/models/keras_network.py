"""What all formats that hold a Keras network share: the safety check, the embedding, the ways to a compiled model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import InferenceError, ModelRefused
from inference.models import frozen
from inference.models.compile import with_embedding
from inference.models.compiled import EMBEDDING, PROBABILITIES, first_line
from inference.models.loaded import LoadedModel, Request, Writer, agreed_size, check_input, choose_embedding
from inference.types import Float32Array

_UNKNOWN = re.compile(r"(?:Could not locate class|Unknown layer:) '?(\w+)")
_CODE = frozenset({"Lambda", "__lambda__"})
_POOLED = (
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "KerasLayer",  # a TF-Hub module
    "Functional",  # a backbone that pools by itself
    "Sequential",
)


def refuse_code(config: Any, path: Path, *, trust_code: bool) -> None:
    """Refuse a network's description that holds Python code. Called before anything of it is brought to life.

    Raises:
        ModelRefused: with the layers' names, unless the code is trusted.
    """
    found = sorted(set(_code_in(config, "")))
    if found and not trust_code:
        raise ModelRefused(
            f"expected {path} without code, it holds Lambda code in {', '.join(found)}, which runs whatever its author "
            "wrote: if you trust the author, say --trust-code"
        )


def _code_in(value: Any, owner: str) -> Iterator[str]:
    if isinstance(value, dict):
        inner = value.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
        owner = str(name) if isinstance(name, str) else owner
        if value.get("class_name") in _CODE:
            yield owner or "a layer without a name"
        for part in value.values():
            yield from _code_in(part, owner)
    elif isinstance(value, list):
        for part in value:
            yield from _code_in(part, owner)


@contextmanager
def reading_layers(path: Path, kind: str) -> Iterator[None]:
    """Like `loaded.reading`, for the libraries that bring layers to life: an unknown layer is named."""
    try:
        yield
    except InferenceError:
        raise
    except Exception as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown is not None:
            raise ModelRefused(
                f"expected layers that Keras itself knows in {path}, received {unknown.group(1)}: its code is not part "
                "of the file; export the model as a SavedModel, which needs none"
            ) from error
        # Keras wraps the reason in a description of the whole network.
        reason = str(error).rpartition("Exception encountered: ")[2]
        raise ModelRefused(
            f"expected {path} to be a complete {kind}, reading it failed: {first_line(ValueError(reason))}"
        ) from error


def loaded_network(network: Any, request: Request, format_origin: str, *, model_class: Any = None) -> LoadedModel:
    """The common form of a Keras network.

    Args:
        network: built, with weights.
        request: what was asked for.
        format_origin: for the sidecar.
        model_class: `tf_keras.Model` for a network of tf_keras; None for Keras 3.

    Raises:
        ModelRefused: more than one input or output, an input that is no RGB picture, an unknown layer.
    """
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ModelRefused(
            f"expected a network with one input and one output, received {len(network.inputs)} and "
            f"{len(network.outputs)}"
        )
    given, answered = tuple(network.inputs[0].shape), tuple(network.outputs[0].shape)
    check_input(given)
    size = agreed_size(given[1:3], request.input_size)
    if len(answered) != 2 or answered[1] is None:
        raise ModelRefused(f"expected an output of (batch, classes), the network has {answered}")
    flat = _flat_layers(network)
    pooled = {name: flat[name] for name in flat if type(network.get_layer(name)).__name__ in _POOLED}
    layer = choose_embedding(pooled, flat, request.embedding_layer)
    two = with_embedding(network, layer, flat[layer], model_class=model_class)

    def answer(images: Float32Array) -> tuple[Float32Array, Float32Array]:
        answers = two.predict(images, batch_size=8, verbose=0)
        return np.asarray(answers[PROBABILITIES], np.float32), np.asarray(answers[EMBEDDING], np.float32)

    return LoadedModel(
        format_origin=format_origin,
        input_size=size,
        outputs=int(answered[1]),
        embedding_layer=layer,
        embedding_size=flat[layer],
        answer=answer,
        writers=(
            Writer("litert", lambda out: frozen.write_litert(frozen.freeze_network(two, size), size, out)),
            Writer("tensorflow", lambda out: frozen.write_graph(frozen.freeze_network(two, size), out)),
        ),
        network=network if model_class is None else None,
    )


def _flat_layers(network: Any) -> dict[str, int]:
    """Layers that give one vector an image, in the network's order, without the last, the answer: name → size."""
    flat = {}
    for layer in network.layers[:-1]:
        try:
            shape = tuple(layer.output.shape)
        except (AttributeError, ValueError):  # Shared by several places, or never called: it has no one output.
            continue
        if len(shape) == 2 and shape[1] is not None and type(layer).__name__ != "InputLayer":
            flat[layer.name] = int(shape[1])
    return flat
