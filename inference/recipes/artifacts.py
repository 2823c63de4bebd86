"""Writing a trained network in the forms that people take along. Loads TensorFlow inside its functions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inference.training import ALSO, KERAS_FILE, LABELS_FILE


def write_artifacts(network: Any, class_names: Sequence[str], also: Sequence[str], out: Path) -> None:
    """Write `KERAS_FILE`, `LABELS_FILE`, and what else was asked for, into an existing folder.

    Of a network with one output the labels are (negative, positive): it is the probability of the second.
    """
    network.save(out / KERAS_FILE)
    (out / LABELS_FILE).write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    for kind in also:
        _WRITERS[kind](network, out / ALSO[kind])


def _h5(network: Any, path: Path) -> None:
    network.save(path)


def _saved_model(network: Any, path: Path) -> None:
    network.export(path, verbose=False)


def _tflite(network: Any, path: Path) -> None:
    """For one picture at a time: with an open batch some networks cannot be prepared by XNNPACK."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(network)
    picture = tf.TensorSpec((1, *network.inputs[0].shape[1:]), tf.float32, name="images")
    archive.add_endpoint("serve", lambda images: network(images, training=False), [picture])
    with tempfile.TemporaryDirectory(prefix="winnow-saved-") as folder:
        archive.write_out(folder, verbose=False)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"]).convert())


_WRITERS: dict[str, Callable[[Any, Path], None]] = {"h5": _h5, "savedmodel": _saved_model, "tflite": _tflite}
