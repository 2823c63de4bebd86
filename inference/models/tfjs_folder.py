"""TensorFlow.js layers models in folders: `model.json` with binary shards, or the `.min.js` files of an npm package."""

from __future__ import annotations

import json
from pathlib import Path

from inference.errors import ModelRefused
from inference.models import tfjs
from inference.models.keras_h5 import for_keras_3
from inference.models.keras_network import loaded_network, reading_layers, refuse_code
from inference.models.loaded import LoadedModel, Request, reading

FORMAT = "tfjs-layers"
JSON, MODULE = "model.json", "model.min.js"


def load(request: Request) -> LoadedModel:
    """Load a layers model from its folder.

    Raises:
        ModelRefused: a part is missing, damaged or truncated; a graph model; a Lambda layer; an unknown layer.
    """
    folder = request.path
    with reading(folder, "folder of a TensorFlow.js layers model"):
        if (folder / JSON).is_file():
            model = json.loads((folder / JSON).read_text(encoding="utf-8"))
            layers_model = tfjs.put_together(model, lambda name: _part(folder, name).read_bytes())
        else:
            layers_model = tfjs.read_layers_model(
                (folder / MODULE).read_text(encoding="utf-8"),
                lambda name: _part(folder, f"{name}.min.js").read_text(encoding="utf-8"),
            )
    refuse_code(layers_model.config, folder, trust_code=request.trust_code)
    with reading_layers(folder, "TensorFlow.js layers model"):
        network = tfjs.build_keras_model(
            tfjs.LayersModel(for_keras_3(layers_model.config), layers_model.weights, layers_model.class_name)
        )
    return loaded_network(network, request, FORMAT)


def _part(folder: Path, name: str) -> Path:
    # The manifest is somebody else's text: it must not name a file elsewhere.
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise ModelRefused(f"expected the shard {name} in {folder}, there is none")
    return path
