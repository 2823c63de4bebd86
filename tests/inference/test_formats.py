"""Every format is read, compiled and answers as the original does; whatever does not hold is refused in one line."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.errors import BuildFailed, HashMismatch, InferenceError, ModelRefused
from inference.models import catalogue, npm
from inference.models.compiled import CompiledModel
from inference.models.convert import compile_exactly
from inference.models.declared import Declared
from inference.models.formats import load_model
from inference.models.loaded import Request
from inference.models.register import labels_beside, register_model, source_hash
from inference.models.sidecar import ModelFolder
from inference.types import Float32Array

FIVE = ("drawings", "hentai", "neutral", "porn", "sexy")
CHECKOUT = Path(__file__).parents[2]


def declared(path: Path, **changes: Any) -> Declared:
    facts: dict[str, Any] = {
        "path": str(path), "name": "toy", "taxonomy": "five", "class_names": FIVE, "profile": "keras_default",
    }  # fmt: skip
    return Declared(**{**facts, **changes})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny model a format, written by the libraries themselves."""
    out = tmp_path_factory.mktemp("made")
    subprocess.run(
        [sys.executable, "-m", "tests.inference.make_models", str(out)],
        cwd=CHECKOUT,
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
        capture_output=True,
    )
    return out


def refusal(given: Declared, into: Path) -> str:
    """The one line that a registration is refused with; nothing of it may be left."""
    with pytest.raises(InferenceError) as caught:
        register_model(given, into)
    assert [path.name for path in into.iterdir() if not path.name.endswith(".lock")] == [] if into.exists() else True
    assert "\n" not in str(caught.value)
    return str(caught.value)


def answers(folder: ModelFolder, made: Path) -> tuple[Float32Array, Float32Array]:
    return CompiledModel.open(folder).predict(np.load(made / "inputs.npy"))


FORMATS = [
    ("plain.keras", "plain", "keras", "pool"),
    ("exported", "exported", "saved-model", None),
    ("tf1", "tf1", "saved-model", None),
    ("tfjs", "tfjs", "tfjs-layers", "pool"),
    ("plain.tflite", "plain", "tflite", None),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "noted", "origin", "layer"), FORMATS)
def test_a_model_of_each_format_answers_as_its_original(
    file: str, noted: str, origin: str, layer: str | None, made: Path, tmp_path: Path
) -> None:
    folder = register_model(declared(made / file), tmp_path)
    sidecar = folder.sidecar
    assert (sidecar.format_origin, sidecar.runtime, sidecar.runtime_reason) == (origin, "litert", "")
    assert (sidecar.input_height, sidecar.input_width) == (32, 32)
    assert layer is None or sidecar.embedding_layer == layer
    assert sidecar.drift["max_probability"] <= 1e-3
    assert sidecar.drift["changed_winners"] == 0
    assert sidecar.source_integrity == f"sha256-{source_hash(made / file)}"
    probabilities, embeddings = answers(folder, made)
    with np.load(made / f"{noted}.npz") as expected:
        np.testing.assert_allclose(probabilities, expected["outputs"], atol=1e-4)
        np.testing.assert_allclose(embeddings, expected["embeddings"], rtol=1e-3, atol=1e-3)
    assert len(set(probabilities.argmax(axis=1).tolist())) > 1 or probabilities.std(axis=0).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("positive", ["sfw", "nsfw"])
def test_a_keras_2_file_with_one_sigmoid_answers_for_the_declared_positive_class(
    positive: str, made: Path, tmp_path: Path
) -> None:
    facts = {"taxonomy": "binary", "class_names": ("sfw", "nsfw"), "positive_class": positive}
    folder = register_model(declared(made / "detector.h5", **facts), tmp_path)
    assert (folder.sidecar.format_origin, folder.sidecar.positive_class) == ("keras-h5", positive)
    probabilities, embeddings = answers(folder, made)
    with np.load(made / "detector.npz") as expected:
        own = expected["outputs"][:, 0]
        np.testing.assert_allclose(embeddings, expected["embeddings"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(probabilities[:, ("sfw", "nsfw").index(positive)], own, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.slow
def test_what_litert_cannot_do_stays_in_tensorflow_with_the_reason(made: Path, tmp_path: Path) -> None:
    folder = register_model(declared(made / "odd"), tmp_path)
    assert (folder.sidecar.runtime, folder.model_path.name) == ("tensorflow", "model.pb")
    assert folder.sidecar.runtime_reason.startswith("LiteRT: ")
    with pytest.raises(ModelRefused, match="runs only in TensorFlow"):
        CompiledModel.open(folder, serving=True)
    code = (
        "import sys, numpy as np; from pathlib import Path; from inference.models.compiled import CompiledModel\n"
        "np.save(sys.argv[3], CompiledModel.open(Path(sys.argv[1])).predict(np.load(sys.argv[2]))[0])"
    )
    out = tmp_path / "answers.npy"
    subprocess.run(
        [sys.executable, "-c", code, str(folder.path), str(made / "inputs.npy"), str(out)], check=True, cwd=CHECKOUT
    )
    with np.load(made / "odd.npz") as expected:
        np.testing.assert_allclose(np.load(out), expected["outputs"], atol=1e-4)


@pytest.mark.slow
def test_outputs_in_another_order_and_logits_become_probabilities_in_the_taxonomys_order(
    made: Path, tmp_path: Path
) -> None:
    order = ("sexy", "neutral", "porn", "drawings", "hentai")
    plain = declared(made / "logits.keras", output_order=order)
    assert "if they are logits, say --logits" in refusal(plain, tmp_path / "refused")
    folder = register_model(dataclasses.replace(plain, output="logits"), tmp_path / "models")
    probabilities, _ = answers(folder, made)
    with np.load(made / "logits.npz") as expected:
        raised = np.exp(expected["outputs"].astype(float))
    shares = raised / raised.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, shares[:, [order.index(name) for name in FIVE]], atol=1e-4)


def test_a_tflite_file_is_registered_once_and_stays_when_another_takes_its_name(made: Path, tmp_path: Path) -> None:
    given = declared(made / "plain.tflite")
    first = register_model(given, tmp_path)
    at_once: list[str] = []
    assert register_model(given, tmp_path, progress=at_once.append).path == first.path
    assert at_once == []
    second = register_model(dataclasses.replace(given, profile="nsfwjs"), tmp_path)
    assert second.path != first.path
    assert ModelFolder.open(first.path).sidecar.profile == "keras_default"
    first.model_path.write_bytes(b"damaged")
    with pytest.raises(HashMismatch, match="was changed or damaged"):
        ModelFolder.open(first.path)
    assert ModelFolder.open(register_model(given, tmp_path).path).sidecar == first.sidecar


REFUSED = [
    ("plain.tflite", {"class_names": FIVE[:4]}, r"expected 4 outputs \(drawings, .*\), the model has 5"),
    (
        "plain.tflite",
        {"class_names": ("a", "b"), "positive_class": "b"},
        "expected one output for the positive class b",
    ),
    ("plain.tflite", {"embedding_layer": "flattn"}, "received 'flattn'; such layers are .* numbers"),
    ("plain.tflite", {"profile": "seven"}, "224×224 pixels for the profile seven, received one of 32×32"),
    ("plain.tflite", {"profile": "guess"}, "expected a preprocessing profile of gantman"),
    ("plain.tflite", {"input_size": (64, 64)}, "expected an input of 64×64 pixels, as declared, the model has 32×32"),
    ("plain.tflite", {"name": "../evil"}, "expected a name of small letters"),
    ("plain.tflite", {"name": "nsfwjs-mobilenet-v2"}, "is a public model's"),
    ("nothing.keras", {}, "there is none"),
    ("code.keras", {}, "Lambda code in sneaky, .* say --trust-code"),
    ("inputs.npy", {}, "expected .keras, .h5, .tflite, .onnx"),
]


@pytest.mark.parametrize(("file", "changes", "message"), REFUSED)
def test_what_does_not_hold_is_refused_in_one_line_and_leaves_nothing(
    file: str, changes: dict[str, Any], message: str, made: Path, tmp_path: Path
) -> None:
    assert re.search(message, refusal(declared(made / file, **changes), tmp_path / "models"))


SLOWLY_REFUSED = [
    ("detector.h5", {"class_names": ("sfw", "nsfw")}, "one output, received none: say which class of sfw, nsfw"),
    ("plain.keras", {"embedding_layer": "pol"}, r"received 'pol'; such layers are pool \(12 numbers\)"),
    ("two_pools.keras", {}, r"the model has 2: choose one with --embedding-layer, from mean \(12.*, max \(12"),
    ("unknown.keras", {}, "expected layers that Keras itself knows in .*, received Unheard: its code is not part"),
    ("open_size.keras", {}, "the model leaves it open: name it with --input-size"),
    ("writing", {}, "its graph holds WriteFile"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "changes", "message"), SLOWLY_REFUSED)
def test_what_keras_or_tensorflow_must_look_at_is_refused_alike(
    file: str, changes: dict[str, Any], message: str, made: Path, tmp_path: Path
) -> None:
    assert re.search(message, refusal(declared(made / file, **changes), tmp_path / "models"))
    assert not Path("/tmp/never-written-by-winnow").exists()


@pytest.mark.slow
def test_a_lambda_layer_is_run_when_its_author_is_trusted(made: Path, tmp_path: Path) -> None:
    folder = register_model(declared(made / "code.keras", trust_code=True), tmp_path)
    assert folder.sidecar.embedding_layer == "flat"


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("file", ["plain.keras", "detector.h5", "plain.tflite"])
def test_a_truncated_file_is_refused(file: str, share: float, made: Path, tmp_path: Path) -> None:
    whole = (made / file).read_bytes()
    cut = tmp_path / file
    cut.write_bytes(whole[: int(len(whole) * share)])
    assert "reading it failed" in refusal(declared(cut), tmp_path / "models")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["tfjs", "exported"])
def test_a_folder_with_truncated_weights_is_refused(file: str, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / file
    shutil.copytree(made / file, folder)
    weights = max((path for path in folder.rglob("*") if path.is_file() and "index" not in path.name
                   and path.suffix not in {".json", ".pb"}), key=lambda path: path.stat().st_size)  # fmt: skip
    weights.write_bytes(weights.read_bytes()[:-40])
    assert re.search("the shards end after|reading it failed", refusal(declared(folder), tmp_path / "models"))


def test_a_shard_outside_the_folder_is_not_read(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tfjs"
    shutil.copytree(made / "tfjs", folder)
    (folder / "group1-shard1of2.bin").rename(tmp_path / "stolen.bin")
    text = (folder / "model.json").read_text().replace("group1-shard1of2.bin", "../stolen.bin")
    (folder / "model.json").write_text(text)
    assert "expected the shard ../stolen.bin" in refusal(declared(folder), tmp_path / "models")


def test_a_published_hash_that_does_not_match_refuses_the_file_unread(made: Path, tmp_path: Path) -> None:
    with pytest.raises(HashMismatch, match=f"expected .* with sha256 {'0' * 64}, received {'[0-9a-f]' * 4}"):
        register_model(declared(made / "plain.tflite"), tmp_path / "models", sha256="0" * 64)
    assert not (tmp_path / "models").exists()
    matching = source_hash(made / "plain.tflite").upper()
    assert register_model(declared(made / "plain.tflite"), tmp_path / "models", sha256=matching).path.is_dir()


@pytest.mark.slow
def test_the_npm_form_of_tensorflow_js_is_read_from_a_folder(
    starter_model: CompiledModel, starter_folder: Path, tmp_path: Path
) -> None:
    entry = catalogue.find("nsfwjs-mobilenet-v2")
    package = npm.pack(entry.package, entry.version, entry.integrity, cache=starter_folder.parents[1] / "cache")
    folder = tmp_path / "mobilenet_v2"
    folder.mkdir()
    for file in ("model.min.js", "group1-shard1of1.min.js"):
        (folder / file).write_bytes(npm.read_member(package, f"package/dist/models/mobilenet_v2/{file}"))
    registered = register_model(declared(folder, profile="nsfwjs", embedding_layer="flatten_1"), tmp_path / "models")
    inputs = np.random.default_rng(0).random((3, 224, 224, 3), dtype=np.float32)
    for received, expected in zip(
        CompiledModel.open(registered).predict(inputs), starter_model.predict(inputs), strict=True
    ):
        np.testing.assert_allclose(received, expected, atol=1e-5)


def test_a_compiled_model_that_drifts_is_not_used_and_the_reason_is_told(made: Path, tmp_path: Path) -> None:
    loaded = load_model(Request(made / "plain.tflite"))

    def turned(images: Float32Array) -> tuple[Float32Array, Float32Array]:
        outputs, embeddings = loaded.answer(images)
        return np.roll(outputs, 1, axis=1), embeddings

    drifting = dataclasses.replace(loaded, answer=turned)
    complete = declared(made / "plain.tflite", source_sha256="0" * 64)
    with pytest.raises(ModelRefused, match=r"found none: LiteRT: expected probabilities within 0\.001 of the original"):
        compile_exactly(drifting, complete, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert compile_exactly(loaded, complete, tmp_path).runtime == "litert"


def test_the_hash_of_a_folder_is_of_all_its_files(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made / "tfjs", copy)
    assert source_hash(copy) == source_hash(made / "tfjs")
    (copy / "group1-shard2of2.bin").write_bytes(b"other")
    assert source_hash(copy) != source_hash(made / "tfjs")


def test_class_labels_beside_a_model_are_found(tmp_path: Path) -> None:
    model = tmp_path / "model.h5"
    model.touch()
    assert labels_beside(model) is None
    (tmp_path / "config.json").write_text('{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}')
    assert labels_beside(model) is None
    (tmp_path / "config.json").write_text('{"id2label": {"1": "nsfw", "0": "normal"}}')
    assert labels_beside(model) == (tmp_path / "config.json", ("normal", "nsfw"))
    (tmp_path / "class_labels.txt").write_text("drawings\nhentai\n\n")
    assert labels_beside(model) == (tmp_path / "class_labels.txt", ("drawings", "hentai"))


def test_a_converter_that_dies_leaves_nothing(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*arguments: object, **options: object) -> None:
        raise BuildFailed("killed")

    monkeypatch.setattr("inference.models.register.run_module", dies)
    (tmp_path / "models" / ".registering-toy-killed").mkdir(parents=True)
    assert refusal(declared(made / "plain.tflite"), tmp_path / "models") == "killed"
