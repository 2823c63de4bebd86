"""`.h5` with a TF-Hub `KerasLayer`, through the optional extra `hub` (tf_keras, tensorflow_hub).

Keras 3 cannot hold such a layer. A layer whose module lies behind an address would be downloaded, and a module is a
graph of somebody else's: that needs `--trust-code`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference.errors import MissingTool, ModelRefused
from inference.models.keras_network import loaded_network, reading_layers
from inference.models.loaded import LoadedModel, Request
from inference.models.saved_model import refuse_file_access

FORMAT = "keras-h5-hub"


def is_hub(description: Any) -> bool:
    """Whether a network's description names a TF-Hub layer."""
    return any(True for _ in _hub_layers(description))


def load(request: Request, description: Any) -> LoadedModel:
    """Load it with tf_keras.

    Raises:
        MissingTool: the extra is not installed.
        ModelRefused: damaged; a module behind an address without trust; an unknown layer.
    """
    for layer in _hub_layers(description):
        _check_module(str(layer.get("handle")), request)
    try:
        import tensorflow_hub
        import tf_keras
    except ImportError as error:
        raise MissingTool(
            f"expected the libraries tf_keras and tensorflow_hub, as {request.path} holds a TF-Hub layer, {error.name} "
            "is not installed: pip install '.[hub]'"
        ) from None
    with reading_layers(request.path, ".h5 file"):
        network = tf_keras.models.load_model(
            request.path, custom_objects={"KerasLayer": tensorflow_hub.KerasLayer}, compile=False
        )
    return loaded_network(network, request, FORMAT, model_class=tf_keras.Model)


def _hub_layers(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        config = value.get("config")
        if value.get("class_name") == "KerasLayer" and isinstance(config, dict):
            yield config
        for part in value.values():
            yield from _hub_layers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _hub_layers(part)


def _check_module(handle: str, request: Request) -> None:
    if request.trust_code:
        return
    if not Path(handle).is_dir():
        raise ModelRefused(
            f"expected the TF-Hub module of {request.path} in a folder of this machine, it would be downloaded from "
            f"{handle} and run: if you trust it, say --trust-code"
        )
    refuse_file_access(Path(handle))
