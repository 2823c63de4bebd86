"""Files that tf_keras wrote: TF-Hub layers, and Keras 2's own MobileNetV2. Needs the extra `hub`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from inference.errors import MissingTool, ModelRefused
from inference.models.compiled import CompiledModel
from inference.models.hub_h5 import load
from inference.models.loaded import Request
from inference.models.register import register_model
from tests.inference.test_formats import declared

HAS_HUB = find_spec("tf_keras") is not None and find_spec("tensorflow_hub") is not None
needs_hub = pytest.mark.skipif(not HAS_HUB, reason="needs the extra hub: pip install '.[hub]'")

WRITE = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf, tensorflow_hub, tf_keras

out = Path(sys.argv[1])
inputs = np.random.default_rng(1).random((4, 64, 64, 3), dtype=np.float32)
np.save(out / "inputs.npy", inputs)
backbone = tf_keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), include_top=False, alpha=0.35)
layers = tf_keras.layers
detector = tf_keras.Sequential([backbone, layers.GlobalAveragePooling2D(), layers.Dense(5, activation="softmax")])
detector.build((None, 64, 64, 3))
for suffix in ("h5", "keras"):
    detector.save(out / f"keras2.{suffix}")
    np.save(out / f"keras2.{suffix}.npy", detector(inputs))

module = tf.Module()
module.kernel = tf.Variable(np.random.default_rng(2).normal(size=(3, 6)).astype("f4"))
module.__class__.__call__ = tf.function(
    lambda self, images: tf.matmul(tf.reduce_mean(images, axis=[1, 2]), self.kernel),
    input_signature=[tf.TensorSpec((None, 64, 64, 3), tf.float32)],
)
tf.saved_model.save(module, str(out / "module"))
layer = tensorflow_hub.KerasLayer(str(out / "module"), name="features")
given = tf_keras.Input((64, 64, 3))
hub = tf_keras.Model(given, layers.Dense(5, activation="softmax", name="answer")(layer(given)))
hub.save(out / "hub.h5")
np.save(out / "hub.h5.npy", hub(inputs))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("keras2")
    subprocess.run(
        [sys.executable, "-c", WRITE, str(out)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
        capture_output=True,
    )
    return out


@needs_hub
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "origin", "layer"),
    [
        ("keras2.h5", "keras-h5", "global_average_pooling2d"),
        ("keras2.keras", "keras-2", "global_average_pooling2d"),
        ("hub.h5", "keras-h5-hub", "features"),
    ],
)
def test_a_file_of_keras_2_itself_answers_as_keras_2_did(
    file: str, origin: str, layer: str, written: Path, tmp_path: Path
) -> None:
    folder = register_model(declared(written / file), tmp_path)
    assert (folder.sidecar.format_origin, folder.sidecar.embedding_layer) == (origin, layer)
    assert folder.sidecar.runtime == "litert"
    probabilities, _ = CompiledModel.open(folder).predict(np.load(written / "inputs.npy"))
    np.testing.assert_allclose(probabilities, np.load(written / f"{file}.npy"), atol=1e-4)


@pytest.mark.skipif(HAS_HUB, reason="the extra hub is installed")
def test_without_the_extra_a_hub_layer_is_refused_with_what_to_install() -> None:
    with pytest.raises(MissingTool, match=r"pip install '\.\[hub\]'"):
        load(Request(Path("model.h5")), {})


def test_a_module_behind_an_address_is_not_fetched_without_trust() -> None:
    description = {"class_name": "KerasLayer", "config": {"handle": "https://example.invalid/module"}}
    with pytest.raises(ModelRefused, match=r"would be downloaded from .* say --trust-code"):
        load(Request(Path("model.h5")), description)
