"""Run a compiled model: LiteRT on the CPU wherever a model allows it, else ONNX Runtime or a frozen TensorFlow graph.

A model is compiled for one image at a time. Measured on MobileNetV2 224, one thread: 158 images/s and 42 MB this
way, 142 images/s and 86 MB with a fixed batch of 8; and no short batch has to be padded.

TensorFlow and ONNX Runtime are imported only when a model needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from inference.errors import ArrayRefused, MissingTool, ModelRefused
from inference.models.sidecar import ModelFolder, Sidecar
from inference.types import Float32Array

SIGNATURE = "one_image"
INPUT = "images"
PROBABILITIES = "probabilities"
EMBEDDING = "embedding"


class Runtime(Protocol):
    """What runs one compiled model. It belongs to one thread."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name (`INPUT`, `PROBABILITIES`, `EMBEDDING`), the input's as the model itself wants it."""

    def answer(self, image: Float32Array) -> tuple[Float32Array, Float32Array]:
        """(1, H, W, 3) or (1, 3, H, W) → the model's own outputs (1, K) and the embedding (1, D)."""


class LiteRt:
    """A LiteRT flatbuffer with the signature `SIGNATURE`."""

    def __init__(self, path: Path, threads: int) -> None:
        # The runner's own reference to its interpreter is weak.
        self._interpreter: Any = Interpreter(model_path=str(path), num_threads=threads)
        self._runner = self._interpreter.get_signature_runner(SIGNATURE)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(int(side) for side in details["shape"])
            for described in (self._runner.get_input_details(), self._runner.get_output_details())
            for name, details in described.items()
        }

    def answer(self, image: Float32Array) -> tuple[Float32Array, Float32Array]:
        answered = self._runner(**{INPUT: image})
        return answered[PROBABILITIES], answered[EMBEDDING]


class OnnxRuntime:
    """An ONNX graph with one input and the two outputs (probabilities, embedding), in that order."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingTool(
                f"expected the library onnxruntime to run {path}, it is not installed: pip install '.[onnx]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # Its exceptions share no base class but this one.
            raise ModelRefused(f"{path} is no usable ONNX model: {first_line(error)}") from error
        self._input = self._session.get_inputs()[0].name

    def shapes(self) -> dict[str, tuple[int, ...]]:
        tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
        return {
            name: tuple(tensor.shape) for name, tensor in zip((INPUT, PROBABILITIES, EMBEDDING), tensors, strict=True)
        }

    def answer(self, image: Float32Array) -> tuple[Float32Array, Float32Array]:
        probabilities, embedding = self._session.run(None, {self._input: image})
        return probabilities, embedding


class FrozenTensorFlow:
    """A frozen TensorFlow graph with the nodes `INPUT`, `PROBABILITIES` and `EMBEDDING`. Loads TensorFlow."""

    def __init__(self, path: Path, threads: int) -> None:
        import tensorflow as tf

        graph = tf.compat.v1.GraphDef()
        try:
            graph.ParseFromString(path.read_bytes())
            whole = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
            tensors = [whole.graph.get_tensor_by_name(f"{name}:0") for name in (INPUT, PROBABILITIES, EMBEDDING)]
        except Exception as error:  # Protobuf, TensorFlow and Python each raise their own.
            raise ModelRefused(f"{path} is no usable frozen graph: {first_line(error)}") from error
        self._shapes = {
            name: tuple(tensor.shape) for name, tensor in zip((INPUT, PROBABILITIES, EMBEDDING), tensors, strict=True)
        }
        self._constant = tf.constant
        self._function: Any = whole.prune(tensors[0], tensors[1:])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes

    def answer(self, image: Float32Array) -> tuple[Float32Array, Float32Array]:
        probabilities, embedding = self._function(self._constant(image))
        return probabilities.numpy(), embedding.numpy()


RUNTIMES: dict[str, Callable[[Path, int], Runtime]] = {
    "litert": LiteRt,
    "onnxruntime": OnnxRuntime,
    "tensorflow": FrozenTensorFlow,
}

_NAMES = {"litert": "LiteRT model", "onnxruntime": "ONNX model", "tensorflow": "frozen graph"}


class CompiledModel:
    """A compiled model, ready to answer. One instance belongs to one thread: its buffers are reused."""

    def __init__(self, folder: ModelFolder, runtime: Runtime) -> None:
        self.folder = folder
        self._runtime = runtime
        self._to_classes = class_answers(folder.sidecar)
        self._check_shapes()

    @classmethod
    def open(cls, folder: Path | ModelFolder, *, threads: int = 1, serving: bool = False) -> CompiledModel:
        """Open a model folder.

        Args:
            folder: the folder, or one that is open already (then its hash is not compared again).
            threads: threads *inside* one answer; a scorer with several workers wants 1.
            serving: True in the web process, which never loads TensorFlow.

        Raises:
            SidecarInvalid, HashMismatch: see `ModelFolder.open`.
            MissingTool: the library that runs this model is not installed.
            ModelRefused: the file is no model, its shapes contradict the sidecar, or it needs TensorFlow in serving.
        """
        opened = folder if isinstance(folder, ModelFolder) else ModelFolder.open(folder)
        runtime = opened.sidecar.runtime
        if serving and runtime == "tensorflow":
            raise ModelRefused(
                f"expected a model that LiteRT or ONNX Runtime can serve, {opened.sidecar.name} runs only in "
                f"TensorFlow ({opened.sidecar.runtime_reason}): score with it in a command, serve another"
            )
        try:
            return cls(opened, RUNTIMES[runtime](opened.model_path, threads))
        except (ValueError, RuntimeError) as error:
            raise ModelRefused(f"{opened.model_path} is no usable {_NAMES[runtime]}: {first_line(error)}") from error

    @property
    def sidecar(self) -> Sidecar:
        return self.folder.sidecar

    def predict(self, batch: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Probabilities and embeddings of prepared images.

        Args:
            batch: (n, H, W, 3) float32, n ≥ 0, prepared with the sidecar's profile.

        Returns:
            (n, K) float32 probabilities in the order of `sidecar.class_names`, rows sum to 1;
            (n, D) float32 embeddings. An image's answer does not depend on its neighbours in the batch.

        Raises:
            ArrayRefused: another shape or type.
        """
        sidecar = self.sidecar
        shape = (sidecar.input_height, sidecar.input_width, 3)
        if batch.ndim != 4 or batch.shape[1:] != shape or batch.dtype != np.float32:
            expected = ", ".join(map(str, shape))
            raise ArrayRefused(f"expected (n, {expected}) float32, received {batch.shape} {batch.dtype}")
        if sidecar.layout == "nchw":
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        outputs = np.empty((len(batch), sidecar.outputs), dtype=np.float32)
        embeddings = np.empty((len(batch), sidecar.embedding_size), dtype=np.float32)
        for row in range(len(batch)):
            output, embedding = self._runtime.answer(batch[row : row + 1])
            outputs[row], embeddings[row] = output[0], embedding[0]
        return self._to_classes(outputs), embeddings

    def _check_shapes(self) -> None:
        sidecar = self.sidecar
        sides = (sidecar.input_height, sidecar.input_width)
        expected = {
            INPUT: (1, 3, *sides) if sidecar.layout == "nchw" else (1, *sides, 3),
            PROBABILITIES: (1, sidecar.outputs),
            EMBEDDING: (1, sidecar.embedding_size),
        }
        received = self._runtime.shapes()
        if received != expected:
            raise ModelRefused(f"expected, by the sidecar of {sidecar.name}, {expected}, the model has {received}")


def class_answers(sidecar: Sidecar) -> Callable[[Float32Array], Float32Array]:
    """From a model's own outputs (n, outputs) to probabilities (n, K) in the order of `sidecar.class_names`."""
    names, positive_class = sidecar.class_names, sidecar.positive_class
    order = [sidecar.output_order.index(name) for name in names] if sidecar.output_order else None

    def to_classes(outputs: Float32Array) -> Float32Array:
        if positive_class is not None:
            positive = _sigmoid(outputs) if sidecar.output == "logits" else outputs
            return np.concatenate([positive if name == positive_class else 1 - positive for name in names], axis=1)
        probabilities = _softmax(outputs) if sidecar.output == "logits" else outputs
        return probabilities if order is None else probabilities[:, order]

    return to_classes


def first_line(error: BaseException) -> str:
    """The first line of a foreign error's text, short enough for one line of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _softmax(logits: Float32Array) -> Float32Array:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: Float32Array = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _sigmoid(logits: Float32Array) -> Float32Array:
    # By tanh, which does not overflow.
    values: Float32Array = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * logits))
    return values
