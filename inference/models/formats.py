"""Which format a model file or folder is, by its content, and the loader for it. A further format is one more row."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from inference.errors import ModelRefused
from inference.models import (
    keras_archive,
    keras_h5,
    onnx_file,
    saved_model,
    tfjs_folder,
    tflite_file,
)
from inference.models.loaded import LoadedModel, Request

LOADERS: dict[str, Callable[[Request], LoadedModel]] = {
    keras_archive.FORMAT: keras_archive.load,
    keras_h5.FORMAT: keras_h5.load,
    saved_model.FORMAT: saved_model.load,
    tfjs_folder.FORMAT: tfjs_folder.load,
    tflite_file.FORMAT: tflite_file.load,
    onnx_file.FORMAT: onnx_file.load,
}
"""Format → loader."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SUFFIXES = {
    ".keras": keras_archive.FORMAT,
    ".h5": keras_h5.FORMAT,
    ".hdf5": keras_h5.FORMAT,
    ".tflite": tflite_file.FORMAT,
    ".onnx": onnx_file.FORMAT,
}


def recognise(path: Path) -> str:
    """The format of a model.

    By content where content tells; ONNX, and files too damaged to tell, go by their name.

    Raises:
        ModelRefused: nothing is there, or it is none of the known formats.
    """
    if path.is_dir():
        if (path / saved_model.FILE).is_file():
            return saved_model.FORMAT
        if (path / tfjs_folder.JSON).is_file() or (path / tfjs_folder.MODULE).is_file():
            return tfjs_folder.FORMAT
        raise ModelRefused(
            f"expected {saved_model.FILE}, {tfjs_folder.JSON} or {tfjs_folder.MODULE} in the folder {path}, it has none"
        )
    if not path.is_file():
        raise ModelRefused(f"expected a model file or folder at {path}, there is none")
    with path.open("rb") as file:
        start = file.read(8)
    if start == _HDF5:
        return keras_h5.FORMAT
    if start[4:8] == tflite_file.IDENTIFIER:
        return tflite_file.FORMAT
    if zipfile.is_zipfile(path):
        return keras_archive.FORMAT
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise ModelRefused(
            f"expected .keras, .h5, .tflite, .onnx, a SavedModel folder or a TensorFlow.js folder, received {path}"
        )
    return found


def load_model(request: Request) -> LoadedModel:
    """Load a model of any known format.

    Raises:
        ModelRefused, MissingTool: see the loader of its format.
    """
    return LOADERS[recognise(request.path)](request)
