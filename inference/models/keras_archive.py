"""`.keras`: Keras 3's own archive, a zip file with the network's description and its weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from inference.errors import ModelRefused
from inference.models.keras_network import loaded_network, reading_layers, refuse_code
from inference.models.loaded import LoadedModel, Request, reading

FORMAT = "keras"
CONFIG = "config.json"


def load(request: Request) -> LoadedModel:
    """Load a `.keras` file. Nothing of it is brought to life before its description was searched for code.

    Raises:
        ModelRefused: damaged or truncated, with a Lambda layer, or with a layer that Keras does not know.
    """
    refuse_code(_description(request.path), request.path, trust_code=request.trust_code)
    with reading_layers(request.path, ".keras file"):
        import keras

        network = keras.saving.load_model(request.path, compile=False, safe_mode=not request.trust_code)
    return loaded_network(network, request, FORMAT)


def _description(path: Path) -> Any:
    with reading(path, ".keras file"), zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
        if broken is not None:
            raise ModelRefused(f"expected {path} to be a complete .keras file, its part {broken} is damaged")
        return json.loads(archive.read(CONFIG))
