"""ONNX, for ViT models such as TRUST's and Falconsai's, through the optional extra `onnx` (onnx, onnxruntime)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import MissingTool, ModelRefused
from inference.models.loaded import (
    Answer,
    LoadedModel,
    Request,
    Shape,
    Writer,
    agreed_size,
    check_input,
    choose_embedding,
    reading,
)
from inference.types import Float32Array

FORMAT = "onnx"
_POOLED = frozenset({"Flatten", "Gather", "ReduceMean", "ReduceMax", "Reshape", "Squeeze", "GlobalAveragePool"})


def load(request: Request) -> LoadedModel:
    """Load an ONNX file. An open batch axis becomes 1; other open axes are refused.

    Raises:
        MissingTool: the extra is not installed.
        ModelRefused: damaged or truncated; open axes; an input that is no RGB picture; more than one input or output.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingTool(
            f"expected the libraries onnx and onnxruntime to read {request.path}, {error.name} is not installed: "
            "pip install '.[onnx]'"
        ) from None
    with reading(request.path, ".onnx file"):
        model = onnx.load(request.path, load_external_data=False)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
            raise ModelRefused(
                f"expected {request.path} with its weights inside, they lie in other files: save it as one"
            )
        _fix_batch(model)
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shape = _input_shape(model)
    nchw = len(shape) == 4 and shape[1] == 3
    if nchw and shape[3] == 3:
        raise ModelRefused(f"expected an input whose axis of 3 colours is plain, received {shape}")
    sides = (shape[2], shape[3], shape[1]) if nchw else shape[1:]
    check_input((shape[0], *sides))
    size = agreed_size(sides[:2], request.input_size)
    flat, pooled = _vectors(model)
    outputs = [output.name for output in model.graph.output]
    answers = [name for name in outputs if name in flat and name != request.embedding_layer]
    if len(answers) != 1:
        raise ModelRefused(
            f"expected one output of (batch, classes), the model has {', '.join(outputs)}: name the one that is an "
            "embedding with --embedding-layer"
        )
    lengths = {name: length for name, length in flat.items() if name != answers[0]}
    candidates = {name: length for name, length in pooled.items() if name in lengths}
    layer = choose_embedding(candidates, lengths, request.embedding_layer)
    _set_outputs(model, answers[0], layer, flat)
    compiled = model.SerializeToString()
    return LoadedModel(
        format_origin=FORMAT,
        input_size=size,
        outputs=flat[answers[0]],
        embedding_layer=layer,
        embedding_size=flat[layer],
        answer=_original(compiled, request.path, nchw=nchw),
        writers=(Writer("onnxruntime", lambda out: _write(out, compiled)),),
        layout="nchw" if nchw else "nhwc",
        not_litert="there is no exact conversion from ONNX to LiteRT",
    )


def _write(out: Path, compiled: bytes) -> None:
    out.write_bytes(compiled)


def _given(model: Any) -> list[Any]:
    """The inputs that are not weights."""
    weights = {weight.name for weight in model.graph.initializer}
    return [each for each in model.graph.input if each.name not in weights]


def _fix_batch(model: Any) -> None:
    """Give an open first axis of the input, and every axis of the same name, the length 1.

    Raises:
        ModelRefused: more than one input; further axes of it are open.
    """
    given = _given(model)
    if len(given) != 1:
        raise ModelRefused(
            f"expected a model with one input, received {', '.join(each.name for each in given) or 'none'}"
        )
    axes = given[0].type.tensor_type.shape.dim
    loose = [axis.dim_param or "?" for axis in axes[1:] if not axis.HasField("dim_value")]
    if loose:
        raise ModelRefused(
            f"expected fixed axes but for the batch, the input {given[0].name} has the dynamic axes "
            f"{', '.join(loose)}: export the model again with fixed height, width and channels"
        )
    if not axes or axes[0].HasField("dim_value"):
        return
    batch = axes[0].dim_param
    axes[0].dim_value = 1
    for tensor in (*model.graph.output, *model.graph.value_info):
        for position, axis in enumerate(tensor.type.tensor_type.shape.dim):
            open_first = position == 0 and not axis.HasField("dim_value")
            if open_first or (batch and axis.dim_param == batch):
                axis.dim_value = 1


def _input_shape(model: Any) -> Shape:
    import onnx

    tensor = _given(model)[0].type.tensor_type
    shape = tuple(int(axis.dim_value) for axis in tensor.shape.dim)
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise ModelRefused(f"expected a float32 input, received {kind}: export the model with float32 inputs")
    if shape and shape[0] != 1:
        raise ModelRefused(
            f"expected an input for one image or an open batch, received {shape}: export it with batch 1"
        )
    return shape


def _vectors(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Float tensors of one vector: name → length; all of them, and the pooled ones."""
    import onnx

    kinds = {output: node.op_type for node in model.graph.node for output in node.output}
    flat, pooled = {}, {}
    for tensor in (*model.graph.value_info, *model.graph.output):
        shape = [int(axis.dim_value) for axis in tensor.type.tensor_type.shape.dim]
        if len(shape) != 2 or shape[0] != 1 or shape[1] < 1 or tensor.name not in kinds:
            continue
        if tensor.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            continue
        flat[tensor.name] = shape[1]
        if kinds[tensor.name] in _POOLED:
            pooled[tensor.name] = shape[1]
    return flat, pooled


def _set_outputs(model: Any, probabilities: str, embedding: str, sizes: dict[str, int]) -> None:
    import onnx

    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, sizes[name]))
        for name in (probabilities, embedding)
    )


def _original(compiled: bytes, path: Path, *, nchw: bool) -> Answer:
    """The graph as it was written, node for node: ONNX Runtime without any of its optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    with reading(path, ".onnx file of operations that ONNX Runtime knows"):
        session = onnxruntime.InferenceSession(compiled, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name

    def answer(images: Float32Array) -> tuple[Float32Array, Float32Array]:
        ordered = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if nchw else images
        rows = [session.run(None, {given: ordered[row : row + 1]}) for row in range(len(ordered))]
        outputs, embeddings = (np.concatenate(each) for each in zip(*rows, strict=True))
        return outputs, embeddings

    return answer
