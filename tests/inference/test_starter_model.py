"""The converted starter model answers as nsfwjs does: the golden values of INTEROP.md 3."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.errors import ArrayRefused, DriftTooLarge, ModelRefused
from inference.models.compile import Drift, check_drift, probe_images
from inference.models.compiled import CompiledModel
from inference.models.sidecar import ModelFolder
from inference.preprocess import DecodedImage, decode, prepare
from inference.types import Float32Array
from tests.starter import inception_model_folder


def answer(model: CompiledModel, image: DecodedImage) -> dict[str, float]:
    probabilities, _ = model.predict(prepare(image, "nsfwjs", (224, 224))[None])
    return dict(zip(model.sidecar.class_names, probabilities[0].tolist(), strict=True))


def test_it_gives_the_golden_values(starter_model: CompiledModel, photographs: tuple[Path, Path]) -> None:
    black = Image.new("RGB", (320, 240))
    china, flower = (answer(starter_model, decode(path)) for path in photographs)
    flat = answer(starter_model, DecodedImage(black, 320, 240, "PNG", "RGB"))
    assert china["neutral"] == pytest.approx(0.99652, abs=1e-3)
    assert china["drawings"] == pytest.approx(0.00347, abs=1e-3)
    assert flower["neutral"] == pytest.approx(0.99529, abs=1e-3)
    assert flower["drawings"] == pytest.approx(0.00230, abs=1e-3)
    assert flower["porn"] == pytest.approx(0.00204, abs=1e-3)
    assert flat["drawings"] == pytest.approx(0.78831, abs=1e-3)
    assert flat["neutral"] == pytest.approx(0.17337, abs=1e-3)


def test_its_sidecar_tells_what_the_numbers_mean(starter_model: CompiledModel) -> None:
    sidecar = starter_model.sidecar
    assert sidecar.class_names == ("drawings", "hentai", "neutral", "porn", "sexy")
    assert (sidecar.taxonomy, sidecar.profile, sidecar.positive_class) == ("five", "nsfwjs", None)
    assert (sidecar.input_height, sidecar.input_width, sidecar.embedding_size) == (224, 224, 1280)
    assert (sidecar.licence, sidecar.source) == ("MIT", "npm:nsfwjs@4.4.0")
    assert sidecar.drift["max_probability"] <= 1e-3
    assert sidecar.drift["changed_winners"] == 0
    assert sidecar.drift["probes"] >= 40


def test_the_folder_holds_the_licence(starter_folder: Path) -> None:
    assert "MIT License" in (starter_folder / "LICENSE").read_text()


def test_an_answer_does_not_depend_on_its_neighbours(starter_model: CompiledModel) -> None:
    inputs = np.random.default_rng(0).random((5, 224, 224, 3), dtype=np.float32)
    together, embeddings = starter_model.predict(inputs)
    assert (together.shape, embeddings.shape) == ((5, 5), (5, 1280))
    assert together.dtype == embeddings.dtype == np.float32
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    for row in range(5):
        alone, embedding = starter_model.predict(inputs[row : row + 1])
        np.testing.assert_array_equal(alone[0], together[row])
        np.testing.assert_array_equal(embedding[0], embeddings[row])
    assert starter_model.predict(inputs[:0])[0].shape == (0, 5)


@pytest.mark.parametrize(
    "batch",
    [np.zeros((1, 100, 100, 3), np.float32), np.zeros((224, 224, 3), np.float32), np.zeros((1, 224, 224, 3))],
)
def test_another_shape_or_type_is_refused(starter_model: CompiledModel, batch: Float32Array) -> None:
    with pytest.raises(ArrayRefused, match=r"\(n, 224, 224, 3\) float32"):
        starter_model.predict(batch)


def test_a_file_that_contradicts_its_sidecar_is_refused(starter_folder: Path, tmp_path: Path) -> None:
    opened = ModelFolder.open(starter_folder)
    fewer = dataclasses.replace(opened.sidecar, class_names=("drawings", "neutral", "sexy"))
    with pytest.raises(ModelRefused, match="by the sidecar"):
        CompiledModel.open(ModelFolder(starter_folder, fewer))
    (tmp_path / "model.tflite").write_bytes(b"no model at all")
    with pytest.raises(ModelRefused, match="no usable LiteRT model"):
        CompiledModel.open(ModelFolder(tmp_path, opened.sidecar))


def test_the_probes_are_of_many_kinds_and_always_the_same() -> None:
    probes = probe_images("nsfwjs", (32, 32))
    assert probes.shape[1:] == (32, 32, 3)
    assert len(np.unique(probes.reshape(len(probes), -1), axis=0)) == len(probes) >= 40
    np.testing.assert_array_equal(probes, probe_images("nsfwjs", (32, 32)))


@pytest.mark.parametrize("drift", [Drift(2e-3, 0, 0, 40), Drift(1e-5, 0, 1, 40), Drift(float("nan"), 0, 0, 40)])
def test_a_compiled_model_that_answers_differently_is_refused(drift: Drift) -> None:
    with pytest.raises(DriftTooLarge, match="not used"):
        check_drift(drift)
    check_drift(Drift(9e-4, 0.5, 0, 40))


@pytest.mark.slow
def test_inception_v3_gives_the_values_of_tensorflow_js(photographs: tuple[Path, Path]) -> None:
    """The golden values are TensorFlow.js' own: version 4.22.0 in Node, on the same package and decoded pixels."""
    model = CompiledModel.open(inception_model_folder())
    sidecar = model.sidecar
    assert sidecar.class_names == ("drawings", "hentai", "neutral", "porn", "sexy")
    assert (sidecar.input_height, sidecar.input_width, sidecar.embedding_size) == (299, 299, 2048)
    assert sidecar.drift["max_probability"] <= 1e-3
    assert sidecar.drift["changed_winners"] == 0
    black = Image.new("RGB", (320, 240))
    pictures = [*(decode(path) for path in photographs), DecodedImage(black, 320, 240, "PNG", "RGB")]
    answers = [model.predict(prepare(picture, "nsfwjs", (299, 299))[None])[0][0] for picture in pictures]
    expected = [
        [0.00049, 0.00001, 0.99948, 0.00001, 0.00000],
        [0.00010, 0.00001, 0.99985, 0.00003, 0.00000],
        [0.37382, 0.03826, 0.56099, 0.01895, 0.00797],
    ]
    np.testing.assert_allclose(answers, expected, atol=1e-3)
