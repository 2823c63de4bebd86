"""`.tflite`: the flatbuffer itself, with one tensor more among its outputs (the embedding). No TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import ModelRefused
from inference.models.compiled import EMBEDDING, INPUT, PROBABILITIES, SIGNATURE
from inference.models.loaded import (
    Answer,
    LoadedModel,
    Request,
    Writer,
    agreed_size,
    check_input,
    choose_embedding,
    reading,
)
from inference.types import Float32Array

FORMAT = "tflite"
IDENTIFIER = b"TFL3"
_POOLED = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "REDUCE_MAX", "RESHAPE", "SQUEEZE")


def load(request: Request) -> LoadedModel:
    """Load a `.tflite` file.

    Raises:
        ModelRefused: damaged or truncated; quantised inputs or outputs; more than one input or output; an operation
            that LiteRT itself does not know.
    """
    data = request.path.read_bytes()
    with reading(request.path, ".tflite file"):
        # Unpacking touches every byte, so a truncated file fails here and not in native code.
        model = _unpack(data)
        graph = model.subgraphs[0]
        given, outputs = [int(index) for index in graph.inputs], [int(index) for index in graph.outputs]
    if len(given) != 1:
        raise ModelRefused(f"expected a model with one input, received {len(given)}")
    _check_float(graph, [*given, *outputs])
    shape = _shape(graph, given[0])
    check_input(shape)
    if shape[0] != 1:
        raise ModelRefused(f"expected an input for one image at a time, the model has {shape}: convert it with batch 1")
    size = agreed_size(shape[1:3], request.input_size)
    flat = _vectors(graph)
    answers = [index for index in outputs if index in flat.values() and _name(graph, index) != request.embedding_layer]
    if len(answers) != 1:
        raise ModelRefused(
            f"expected one output of (1, classes), the model has {[_shape(graph, index) for index in outputs]}: "
            "name the one that is an embedding with --embedding-layer"
        )
    sizes = {name: _shape(graph, index)[1] for name, index in flat.items() if index != answers[0]}
    pooled = {name: sizes[name] for name in _pooled(model, graph) if name in sizes}
    layer = choose_embedding(pooled, sizes, request.embedding_layer)
    wanted = flat[layer]
    _set_outputs(model, given[0], answers[0], wanted)
    packed = _pack(model)
    return LoadedModel(
        format_origin=FORMAT,
        input_size=size,
        outputs=_shape(graph, answers[0])[1],
        embedding_layer=layer,
        embedding_size=sizes[layer],
        answer=_original(data, request.path, answers[0], wanted),
        writers=(Writer("litert", lambda out: _write(out, packed)),),
    )


def _unpack(data: bytes) -> Any:
    from ai_edge_litert.schema_py_generated import ModelT

    if data[4:8] != IDENTIFIER:
        raise ValueError(f"it does not hold the mark {IDENTIFIER.decode()}")
    return ModelT.InitFromPackedBuf(data, 0)


def _pack(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _write(out: Path, packed: bytes) -> None:
    out.write_bytes(packed)


def _set_outputs(model: Any, given: int, probabilities: int, embedding: int) -> None:
    from ai_edge_litert.schema_py_generated import SignatureDefT, TensorMapT

    def named(name: str, index: int) -> Any:
        entry = TensorMapT()
        entry.name, entry.tensorIndex = name, index
        return entry

    signature = SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs = [named(INPUT, given)]
    signature.outputs = [named(PROBABILITIES, probabilities), named(EMBEDDING, embedding)]
    model.signatureDefs = [signature]
    model.subgraphs[0].outputs = [probabilities, embedding]


def _check_float(graph: Any, indices: list[int]) -> None:
    from ai_edge_litert.schema_py_generated import TensorType

    names = {value: name for name, value in vars(TensorType).items() if isinstance(value, int)}
    kinds = {names[graph.tensors[index].type] for index in indices}
    if kinds != {"FLOAT32"}:
        raise ModelRefused(
            f"expected float32 inputs and outputs, received {', '.join(sorted(kinds))}: convert it with float inputs "
            "and outputs (weights may be quantised)"
        )


def _vectors(graph: Any) -> dict[str, int]:
    """Computed tensors of one float vector: name → index."""
    computed = {int(index) for operator in graph.operators for index in operator.outputs}
    return {
        _name(graph, index): index
        for index, tensor in enumerate(graph.tensors)
        if index in computed and tensor.type == 0 and len(_shape(graph, index)) == 2 and _shape(graph, index)[0] == 1
    }


def _pooled(model: Any, graph: Any) -> list[str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    kinds = {getattr(BuiltinOperator, name) for name in _POOLED}

    def kind(operator: Any) -> int:
        code = model.operatorCodes[operator.opcodeIndex]
        return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))

    return [_name(graph, int(each.outputs[0])) for each in graph.operators if kind(each) in kinds]


def _shape(graph: Any, index: int) -> tuple[int, ...]:
    shape = graph.tensors[index].shape
    return tuple(int(side) for side in shape) if shape is not None else ()


def _name(graph: Any, index: int) -> str:
    name = graph.tensors[index].name
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _original(data: bytes, path: Path, probabilities: int, embedding: int) -> Answer:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with reading(path, ".tflite file of operations that LiteRT knows"):
        untouched = Interpreter(model_content=data)
        # Inner tensors can be read only where every tensor is kept, and that is not possible with the fast kernels.
        keeping = Interpreter(
            model_content=data,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        for interpreter in (untouched, keeping):
            interpreter.allocate_tensors()
        given = untouched.get_input_details()[0]["index"]

    def run(interpreter: Any, image: Float32Array, tensor: int) -> Any:
        interpreter.set_tensor(given, image)
        interpreter.invoke()
        return interpreter.get_tensor(tensor)

    def answer(images: Float32Array) -> tuple[Float32Array, Float32Array]:
        pictures = [images[row : row + 1] for row in range(len(images))]
        return (
            np.concatenate([run(untouched, picture, probabilities) for picture in pictures]),
            np.concatenate([run(keeping, picture, embedding) for picture in pictures]),
        )

    return answer
