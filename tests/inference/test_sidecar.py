"""Sidecars and model folders: complete, consistent, and of the very file they describe."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from inference.errors import HashMismatch, SidecarInvalid
from inference.models.sidecar import MODEL_FILE, SIDECAR_FILE, ModelFolder, Sidecar, sha256_of

FACTS: dict[str, Any] = {
    "name": "toy",
    "version": "1",
    "taxonomy": "binary",
    "class_names": ("sfw", "nsfw"),
    "positive_class": "nsfw",
    "input_height": 224,
    "input_width": 192,
    "profile": "nsfwjs",
    "embedding_size": 8,
    "embedding_layer": "pool",
    "format_origin": "keras-h5",
    "licence": "MIT",
    "source": "a test",
    "source_integrity": "sha256-00",
    "model_sha256": "0" * 64,
    "drift": {"max_probability": 1e-6},
    "trained_on": "nothing",
}


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    sidecar = Sidecar(**FACTS)
    sidecar.write(tmp_path / SIDECAR_FILE)
    assert Sidecar.read(tmp_path / SIDECAR_FILE) == sidecar
    assert [path.name for path in tmp_path.iterdir()] == [SIDECAR_FILE]


def test_a_sidecar_from_before_there_were_runtimes_is_read_as_litert(tmp_path: Path) -> None:
    path = tmp_path / SIDECAR_FILE
    path.write_text(json.dumps({**FACTS, "format": 1}))
    sidecar = Sidecar.read(path)
    assert (sidecar.runtime, sidecar.output, sidecar.layout, sidecar.output_order) == (
        "litert", "probabilities", "nhwc", (),
    )  # fmt: skip


def test_every_later_fact_survives_writing_and_reading(tmp_path: Path) -> None:
    facts = {**FACTS, "positive_class": None, "output_order": ("nsfw", "sfw"), "output": "logits", "layout": "nchw",
             "runtime": "onnxruntime", "runtime_reason": "a reason"}  # fmt: skip
    Sidecar(**facts).write(tmp_path / SIDECAR_FILE)
    assert Sidecar.read(tmp_path / SIDECAR_FILE) == Sidecar(**facts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "'name'"),
        ({"input_height": 0}, "'input_height'"),
        ({"input_width": True}, "'input_width'"),
        ({"embedding_size": "8"}, "'embedding_size'"),
        ({"class_names": ("one",)}, "two or more"),
        ({"class_names": ("one", "one")}, "each class name once"),
        ({"class_names": "sfw,nsfw"}, "class_names"),
        ({"positive_class": "adult"}, "positive class of"),
        ({"class_names": ("a", "b", "c"), "positive_class": "a"}, "received 3 classes"),
        ({"profile": "guess"}, "vit_half, received 'guess'"),
        ({"profile": "seven"}, "224×224 pixels for the profile seven, received one of 224×192"),
        ({"model_sha256": "abc"}, "64 hex digits"),
        ({"drift": {"max_probability": "small"}}, "drift"),
        ({"output_order": ("sfw", "porn"), "positive_class": None}, "in 'output_order'"),
        ({"output_order": ("nsfw", "sfw")}, "contradicts a single output"),
        ({"output": "scores"}, "'output' of probabilities, logits"),
        ({"layout": "hwc"}, "'layout' of nhwc, nchw"),
        ({"runtime": "torch"}, "'runtime' of litert, onnxruntime, tensorflow"),
        ({"runtime": "tensorflow"}, "'runtime_reason' exactly where the runtime is not litert"),
        ({"runtime_reason": "because"}, "'runtime_reason' exactly where the runtime is not litert"),
    ],
)
def test_it_refuses_wrong_or_contradicting_facts(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SidecarInvalid, match=message):
        Sidecar(**{**FACTS, **changes})


def test_reading_refuses_missing_and_unknown_facts_by_name(tmp_path: Path) -> None:
    path = tmp_path / SIDECAR_FILE
    facts = {**FACTS, "format": 1, "threshold": 0.5}
    del facts["licence"]
    path.write_text(json.dumps(facts))
    with pytest.raises(SidecarInvalid, match="missing facts: licence; unknown: threshold"):
        Sidecar.read(path)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', "{"])
def test_reading_refuses_what_is_no_sidecar(text: str, tmp_path: Path) -> None:
    path = tmp_path / SIDECAR_FILE
    path.write_text(text)
    with pytest.raises(SidecarInvalid, match=SIDECAR_FILE):
        Sidecar.read(path)


def test_a_folder_with_another_model_file_than_promised_is_refused(tmp_path: Path) -> None:
    model = tmp_path / MODEL_FILE
    model.write_bytes(b"model")
    sidecar = dataclasses.replace(Sidecar(**FACTS), model_sha256=sha256_of(model))
    sidecar.write(tmp_path / SIDECAR_FILE)
    assert ModelFolder.open(tmp_path).sidecar == sidecar
    model.write_bytes(b"MODEL")
    with pytest.raises(HashMismatch, match="sha256"):
        ModelFolder.open(tmp_path)
    model.unlink()
    with pytest.raises(HashMismatch, match="there is none"):
        ModelFolder.open(tmp_path)


def test_a_folder_without_a_sidecar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SidecarInvalid, match="expected a sidecar at"):
        ModelFolder.open(tmp_path)
