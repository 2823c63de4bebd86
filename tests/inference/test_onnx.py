"""ONNX, with a tiny vision transformer that is written here node by node. Needs the extra `onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.errors import ModelRefused
from inference.models.compiled import CompiledModel
from inference.models.declared import Declared
from inference.models.register import register_model

onnx = pytest.importorskip("onnx", reason="needs the extra onnx: pip install '.[onnx]'")
pytest.importorskip("onnxruntime", reason="needs the extra onnx: pip install '.[onnx]'")

WIDTH, PATCHES, CLASSES = 8, 196, 2


def vit(axes: tuple[int | str, ...] = ("batch", 3, 224, 224)) -> Any:
    """Patches by a convolution, one attention block, layer norm, first token, logits: a ViT in the small."""
    rng = np.random.default_rng(4)

    def constant(name: str, *shape: int, scale: float = 0.5) -> Any:
        return onnx.numpy_helper.from_array(rng.normal(0, scale, shape).astype(np.float32), name)

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
        return onnx.helper.make_node(kind, inputs.split(), [output], **attributes)

    nodes = [
        node("Conv", "pixel_values patch patch_bias", "patches", kernel_shape=[16, 16], strides=[16, 16]),
        node("Reshape", "patches tokens_shape", "flat"),
        node("Transpose", "flat", "tokens", perm=[0, 2, 1]),
        node("MatMul", "tokens query", "queries"),
        node("Transpose", "tokens", "keys", perm=[0, 2, 1]),
        node("MatMul", "queries keys", "scores"),
        node("Softmax", "scores", "attention", axis=-1),
        node("MatMul", "attention tokens", "mixed"),
        node("Add", "tokens mixed", "residual"),
        node("LayerNormalization", "residual gain shift", "normed", axis=-1),
        node("Gather", "normed first", "class_token", axis=1),
        node("Gemm", "class_token head head_bias", "logits"),
    ]
    weights = [
        constant("patch", WIDTH, 3, 16, 16, scale=0.05), constant("patch_bias", WIDTH), constant("query", WIDTH, WIDTH),
        constant("gain", WIDTH), constant("shift", WIDTH), constant("head", WIDTH, CLASSES),
        constant("head_bias", CLASSES),
        onnx.numpy_helper.from_array(np.array([0, WIDTH, -1]), "tokens_shape"),
        onnx.numpy_helper.from_array(np.array(0), "first"),
    ]  # fmt: skip
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "vit",
        [onnx.helper.make_tensor_value_info("pixel_values", floats, axes)],
        [onnx.helper.make_tensor_value_info("logits", floats, (axes[0], CLASSES))],
        weights,
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def declared(path: Path, **changes: Any) -> Declared:
    facts: dict[str, Any] = {
        "path": str(path), "name": "vit", "taxonomy": "binary", "class_names": ("sfw", "nsfw"), "profile": "vit_half",
        "output": "logits",
    }  # fmt: skip
    return Declared(**{**facts, **changes})


def by_reference(model: Any, images: np.ndarray) -> np.ndarray:
    """ONNX's own slow evaluator in NumPy, on channels-first pictures."""
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(model)
    (logits,) = evaluator.run(None, {"pixel_values": images.transpose(0, 3, 1, 2)})
    raised: np.ndarray = np.exp(logits.astype(float))
    shares: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return shares


def test_a_vision_transformer_runs_in_onnx_runtime_and_answers_as_the_reference_evaluator(tmp_path: Path) -> None:
    model = vit()
    onnx.save(model, tmp_path / "vit.onnx")
    folder = register_model(declared(tmp_path / "vit.onnx"), tmp_path / "models")
    sidecar = folder.sidecar
    assert (sidecar.runtime, sidecar.layout, sidecar.format_origin) == ("onnxruntime", "nchw", "onnx")
    assert "no exact conversion from ONNX to LiteRT" in sidecar.runtime_reason
    assert (sidecar.embedding_layer, sidecar.embedding_size) == ("class_token", WIDTH)
    images = np.random.default_rng(2).uniform(-1, 1, (3, 224, 224, 3)).astype(np.float32)
    compiled = CompiledModel.open(folder, serving=True)
    probabilities, embeddings = compiled.predict(images)
    np.testing.assert_allclose(probabilities, by_reference(model, images), atol=1e-4)
    assert embeddings.shape == (3, WIDTH)
    assert compiled.predict(images[:0])[0].shape == (0, 2)


def test_logits_that_are_called_probabilities_are_refused(tmp_path: Path) -> None:
    onnx.save(vit(), tmp_path / "vit.onnx")
    with pytest.raises(ModelRefused, match="if they are logits, say --logits"):
        register_model(declared(tmp_path / "vit.onnx", output="probabilities"), tmp_path / "models")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("batch", 3, "height", "width"), "dynamic axes height, width: export the model again"),
        (("batch", "channels", 224, 224), "dynamic axes channels"),
        ((4, 3, 224, 224), r"one image or an open batch, received \(4, 3, 224, 224\)"),
        ((1, 1, 224, 224), r"an input of \(batch, height, width, 3\)|complete .onnx file"),
    ],
)
def test_axes_that_are_not_one_rgb_picture_are_refused(
    axes: tuple[int | str, ...], message: str, tmp_path: Path
) -> None:
    onnx.save(vit(axes), tmp_path / "vit.onnx")
    with pytest.raises(ModelRefused, match=message):
        register_model(declared(tmp_path / "vit.onnx"), tmp_path / "models")
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


@pytest.mark.parametrize("share", [0.2, 0.95])
def test_a_truncated_onnx_file_is_refused(share: float, tmp_path: Path) -> None:
    whole = vit().SerializeToString()
    (tmp_path / "vit.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelRefused, match=r"complete \.onnx file"):
        register_model(declared(tmp_path / "vit.onnx"), tmp_path / "models")
