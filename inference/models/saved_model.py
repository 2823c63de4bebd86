"""SavedModel folders: exported by Keras 2 or 3, or with signatures in the manner of TensorFlow 1.

Keras 3 does not load them any more, TensorFlow does: the signature is frozen into one graph, and embeddings are
read from a tensor of that graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import ModelRefused
from inference.models import frozen
from inference.models.loaded import Answer, LoadedModel, Request, agreed_size, check_input, choose_embedding, reading
from inference.types import Float32Array

FORMAT = "saved-model"
FILE = "saved_model.pb"
SIGNATURE = "serving_default"
_POOLED = frozenset({"Mean", "Max", "Reshape", "Squeeze"})
_FILE_ACCESS = frozenset({"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"})


def load(request: Request) -> LoadedModel:
    """Load a SavedModel folder by one of its signatures.

    Raises:
        ModelRefused: damaged; no signature with one RGB input and one output of (batch, classes); operations that
            reach for files or Python, unless the code is trusted.
    """
    import tensorflow as tf

    if not request.trust_code:
        refuse_file_access(request.path)
    with reading(request.path, "SavedModel folder"):
        loaded = tf.saved_model.load(str(request.path))
        signature = _signature(loaded.signatures, request.path)
        given, shape = _input(signature)
    check_input(shape)
    size = agreed_size(shape[1:3], request.input_size)
    outputs = sorted(signature.structured_outputs)
    with reading(request.path, "SavedModel folder that can be frozen"):
        # The variables belong to `loaded`, which stays alive until they are constants.
        whole = frozen.freeze(lambda images: signature(**{given: images}), size)
    flat, pooled = _vectors(whole, size)
    by_output = dict(zip(outputs, whole.answers, strict=True))
    probabilities = _answer(by_output, flat, request.embedding_layer)
    pooled = {name: length for name, length in pooled.items() if name != flat[probabilities][0]}
    candidates = {name: length for name, length in flat.values() if name != flat[probabilities][0]}
    for output, tensor in by_output.items():
        if tensor in flat and tensor != probabilities:
            candidates[output] = flat[tensor][1]
    layer = choose_embedding(pooled, candidates, request.embedding_layer)
    embedding = by_output.get(layer) or f"{layer}:0"
    definition = frozen.two_answers(whole, size, probabilities, embedding)
    return LoadedModel(
        format_origin=FORMAT,
        input_size=size,
        outputs=flat[probabilities][1],
        embedding_layer=layer,
        embedding_size=candidates[layer],
        answer=_original(loaded, signature, given, definition, probabilities, by_output),
        writers=frozen.graph_writers(definition, size),
    )


def refuse_file_access(folder: Path) -> None:
    """Refuse a SavedModel whose graphs read or write files, or call into Python.

    Raises:
        ModelRefused: with the operations.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    with reading(folder, "SavedModel folder"):
        saved.ParseFromString((folder / FILE).read_bytes())
    graphs = [meta.graph_def for meta in saved.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    found = sorted({node.op for node in nodes} & _FILE_ACCESS)
    if found:
        raise ModelRefused(
            f"expected {folder} to compute and nothing else, its graph holds {', '.join(found)}, which reach for files "
            "or Python: if you trust the author, say --trust-code"
        )


def _signature(signatures: Any, path: Path) -> Any:
    names = sorted(signatures)
    if SIGNATURE in names:
        return signatures[SIGNATURE]
    if len(names) == 1:
        return signatures[names[0]]
    raise ModelRefused(
        f"expected the signature {SIGNATURE}, or one alone, in {path}, it has {', '.join(names) or 'none'}: "
        "export it with signatures"
    )


def _input(signature: Any) -> tuple[str, list[int | None]]:
    given = signature.structured_input_signature[1]
    if len(given) != 1:
        raise ModelRefused(f"expected a signature with one input, received {', '.join(sorted(given)) or 'none'}")
    name, spec = next(iter(given.items()))
    if spec.shape.rank is None:
        raise ModelRefused(f"expected an input of (batch, height, width, 3), the shape of {name} is unknown")
    return str(name), spec.shape.as_list()


def _vectors(whole: frozen.FrozenGraph, size: tuple[int, int]) -> tuple[dict[str, tuple[str, int]], dict[str, int]]:
    """Tensors that hold one vector an image: tensor → (operation, length), and the pooled ones: operation → length."""
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, (1, *size, 3))
        tf.graph_util.import_graph_def(whole.definition, input_map={whole.given: images}, name="")
    flat: dict[str, tuple[str, int]] = {}
    pooled: dict[str, int] = {}
    for operation in graph.get_operations():
        for tensor in operation.outputs[:1]:
            shape = tensor.shape
            if operation.type in {"Const", "Placeholder"} or tensor.dtype != tf.float32 or shape.rank != 2:
                continue
            batch, length = shape.as_list()
            if batch != 1 or length is None:
                continue
            flat[tensor.name] = (operation.name, length)
            if operation.type in _POOLED:
                pooled[operation.name] = length
    return flat, pooled


def _answer(by_output: dict[str, str], flat: dict[str, tuple[str, int]], embedding: str | None) -> str:
    """The tensor of the signature's probabilities."""
    fitting = {output: tensor for output, tensor in by_output.items() if tensor in flat and output != embedding}
    if len(fitting) != 1:
        raise ModelRefused(
            f"expected one output of (batch, classes), the signature has {', '.join(sorted(by_output))}"
            + (f", of which {', '.join(sorted(fitting))} would do" if fitting else "")
            + ": name the one that is an embedding with --embedding-layer"
        )
    return next(iter(fitting.values()))


def _original(
    loaded: Any, signature: Any, given: str, definition: Any, probabilities: str, by_output: dict[str, str]
) -> Answer:
    """The signature itself for the outputs, as it was loaded; the graph for embeddings, which the signature has not."""
    import tensorflow as tf

    output = next(name for name, tensor in by_output.items() if tensor == probabilities)
    by_graph = frozen.graph_answer(definition)

    def answer(images: Float32Array, *, owner: Any = loaded) -> tuple[Float32Array, Float32Array]:
        # A signature holds its variables weakly: `owner` keeps them alive.
        rows = [signature(**{given: tf.constant(images[row : row + 1])})[output] for row in range(len(images))]
        return np.concatenate([np.asarray(row, dtype=np.float32) for row in rows]), by_graph(images)[1]

    return answer
