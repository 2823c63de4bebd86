"""The facts of one model version, beside its file: what a number it answers means, and where it came from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.errors import HashMismatch, ModelRefused, SidecarInvalid
from inference.preprocess import check_profile_fits

SIDECAR_FILE = "sidecar.json"
MODEL_FILE = "model.tflite"
MODEL_FILES = {"litert": MODEL_FILE, "onnxruntime": "model.onnx", "tensorflow": "model.pb"}
"""Runtime → the compiled model's file name."""

OUTPUTS = ("probabilities", "logits")
LAYOUTS = ("nhwc", "nchw")
FORMAT_VERSION = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Facts of a model version. Constructing one checks them.

    Attributes:
        name: the model's name, such as `nsfwjs-mobilenet-v2`.
        version: the version of its source.
        taxonomy: slug of the taxonomy whose classes it answers with.
        class_names: the order of every answer. A model with one output still names two classes, (negative, positive).
        positive_class: the class that a single output is the probability of; None for one output a class.
        input_height, input_width: pixels.
        profile: name of the preprocessing profile.
        embedding_size: numbers in an embedding.
        embedding_layer: the layer they are read from.
        format_origin: what the model was converted from, such as `tfjs-layers`.
        licence: SPDX identifier.
        source: where it was taken from, such as `npm:nsfwjs@4.4.0`.
        source_integrity: hash of that source, such as `sha512-…` or `sha256-…`.
        model_sha256: hex digest of the compiled model file.
        drift: measured differences between the original and the compiled model (`max_probability`,
            `max_embedding`, `changed_winners`, `probes`).
        trained_on: what it learned from; a release's name for models of ours. Images of it are in-sample.
        output_order: the classes in the order of the model's own outputs, where that is another than `class_names`.
        output: what the model's own outputs are, `probabilities` or `logits`.
        layout: order of the model's input axes, `nhwc` or `nchw`.
        runtime: what runs the compiled model: `litert`, `onnxruntime` or `tensorflow`.
        runtime_reason: why it is not LiteRT; empty where it is.

    The last five came later: a sidecar without them means their defaults, which is what it was when it was written.
    """

    name: str
    version: str
    taxonomy: str
    class_names: tuple[str, ...]
    positive_class: str | None
    input_height: int
    input_width: int
    profile: str
    embedding_size: int
    embedding_layer: str
    format_origin: str
    licence: str
    source: str
    source_integrity: str
    model_sha256: str
    drift: Mapping[str, float] = field(default_factory=dict)
    trained_on: str = "unknown"
    output_order: tuple[str, ...] = ()
    output: str = "probabilities"
    layout: str = "nhwc"
    runtime: str = "litert"
    runtime_reason: str = ""

    def __post_init__(self) -> None:
        for key in ("name", "version", "taxonomy", "profile", "embedding_layer", "format_origin", "licence",
                    "source", "source_integrity", "trained_on"):  # fmt: skip
            value = getattr(self, key)
            if not isinstance(value, str) or not value.strip():
                raise SidecarInvalid(f"expected text for {key!r}, received {value!r}")
        for key in ("input_height", "input_width", "embedding_size"):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SidecarInvalid(f"expected a whole number above 0 for {key!r}, received {value!r}")
        self._check_classes()
        self._check_running()
        try:
            check_profile_fits(self.profile, (self.input_height, self.input_width))
        except ModelRefused as error:
            raise SidecarInvalid(str(error)) from None
        if not _SHA256.fullmatch(str(self.model_sha256)):
            raise SidecarInvalid(f"expected 64 hex digits for 'model_sha256', received {self.model_sha256!r}")
        drift: Any = self.drift  # Read from JSON, it can be anything.
        if not isinstance(drift, Mapping) or not all(
            isinstance(key, str) and isinstance(value, int | float) for key, value in drift.items()
        ):
            raise SidecarInvalid(f"expected names with numbers for 'drift', received {self.drift!r}")

    def _check_classes(self) -> None:
        names: Any = self.class_names
        if not isinstance(names, tuple) or not all(isinstance(name, str) and name.strip() for name in names):
            raise SidecarInvalid(f"expected a list of names for 'class_names', received {names!r}")
        if len(names) < 2:
            raise SidecarInvalid(f"expected two or more class names in output order, received {list(names)}")
        if len(set(names)) != len(names):
            raise SidecarInvalid(f"expected each class name once, received {list(names)}")
        if self.positive_class is None:
            return
        if len(names) != 2:
            raise SidecarInvalid(
                f"a positive class ({self.positive_class!r}) belongs to a model with one output and two classes, "
                f"received {len(names)} classes"
            )
        if self.positive_class not in names:
            raise SidecarInvalid(f"expected a positive class of {list(names)}, received {self.positive_class!r}")

    def _check_running(self) -> None:
        order: Any = self.output_order
        if order and (not isinstance(order, tuple) or sorted(map(str, order)) != sorted(self.class_names)):
            raise SidecarInvalid(f"expected the classes {list(self.class_names)} in 'output_order', received {order!r}")
        if order and self.positive_class is not None:
            raise SidecarInvalid(
                f"an output order ({list(order)}) contradicts a single output, named by its positive class"
            )
        for key, known in (("output", OUTPUTS), ("layout", LAYOUTS), ("runtime", tuple(MODEL_FILES))):
            value = getattr(self, key)
            if value not in known:
                raise SidecarInvalid(f"expected {key!r} of {', '.join(known)}, received {value!r}")
        reason: Any = self.runtime_reason
        if not isinstance(reason, str) or (self.runtime != "litert") != bool(reason.strip()):
            raise SidecarInvalid(
                f"expected a 'runtime_reason' exactly where the runtime is not litert, "
                f"received {reason!r} for {self.runtime}"
            )

    @property
    def outputs(self) -> int:
        """How many numbers the model itself answers with: 1 where a positive class is named."""
        return len(self.class_names) if self.positive_class is None else 1

    def write(self, path: Path) -> None:
        """Write as JSON, through a temporary file beside it, so that no reader sees half of it."""
        facts = dataclasses.asdict(self) | {"drift": dict(self.drift), "format": FORMAT_VERSION}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """Read what `write` wrote.

        Raises:
            SidecarInvalid: the file is missing or no JSON, or a fact is missing, unknown or contradicts another.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SidecarInvalid(f"expected a sidecar at {path}: {error.strerror}") from error
        except ValueError as error:
            raise SidecarInvalid(f"expected JSON in {path}: {error}") from error
        try:
            return cls._from_facts(facts)
        except SidecarInvalid as error:
            raise SidecarInvalid(f"{path}: {error}") from error

    @classmethod
    def _from_facts(cls, facts: Any) -> Sidecar:
        if not isinstance(facts, dict):
            raise SidecarInvalid(f"expected a JSON object, received {type(facts).__name__}")
        version = facts.pop("format", None)
        if version != FORMAT_VERSION:
            raise SidecarInvalid(f"expected sidecar format {FORMAT_VERSION}, received {version!r}")
        known = {one.name: one for one in dataclasses.fields(cls)}
        optional = {one.name for one in known.values() if one.default is not dataclasses.MISSING} | {"drift"}
        missing = sorted(set(known) - optional - set(facts))
        unknown = sorted(set(facts) - set(known))
        if missing or unknown:
            raise SidecarInvalid(
                f"missing facts: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
            )
        for key in ("class_names", "output_order"):
            if isinstance(facts.get(key), list):
                facts[key] = tuple(facts[key])
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A registered model on disk: the compiled model file and its sidecar.

    Attributes:
        path: the folder.
        sidecar: its facts, already checked.
    """

    path: Path
    sidecar: Sidecar

    @property
    def model_path(self) -> Path:
        """The compiled model: a LiteRT flatbuffer, an ONNX graph or a frozen TensorFlow graph, by the runtime."""
        return self.path / MODEL_FILES[self.sidecar.runtime]

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> ModelFolder:
        """Open a finished folder.

        Args:
            path: the folder.
            verify: compare the model file's sha256 with the sidecar's (about 20 ms for 10 MB).

        Raises:
            SidecarInvalid: no sidecar, or a wrong one.
            HashMismatch: the model file is missing or differs from the sidecar's hash.
        """
        folder = cls(path=path, sidecar=Sidecar.read(path / SIDECAR_FILE))
        if not folder.model_path.is_file():
            raise HashMismatch(
                f"expected a compiled model at {folder.model_path}, there is none: fetch or register it again"
            )
        if verify:
            received = sha256_of(folder.model_path)
            if received != folder.sidecar.model_sha256:
                raise HashMismatch(
                    f"expected {folder.model_path} with sha256 {folder.sidecar.model_sha256}, received {received}: "
                    "the file was changed or damaged; remove the folder and fetch or register the model again"
                )
        return folder


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
