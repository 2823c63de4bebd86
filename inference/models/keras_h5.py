"""`.h5` of Keras 2 with plain layers; those with a TF-Hub layer go on to `hub_h5`.

Keras 3 reads such files, but trips over three things that Keras 2 wrote into the description; they are put right
in a copy. Measured with tf_keras' MobileNetV2, functional and inside a Sequential: the answers are then equal.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from inference.errors import ModelRefused
from inference.models import hub_h5
from inference.models.keras_network import loaded_network, reading_layers, refuse_code
from inference.models.loaded import LoadedModel, Request, reading

FORMAT = "keras-h5"


def load(request: Request) -> LoadedModel:
    """Load a `.h5` file. Nothing of it is brought to life before its description was searched for code.

    Raises:
        ModelRefused: damaged or truncated, weights alone, with a Lambda layer, or with an unknown layer.
        MissingTool: it holds a TF-Hub layer, and the extra `hub` is not installed.
    """
    description = _description(request.path)
    refuse_code(description, request.path, trust_code=request.trust_code)
    if hub_h5.is_hub(description):
        return hub_h5.load(request, description)
    with (
        reading_layers(request.path, ".h5 file"),
        tempfile.TemporaryDirectory(prefix="winnow-h5-") as folder,
    ):
        import h5py
        import keras

        copy = Path(shutil.copy(request.path, Path(folder) / "model.h5"))
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(for_keras_3(description))
        network = keras.saving.load_model(copy, compile=False, safe_mode=not request.trust_code)
    return loaded_network(network, request, FORMAT)


def for_keras_3(value: Any) -> Any:
    """A Keras 2 description as Keras 3 understands it.

    - `DepthwiseConv2D` has no `groups` any more; 1 meant nothing.
    - `BatchNormalization` wants one `axis`, not a list of one.
    - A nested network with one input or output must not name it in a list: Keras 3 would then pass a list on.
    """
    if isinstance(value, list):
        return [for_keras_3(part) for part in value]
    if not isinstance(value, dict):
        return value
    value = {key: for_keras_3(part) for key, part in value.items()}
    for key in ("input_layers", "output_layers"):
        ends = value.get(key)
        if isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list):
            value[key] = ends[0]
    config = value.get("config")
    if isinstance(config, dict):
        if value.get("class_name") == "DepthwiseConv2D" and config.get("groups") == 1:
            del config["groups"]
        axis = config.get("axis")
        if value.get("class_name") == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
            config["axis"] = axis[0]
    return value


def _description(path: Path) -> Any:
    import h5py

    with reading(path, ".h5 file"), h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise ModelRefused(
                f"expected network and weights in {path}, it holds weights alone: save the whole with model.save()"
            )
        return json.loads(config)
