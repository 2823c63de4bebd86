"""Convert one model file, in a process of its own: `python -m inference.models.convert DECLARED.json --out DIR`.

The file is loaded by its format, held against what was declared, compiled to the best runtime that answers exactly
as the original does, and written with its sidecar. Ends with 2 and a one-line message when the model is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from inference.errors import DriftTooLarge, InferenceError, MissingTool, ModelRefused
from inference.models.child import MISSING, REFUSED
from inference.models.compile import Drift, check_drift, measure_drift, probe_images
from inference.models.compiled import CompiledModel, first_line
from inference.models.declared import Declared
from inference.models.formats import load_model
from inference.models.loaded import LoadedModel, Request, Writer
from inference.models.sidecar import MODEL_FILES, SIDECAR_FILE, ModelFolder, Sidecar, sha256_of
from inference.preprocess import check_profile_fits
from inference.types import Float32Array

_RUNTIME_NAMES = {"litert": "LiteRT", "onnxruntime": "ONNX Runtime", "tensorflow": "TensorFlow"}


def convert(declared: Declared, out: Path) -> Sidecar:
    """Load, check, compile and describe one model.

    Args:
        declared: what its owner says of it.
        out: an existing empty folder, which the caller renames into place.

    Raises:
        ModelRefused, MissingTool: the file, or what was declared of it, does not hold.
    """
    _say("reading the model")
    loaded = load_model(
        Request(Path(declared.path), declared.input_size, declared.embedding_layer, declared.trust_code)
    )
    check_outputs(loaded.outputs, declared)
    check_profile_fits(declared.profile, loaded.input_size)
    sidecar = compile_exactly(loaded, declared, out)
    sidecar.write(out / SIDECAR_FILE)
    return sidecar


def check_outputs(received: int, declared: Declared) -> None:
    """Hold the number of the model's outputs against the declared classes.

    Raises:
        ModelRefused: another count; one output without a positive class; several with one.
    """
    names = ", ".join(declared.output_order or declared.class_names)
    if received == 1 and declared.positive_class is None:
        raise ModelRefused(
            f"expected a positive class for a model with one output, received none: say which class of {names} its "
            "number is the probability of, with --positive-class"
        )
    if received != 1 and declared.positive_class is not None:
        raise ModelRefused(
            f"expected one output for the positive class {declared.positive_class}, the model has {received}: leave "
            "--positive-class out"
        )
    if received != 1 and received != len(declared.class_names):
        raise ModelRefused(
            f"expected {len(declared.class_names)} outputs ({names}), the model has {received}: choose the taxonomy it "
            "was trained with"
        )


def check_answers(outputs: Float32Array, declared: Declared) -> None:
    """Hold the original's answers on the probe set against what was declared of them.

    Raises:
        ModelRefused: no numbers; declared as probabilities, but they are none.
    """
    if not np.isfinite(outputs).all():
        raise ModelRefused("expected finite numbers from the model, received NaN or infinity: its weights are damaged")
    if declared.output == "logits":
        return
    sums = outputs.sum(axis=1) if outputs.shape[1] > 1 else np.ones(len(outputs))
    low, high = float(outputs.min()), float(outputs.max())
    if low < -1e-4 or high > 1 + 1e-4 or np.abs(sums - 1).max() > 1e-2:
        raise ModelRefused(
            f"expected probabilities that sum to 1, received numbers from {low:.3g} to {high:.3g} with sums from "
            f"{sums.min():.3g} to {sums.max():.3g}: if they are logits, say --logits"
        )


def compile_exactly(loaded: LoadedModel, declared: Declared, out: Path) -> Sidecar:
    """Write the model file of the first runtime that answers as the original does.

    Returns:
        Its sidecar, with the measured drift, and with the reason where the runtime is not LiteRT.

    Raises:
        ModelRefused: the original does not answer as declared; no runtime is exact, with each one's reason.
    """
    probes = probe_images(declared.profile, loaded.input_size)
    _say("asking the original")
    answers = loaded.answer(probes)
    check_answers(answers[0], declared)
    reasons = [loaded.not_litert] if loaded.not_litert else []
    for writer in loaded.writers:
        name = _RUNTIME_NAMES[writer.runtime]
        _say(f"compiling for {name}")
        try:
            return _attempt(writer, loaded, declared, probes, answers, out, "; ".join(reasons))
        except DriftTooLarge as error:
            reasons.append(f"{name}: {error}")
        except MissingTool:
            raise
        except Exception as error:  # The converter raises many kinds for an operation that it does not know.
            reasons.append(f"{name}: {type(error).__name__}: {first_line(error)}")
        (out / MODEL_FILES[writer.runtime]).unlink(missing_ok=True)
    raise ModelRefused(f"expected a way to run the model exactly, found none: {'; '.join(reasons)}")


def _attempt(
    writer: Writer,
    loaded: LoadedModel,
    declared: Declared,
    probes: Float32Array,
    answers: tuple[Float32Array, Float32Array],
    out: Path,
    reason: str,
) -> Sidecar:
    path = out / MODEL_FILES[writer.runtime]
    writer.write(path)
    described = _sidecar(loaded, declared, writer.runtime, reason, sha256_of(path), None)
    _say("comparing the compiled model with the original")
    compiled = CompiledModel.open(ModelFolder(out, described), threads=os.cpu_count() or 1)
    drift = measure_drift(lambda images: answers, compiled, probes)
    check_drift(drift)
    return _sidecar(loaded, declared, writer.runtime, reason, described.model_sha256, drift)


def _sidecar(
    loaded: LoadedModel, declared: Declared, runtime: str, reason: str, model_sha256: str, drift: Drift | None
) -> Sidecar:
    return Sidecar(
        name=declared.name,
        version=declared.source_sha256[:12],
        taxonomy=declared.taxonomy,
        class_names=declared.class_names,
        positive_class=declared.positive_class,
        input_height=loaded.input_size[0],
        input_width=loaded.input_size[1],
        profile=declared.profile,
        embedding_size=loaded.embedding_size,
        embedding_layer=loaded.embedding_layer,
        format_origin=loaded.format_origin,
        licence=declared.licence,
        source=f"file:{Path(declared.path).name}",
        source_integrity=f"sha256-{declared.source_sha256}",
        model_sha256=model_sha256,
        drift=asdict(drift) if drift is not None else {},
        trained_on=declared.trained_on,
        output_order=declared.output_order if declared.output_order != declared.class_names else (),
        output=declared.output,
        layout=loaded.layout,
        runtime=runtime,
        runtime_reason=reason,
    )


def _say(step: str) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.models.convert", description=__doc__)
    parser.add_argument("declared", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        convert(Declared.from_json(json.loads(options.declared.read_text(encoding="utf-8"))), options.out)
    except InferenceError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return MISSING if isinstance(error, MissingTool) else REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
