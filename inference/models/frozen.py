"""A TensorFlow function → one frozen graph for one image → LiteRT, or the graph itself as a file.

Everything here loads TensorFlow, so it is called in the converting process only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.models.compiled import EMBEDDING, INPUT, PROBABILITIES, SIGNATURE
from inference.models.loaded import Answer, Writer
from inference.types import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class FrozenGraph:
    """A graph without variables, for one image.

    Attributes:
        definition: a `GraphDef`.
        given: name of the input tensor.
        answers: names of the output tensors, in the order of the function's flattened outputs.
    """

    definition: Any
    given: str
    answers: tuple[str, ...]


def freeze(function: Callable[[Any], Any], size: tuple[int, int]) -> FrozenGraph:
    """Trace a function of one image (1, height, width, 3), and put its variables into the graph as constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    concrete = tf.function(function).get_concrete_function(tf.TensorSpec((1, *size, 3), tf.float32, name=INPUT))
    frozen = convert_variables_to_constants_v2(concrete)
    return FrozenGraph(
        frozen.graph.as_graph_def(), frozen.inputs[0].name, tuple(tensor.name for tensor in frozen.outputs)
    )


def freeze_network(network: Any, size: tuple[int, int]) -> Any:
    """The `GraphDef` of a network from `compile.with_embedding`, of Keras 3 or of tf_keras.

    Of a MobileNet it makes the same LiteRT model in two fifths of the time that `keras.export` takes on the way.
    """
    traced = freeze(lambda images: dict(network(images, training=False)), size)
    # A dict's values are flattened in the order of its sorted keys.
    embedding, probabilities = traced.answers
    return two_answers(traced, size, probabilities, embedding)


def two_answers(frozen: FrozenGraph, size: tuple[int, int], probabilities: str, embedding: str) -> Any:
    """The `GraphDef` from `INPUT` to `PROBABILITIES` and `EMBEDDING`, given the names of two tensors."""
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, (1, *size, 3), name=INPUT)
        found = tf.graph_util.import_graph_def(
            frozen.definition,
            input_map={frozen.given: images},
            return_elements=[probabilities, embedding],
            name="network",
        )
        for tensor, name in zip(found, (PROBABILITIES, EMBEDDING), strict=True):
            tf.identity(tf.cast(tensor, tf.float32), name=name)
    return graph.as_graph_def()


def write_graph(definition: Any, out: Path) -> None:
    """The file that `compiled.FrozenTensorFlow` runs."""
    out.write_bytes(definition.SerializeToString())


def write_litert(definition: Any, size: tuple[int, int], out: Path) -> None:
    """The file that `compiled.LiteRt` runs; raises what the converter raises, at an unknown operation."""
    import tensorflow as tf

    module = tf.Module()
    function = _runnable(definition)
    spec = tf.TensorSpec((1, *size, 3), tf.float32, name=INPUT)
    module.run = tf.function(lambda images: dict(zip((PROBABILITIES, EMBEDDING), function(images), strict=True)))
    with tempfile.TemporaryDirectory(prefix="winnow-saved-") as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.run.get_concrete_function(spec)})
        flatbuffer = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE]).convert()
    out.write_bytes(flatbuffer)


def graph_writers(definition: Any, size: tuple[int, int]) -> tuple[Writer, ...]:
    return (
        Writer("litert", lambda out: write_litert(definition, size, out)),
        Writer("tensorflow", lambda out: write_graph(definition, out)),
    )


def graph_answer(definition: Any) -> Answer:
    """An `Answer` by a graph from `two_answers`, one image at a time."""
    import tensorflow as tf

    function = _runnable(definition)

    def answer(images: Float32Array) -> tuple[Float32Array, Float32Array]:
        rows = [function(tf.constant(images[row : row + 1])) for row in range(len(images))]
        outputs, embeddings = (np.concatenate([one.numpy() for one in each]) for each in zip(*rows, strict=True))
        return outputs, embeddings

    return answer


def _runnable(definition: Any) -> Any:
    import tensorflow as tf

    whole = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(definition, name=""), [])
    tensors = [whole.graph.get_tensor_by_name(f"{name}:0") for name in (INPUT, PROBABILITIES, EMBEDDING)]
    return whole.prune(tensors[0], tensors[1:])
