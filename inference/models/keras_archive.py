"""`.keras`: Keras' own archive, a zip file with the network's description and its weights.

Keras 3 does not read the archives of Keras 2, which lay the weights out in another way: those go through tf_keras.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from inference.errors import MissingTool, ModelRefused
from inference.models.keras_network import loaded_network, reading_layers, refuse_code
from inference.models.loaded import LoadedModel, Request, reading

FORMAT = "keras"
KERAS_2_FORMAT = "keras-2"
CONFIG, METADATA = "config.json", "metadata.json"


def load(request: Request) -> LoadedModel:
    """Load a `.keras` file. Nothing of it is brought to life before its description was searched for code.

    Raises:
        ModelRefused: damaged or truncated, with a Lambda layer, or with a layer that Keras does not know.
        MissingTool: Keras 2 wrote it, and the extra `hub` is not installed.
    """
    description, version = _parts(request.path)
    refuse_code(description, request.path, trust_code=request.trust_code)
    if version.startswith("2."):
        return _load_keras_2(request)
    with reading_layers(request.path, ".keras file"):
        import keras

        network = keras.saving.load_model(request.path, compile=False, safe_mode=not request.trust_code)
    return loaded_network(network, request, FORMAT)


def _load_keras_2(request: Request) -> LoadedModel:
    try:
        import tf_keras
    except ImportError:
        raise MissingTool(
            f"expected the library tf_keras, as Keras 2 wrote {request.path}, it is not installed: "
            "pip install '.[hub]'; or save the model as .h5 where it was made"
        ) from None
    with reading_layers(request.path, ".keras file"):
        network = tf_keras.models.load_model(request.path, compile=False, safe_mode=not request.trust_code)
    return loaded_network(network, request, KERAS_2_FORMAT, model_class=tf_keras.Model)


def _parts(path: Path) -> tuple[Any, str]:
    """The network's description, and the version of Keras that wrote it."""
    with reading(path, ".keras file"), zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
        if broken is not None:
            raise ModelRefused(f"expected {path} to be a complete .keras file, its part {broken} is damaged")
        metadata = json.loads(archive.read(METADATA))
        return json.loads(archive.read(CONFIG)), str(metadata.get("keras_version"))
