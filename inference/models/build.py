"""Convert one catalogue model, in a process of its own: `python -m inference.models.build NAME --package F --out DIR`.

TensorFlow takes a second or six to load and over 1 GB; here it goes away with the process. Prints one line of
progress a step; ends with 2 and a one-line message when the model is refused.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

from inference.errors import InferenceError, ModelRefused
from inference.models import catalogue, frozen, npm, tfjs
from inference.models.child import REFUSED
from inference.models.compile import check_drift, measure_drift, probe_images, with_embedding
from inference.models.compiled import EMBEDDING, PROBABILITIES, CompiledModel
from inference.models.sidecar import MODEL_FILE, SIDECAR_FILE, ModelFolder, Sidecar, sha256_of
from inference.types import Float32Array


def build(entry: catalogue.CatalogueEntry, package: bytes, out: Path) -> Sidecar:
    """Rebuild, compile and check one model, and write model file, sidecar and licence into a folder.

    Args:
        entry: what the package holds.
        package: the package file; its integrity is compared before anything of it is read.
        out: an existing empty folder, which the caller renames into place.

    Raises:
        ModelRefused and the errors below it: the package, the network or the compiled model is not as expected.
    """
    npm.check_integrity(package, entry.integrity, what=entry.source)
    _say("reading the weights")
    layers_model = tfjs.read_layers_model(
        npm.read_member(package, entry.topology_member).decode("utf-8"),
        lambda shard: npm.read_member(package, entry.shard_member.format(shard=shard)).decode("utf-8"),
    )
    _say("rebuilding the network in Keras")
    network = tfjs.build_keras_model(layers_model)
    _check_network(entry, network.count_params(), tuple(network.outputs[0].shape), tuple(network.inputs[0].shape))
    two_outputs = with_embedding(network, entry.embedding_layer, entry.embedding_size)
    _say("compiling to LiteRT")
    frozen.write_litert(frozen.freeze_network(two_outputs, entry.input_size), entry.input_size, out / MODEL_FILE)
    sidecar = _sidecar(entry, sha256_of(out / MODEL_FILE), {})
    _say("comparing the compiled model with the original")
    compiled = CompiledModel.open(ModelFolder(out, sidecar), threads=os.cpu_count() or 1)

    def original(images: Float32Array) -> tuple[Float32Array, Float32Array]:
        answers = two_outputs.predict(images, batch_size=8, verbose=0)
        return answers[PROBABILITIES], answers[EMBEDDING]

    drift = measure_drift(original, compiled, probe_images(entry.profile, entry.input_size))
    check_drift(drift)
    sidecar = _sidecar(entry, sidecar.model_sha256, asdict(drift))
    (out / "LICENSE").write_bytes(npm.read_member(package, entry.licence_member))
    sidecar.write(out / SIDECAR_FILE)
    return sidecar


def _check_network(
    entry: catalogue.CatalogueEntry,
    parameters: int,
    output: tuple[int | None, ...],
    given: tuple[int | None, ...],
) -> None:
    expected = (entry.parameters, (None, len(entry.class_names)), (None, *entry.input_size, 3))
    if (parameters, output, given) != expected:
        raise ModelRefused(f"expected parameters, output and input {expected}, received {(parameters, output, given)}")


def _sidecar(entry: catalogue.CatalogueEntry, model_sha256: str, drift: dict[str, float]) -> Sidecar:
    return Sidecar(
        name=entry.name,
        version=entry.version,
        taxonomy=entry.taxonomy,
        class_names=entry.class_names,
        positive_class=None,
        input_height=entry.input_size[0],
        input_width=entry.input_size[1],
        profile=entry.profile,
        embedding_size=entry.embedding_size,
        embedding_layer=entry.embedding_layer,
        format_origin="tfjs-layers",
        licence=entry.licence,
        source=entry.source,
        source_integrity=entry.integrity,
        model_sha256=model_sha256,
        drift=drift,
        trained_on=entry.trained_on,
    )


def _say(step: str) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.models.build", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        build(catalogue.find(options.name), options.package.read_bytes(), options.out)
    except InferenceError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
