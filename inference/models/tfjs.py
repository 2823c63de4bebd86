"""TensorFlow.js layers models → Keras, without tensorflowjs and without running any JavaScript.

nsfwjs ships its topology, weights manifest and shards as UMD modules: JavaScript that assigns one literal to
`exports`. `read_umd_literal` reads just that literal with a small, strict grammar (objects, arrays, strings,
numbers, true, false, null, and the minifier's `!0` and `!1`); anything else is refused. Nothing is executed.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.errors import ModelRefused
from inference.types import Float32Array

if TYPE_CHECKING:
    import keras

MAX_DEPTH = 100
"""Deeper nesting than this is no model topology."""

_EXPORTS = re.compile(r"\b[A-Za-z_$][\w$]*\.exports=(?=[{\"'\[])")
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_NUMBER = re.compile(r"-?(?:0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_STRING = {quote: re.compile(rf"(?:[^{quote}\\\r\n]|\\.)*", re.DOTALL) for quote in "\"'"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_WORDS: tuple[tuple[str, Any], ...] = (
    ("!0", True),
    ("!1", False),
    ("true", True),
    ("false", False),
    ("null", None),
)


def read_umd_literal(source: str) -> Any:
    """The literal that a UMD module exports, as Python values.

    Raises:
        ModelRefused: the text holds no such literal, or more than a literal.
    """
    found = _EXPORTS.search(source)
    if found is None:
        raise ModelRefused("expected a JavaScript module that assigns a literal to exports, found no such assignment")
    value, end = _Literal(source).read(found.end(), 0)
    rest = source[end:].lstrip()
    if not rest.startswith(("}", ";")):
        raise ModelRefused(f"expected the exported literal to end at character {end}, it goes on with {rest[:20]!r}")
    return value


class _Literal:
    """Recursive descent over one literal; each method returns (value, index behind it)."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise self._refuse(at, f"at most {MAX_DEPTH} levels")
        at = self._skip(at)
        first = self.text[at : at + 1]
        if first == "{":
            return self._object(at + 1, depth)
        if first == "[":
            return self._array(at + 1, depth)
        if first in _STRING:
            return self._string(at)
        for word, value in _WORDS:
            if self.text.startswith(word, at):
                return value, at + len(word)
        number = _NUMBER.match(self.text, at)
        if number is None:
            raise self._refuse(at, "a literal value")
        return self._number(number.group()), number.end()

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        at = self._skip(at)
        while not self.text.startswith("}", at):
            key, at = self._key(at)
            at = self._expect(":", at)
            values[key], at = self.read(at, depth + 1)
            at = self._next(at, "}")
        return values, at + 1

    def _array(self, at: int, depth: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        at = self._skip(at)
        while not self.text.startswith("]", at):
            value, at = self.read(at, depth + 1)
            values.append(value)
            at = self._next(at, "]")
        return values, at + 1

    def _key(self, at: int) -> tuple[str, int]:
        if self.text[at : at + 1] in _STRING:
            return self._string(at)
        for pattern in (_NAME, _NUMBER):
            found = pattern.match(self.text, at)
            if found is not None:
                return found.group(), found.end()
        raise self._refuse(at, "a key")

    def _string(self, at: int) -> tuple[str, int]:
        quote = self.text[at]
        found = _STRING[quote].match(self.text, at + 1)
        if found is None or not self.text.startswith(quote, found.end()):
            raise self._refuse(at, "a string that ends")
        return _ESCAPE.sub(_unescape, found.group()), found.end() + 1

    @staticmethod
    def _number(text: str) -> int | float:
        sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
        if digits.lower().startswith("0x"):
            return sign * int(digits, 16)
        return sign * int(digits) if digits.isdigit() else sign * float(digits)

    def _next(self, at: int, closing: str) -> int:
        """Behind a comma, or at the closing bracket."""
        at = self._skip(at)
        return at if self.text.startswith(closing, at) else self._skip(self._expect(",", at))

    def _expect(self, mark: str, at: int) -> int:
        at = self._skip(at)
        if not self.text.startswith(mark, at):
            raise self._refuse(at, repr(mark))
        return at + 1

    def _skip(self, at: int) -> int:
        while self.text[at : at + 1].isspace():
            at += 1
        return at

    def _refuse(self, at: int, expected: str) -> ModelRefused:
        return ModelRefused(f"expected {expected} at character {at}, received {self.text[at : at + 20]!r}")


def _unescape(found: re.Match[str]) -> str:
    code = found.group(1) or found.group(2)
    return chr(int(code, 16)) if code else _ESCAPED.get(found.group(3), found.group(3))


@dataclass(frozen=True, slots=True)
class LayersModel:
    """A TensorFlow.js layers model: Keras' description of the network, and its weights by name.

    Attributes:
        config: what `keras.Model.from_config` takes.
        weights: name (`<layer>/<weight>`) → float32 array, in manifest order.
        class_name: Keras' name of the network's class, such as `Sequential`.
    """

    config: dict[str, Any]
    weights: Mapping[str, Float32Array]
    class_name: str = "Model"


def read_layers_model(topology_module: str, read_shard_module: Callable[[str], str]) -> LayersModel:
    """Read topology, manifest and shards.

    Args:
        topology_module: text of `model.min.js`.
        read_shard_module: shard name of the manifest, such as `group1-shard1of1` → text of its module.

    Raises:
        ModelRefused: a part is missing or does not fit; weights that the shards hold too few or too many bytes for.
    """
    return put_together(read_umd_literal(topology_module), lambda path: _decode_shard(read_shard_module(path), path))


def put_together(model: Any, read_shard: Callable[[str], bytes]) -> LayersModel:
    """Topology, manifest and shards of a layers model, whatever they were wrapped in.

    Args:
        model: what `model.json` holds.
        read_shard: shard name of the manifest → its bytes.

    Raises:
        ModelRefused: a graph model; a part is missing; weights that the shards hold too few or too many bytes for.
    """
    if isinstance(model, dict) and model.get("format") == "graph-model":
        raise ModelRefused(
            "expected a TensorFlow.js layers model, received a graph model: convert it from its Keras file"
        )
    try:
        topology = model["modelTopology"]
        network = topology.get("model_config", topology)
        config, class_name = network["config"], str(network.get("class_name", "Model"))
        groups = model["weightsManifest"]
        shards = [(group["weights"], [str(path) for path in group["paths"]]) for group in groups]
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelRefused(
            f"expected modelTopology.model_config.config and weightsManifest, missing: {error}"
        ) from None
    weights: dict[str, Float32Array] = {}
    for manifest, paths in shards:
        data = b"".join(read_shard(path) for path in paths)
        for name, array in dequantise(manifest, data).items():
            if name in weights:
                raise ModelRefused(f"expected each weight once, the manifest names {name!r} twice")
            weights[name] = array
    return LayersModel(config=config, weights=weights, class_name=class_name)


def _decode_shard(module: str, name: str) -> bytes:
    encoded = read_umd_literal(module)
    try:
        return base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ModelRefused(f"expected base64 text in shard {name}: {error}") from None


def dequantise(manifest: list[dict[str, Any]], data: bytes) -> dict[str, Float32Array]:
    """Weights of one manifest group: float32 = q·scale + min per tensor, in manifest order.

    `uint8`, `uint16` and `float16` (without scale) and plain float32 are known. Every byte must be used.

    Raises:
        ModelRefused: an entry of another kind, or data of another length than the manifest adds up to.
    """
    weights: dict[str, Float32Array] = {}
    at = 0
    for entry in manifest:
        try:
            name, shape = str(entry["name"]), tuple(int(side) for side in entry["shape"])
            quantisation = entry.get("quantization")
            stored = np.dtype((quantisation or entry)["dtype"]).newbyteorder("<")
            scaled = quantisation if stored.kind == "u" else None
            scale, low = (float(scaled["scale"]), float(scaled["min"])) if scaled else (1.0, 0.0)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelRefused(
                f"expected name, shape, dtype and scale of a weight, received {entry!r}: {error}"
            ) from None
        if stored.str[1:] not in (("u1", "u2", "f2") if quantisation else ("f4",)) or entry.get("dtype") != "float32":
            raise ModelRefused(f"expected float32, plain or quantised to uint8 or uint16, received {entry!r}")
        if name in weights:
            raise ModelRefused(f"expected each weight once, the manifest names {name!r} twice")
        size = math.prod(shape) * stored.itemsize
        if at + size > len(data):
            raise ModelRefused(f"expected {size:,} bytes for {name}, the shards end after {len(data) - at:,} of them")
        raw = np.frombuffer(data, dtype=stored, count=math.prod(shape), offset=at).reshape(shape)
        # In float32, step by step, as TensorFlow.js computes it.
        weights[name] = raw.astype(np.float32) * np.float32(scale) + np.float32(low)
        at += size
    if at != len(data):
        raise ModelRefused(f"expected {at:,} bytes of weights by the manifest, the shards hold {len(data):,}")
    return weights


def build_keras_model(model: LayersModel) -> keras.Model:
    """Rebuild the network in Keras 3 and give it every weight. Loads TensorFlow.

    Raises:
        ModelRefused: a weight of the network is not in the manifest, or the other way round, or has another shape.
    """
    import keras

    network_class = keras.Sequential if model.class_name == "Sequential" else keras.Model
    network = network_class.from_config(model.config)
    given = {_keras_name(name, network): array for name, array in model.weights.items()}
    wanted = {f"{layer.name}/{weight.name}": weight for layer in network.layers for weight in layer.weights}
    missing, unused = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or unused or len(given) != len(model.weights):
        raise ModelRefused(
            f"expected exactly the network's {len(wanted)} weights, received {len(model.weights)}; "
            f"missing: {missing[:5] or 'none'}; not used: {unused[:5] or 'none'}"
        )
    for name, weight in wanted.items():
        if tuple(weight.shape) != given[name].shape:
            raise ModelRefused(f"expected shape {tuple(weight.shape)} for {name}, received {given[name].shape}")
        weight.assign(given[name])
    return network


def _keras_name(name: str, network: keras.Model) -> str:
    """Keras 2 called a depthwise convolution's weight `depthwise_kernel`, Keras 3 calls it `kernel`."""
    layer_name, _, weight_name = name.rpartition("/")
    if weight_name != "depthwise_kernel":
        return name
    names = {weight.name for layer in network.layers if layer.name == layer_name for weight in layer.weights}
    return name if "depthwise_kernel" in names else f"{layer_name}/kernel"
