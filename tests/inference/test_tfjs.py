"""Reading TensorFlow.js modules without running them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.errors import ModelRefused
from inference.models import catalogue, npm
from inference.models.tfjs import dequantise, read_layers_model, read_umd_literal
from tests.starter import CHECKOUT, starter_model_folder


def module(literal: str) -> str:
    return (
        f"!function(e){{module.exports=e()}}(function(){{return{{1:[function(e,a,n){{a.exports={literal}}},{{}}]}}}});"
    )


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("{}", {}),
        ("[]", []),
        ("[!0,!1,null,true,false]", [True, False, None, True, False]),
        ("{a:.5,b:-.25,c:-0,d:1e-5,'e f':2E3}", {"a": 0.5, "b": -0.25, "c": 0, "d": 1e-5, "e f": 2000.0}),
        ('{"g":0xff,7:1.}', {"g": 255, "7": 1.0}),
        ('["a\\"b\\\\",\'c\\u00e9\\x41\\n\']', ['a"b\\', "céA\n"]),
        ("{a:{b:[[1],[2,[3]]]}}", {"a": {"b": [[1], [2, [3]]]}}),
        ('"text"', "text"),
        ("[ 1 , 2 ]", [1, 2]),
    ],
)  # fmt: skip
def test_it_reads_literals(literal: str, value: object) -> None:
    assert read_umd_literal(module(literal)) == value


@pytest.mark.parametrize(
    "literal",
    [
        "{a:require('fs')}",
        "[1,f()]",
        "{a:1",
        "[1 2]",
        '"open',
        "{a:`x`}",
        "[1]+[2]",
        "{a:1}.b",
        "[" * 5000,
        "{get a(){}}",
    ],
)
def test_it_refuses_anything_but_a_literal(literal: str) -> None:
    with pytest.raises(ModelRefused):
        read_umd_literal(module(literal))


def test_it_refuses_a_file_that_exports_nothing() -> None:
    with pytest.raises(ModelRefused, match="no such assignment"):
        read_umd_literal("console.log(1)")


def test_weights_are_scaled_in_manifest_order() -> None:
    quantised = {"min": -1, "scale": 0.5, "dtype": "uint8"}
    manifest: list[dict[str, Any]] = [
        {"name": "a/kernel", "shape": [2], "dtype": "float32", "quantization": quantised},
        {"name": "b/bias", "shape": [1, 2], "dtype": "float32"},
    ]
    data = bytes([0, 4]) + np.array([[0.25, -8]], dtype="<f4").tobytes()
    weights = dequantise(manifest, data)
    assert list(weights) == ["a/kernel", "b/bias"]
    assert weights["a/kernel"].tolist() == [-1, 1]
    assert weights["b/bias"].tolist() == [[0.25, -8]]
    assert all(array.dtype == np.float32 for array in weights.values())


def test_half_precision_weights_are_widened() -> None:
    entry = {"name": "a", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}}
    weights = dequantise([entry], np.array([0.5, -3], "<f2").tobytes())
    assert weights["a"].tolist() == [0.5, -3]
    assert weights["a"].dtype == np.float32


@pytest.mark.parametrize(
    ("data", "message"), [(b"\x00", "the shards end after 1"), (b"\x00\x00\x00", "the shards hold 3")]
)
def test_every_byte_must_be_used(data: bytes, message: str) -> None:
    entry = {
        "name": "a",
        "shape": [2],
        "dtype": "float32",
        "quantization": {"min": 0, "scale": 1, "dtype": "uint8"},
    }
    with pytest.raises(ModelRefused, match=message):
        dequantise([entry], data)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "a", "shape": [1], "dtype": "int32"},
        {"name": "a", "shape": [1], "dtype": "float32", "quantization": {"dtype": "int8"}},
        {
            "name": "a",
            "shape": [1],
            "dtype": "float32",
            "quantization": {"min": 0, "scale": 1, "dtype": "int8"},
        },
        {"shape": [1], "dtype": "float32"},
    ],
)
def test_weights_of_an_unknown_kind_are_refused(entry: dict[str, object]) -> None:
    with pytest.raises(ModelRefused):
        dequantise([entry], b"\x00" * 4)


def test_a_model_is_put_together_from_its_modules() -> None:
    manifest = '[{paths:["one","two"],weights:[{name:"d/bias",shape:[2],dtype:"float32"}]}]'
    topology = module(f'{{modelTopology:{{model_config:{{config:{{name:"m"}}}}}},weightsManifest:{manifest}}}')
    data = np.array([1.5, 2.5], dtype="<f4").tobytes()
    shards = {"one": data[:3], "two": data[3:]}
    model = read_layers_model(topology, lambda name: module(f'"{base64.b64encode(shards[name]).decode()}"'))
    assert model.config == {"name": "m"}
    assert model.weights["d/bias"].tolist() == [1.5, 2.5]
    with pytest.raises(ModelRefused, match="base64"):
        read_layers_model(topology, lambda name: module('"not base64!"'))
    with pytest.raises(ModelRefused, match="modelTopology"):
        read_layers_model(module("{}"), lambda name: "")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_it_reads_the_real_topology_as_node_does(tmp_path: Path) -> None:
    starter_model_folder()
    entry = catalogue.find("nsfwjs-mobilenet-v2")
    package = npm.pack(entry.package, entry.version, entry.integrity, cache=CHECKOUT / "var" / "cache")
    source = npm.read_member(package, entry.topology_member).decode()
    path = tmp_path / "model.cjs"
    path.write_text(source)
    script = f"process.stdout.write(JSON.stringify(require({json.dumps(str(path))})))"
    by_node = subprocess.run(["node", "-e", script], capture_output=True, check=True, text=True).stdout
    assert read_umd_literal(source) == json.loads(by_node)
    assert len(re.findall(r"shape:\[", source)) >= 266
