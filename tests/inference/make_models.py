"""Write one tiny model a format, with what it answers: `python -m tests.inference.make_models OUT`. Loads TensorFlow.

Every network sees 32×32 pictures. Beside each model lies `<name>.npz` with its own answers to `inputs.npy`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

SIDE = 32


def body(given: Any) -> Any:
    hidden = keras.layers.Conv2D(12, 5, strides=3, name="conv")(given)
    hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    hidden = keras.layers.DepthwiseConv2D(3, name="depthwise")(hidden)
    return keras.layers.ReLU(name="relu")(hidden)


def network(name: str, classes: int = 5, activation: str = "softmax") -> Any:
    given = keras.Input((SIDE, SIDE, 3), name="picture")
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(body(given))
    answer = keras.layers.Dense(classes, activation=activation, name="answer")(pooled)
    return stirred(keras.Model(given, answer, name=name))


def stirred(model: Any, seed: int = 3) -> Any:
    """Weights that make the answers differ from picture to picture."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0, 0.6, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def note(out: Path, name: str, outputs: Any, embeddings: Any = None) -> None:
    no_embeddings = np.empty((len(outputs), 0))
    np.savez(
        out / f"{name}.npz",
        outputs=np.asarray(outputs),
        embeddings=no_embeddings if embeddings is None else np.asarray(embeddings),
    )


def pooled(model: Any, inputs: Any, layer: str = "pool") -> Any:
    return keras.Model(model.inputs, model.get_layer(layer).output)(inputs)


def keras_files(out: Path, inputs: Any) -> None:
    plain = network("plain")
    plain.save(out / "plain.keras")
    note(out, "plain", plain(inputs), pooled(plain, inputs))
    logits = network("logits", activation="linear")
    logits.save(out / "logits.keras")
    note(out, "logits", logits(inputs))
    given = keras.Input((SIDE, SIDE, 3))
    hidden = body(given)
    both = keras.layers.Concatenate()(
        [keras.layers.GlobalAveragePooling2D(name="mean")(hidden), keras.layers.GlobalMaxPooling2D(name="max")(hidden)]
    )
    keras.Model(given, keras.layers.Dense(5, activation="softmax")(both)).save(out / "two_pools.keras")
    sneaky = keras.layers.Lambda(lambda x: x * 2, name="sneaky", output_shape=(SIDE, SIDE, 3))
    parts = [keras.Input((SIDE, SIDE, 3)), sneaky, keras.layers.Flatten(name="flat"), keras.layers.Dense(5, "softmax")]
    keras.Sequential(parts, name="code").save(out / "code.keras")
    open_size = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(),
         keras.layers.Dense(5, activation="softmax")]
    )  # fmt: skip
    open_size.save(out / "open_size.keras")


@keras.saving.register_keras_serializable(package="elsewhere")
class Unheard(keras.layers.Layer):  # type: ignore[misc]
    """A layer that only this file knows."""

    def call(self, given: Any) -> Any:
        return given


def unknown_layer(out: Path) -> None:
    keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), Unheard(name="unheard"), keras.layers.Flatten(), keras.layers.Dense(5)]
    ).save(out / "unknown.keras")


def keras_2_file(out: Path, inputs: Any) -> None:
    """The tutorial detector in small, as Keras 2 wrote it: a nested network, one sigmoid, Keras 2's description."""
    given = keras.Input((SIDE, SIDE, 3), name="picture")
    backbone = keras.Model(given, body(given), name="backbone")
    whole = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3), name="whole_input"),
            backbone,
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dense(1, activation="sigmoid", name="answer"),
        ],
        name="detector",
    )
    stirred(whole).save(out / "detector.h5")
    note(out, "detector", whole(inputs), pooled(whole, inputs))
    with h5py.File(out / "detector.h5", "r+") as file:
        description = as_keras_2(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(description), "2.15.0"


def as_keras_2(value: Any) -> Any:
    if isinstance(value, list):
        return [as_keras_2(part) for part in value]
    if not isinstance(value, dict):
        return value
    value = {key: as_keras_2(part) for key, part in value.items()}
    config = value.get("config")
    if value.get("class_name") == "InputLayer" and isinstance(config, dict) and "batch_shape" in config:
        config["batch_input_shape"] = config.pop("batch_shape")
    if value.get("class_name") == "DepthwiseConv2D":
        config["groups"] = 1
    if value.get("class_name") == "BatchNormalization":
        config["axis"] = [3]
    for key in ("input_layers", "output_layers"):
        if key in value and value[key] and not isinstance(value[key][0], list):
            value[key] = [value[key]]
    return value


def saved_models(out: Path, inputs: Any) -> None:
    plain = network("plain")
    plain.export(out / "exported", verbose=False)
    note(out, "exported", plain(inputs), pooled(plain, inputs))
    module = tf.Module()
    rng = np.random.default_rng(5)
    module.kernel = tf.Variable(rng.normal(size=(3, 5)).astype(np.float32))

    def odd(images: Any) -> dict[str, Any]:
        # LiteRT cannot invert a matrix.
        averages = tf.reduce_mean(images, axis=[1, 2], name="averages")
        inverse = tf.linalg.inv(tf.linalg.diag(averages + 0.1))
        return {"scores": tf.nn.softmax(tf.matmul(tf.linalg.diag_part(inverse), module.kernel))}

    pictures = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)
    tf.saved_model.save(module, str(out / "odd"), signatures=tf.function(odd, input_signature=[pictures]))
    note(out, "odd", odd(inputs)["scores"])

    def writing(images: Any) -> dict[str, Any]:
        tf.io.write_file("/tmp/never-written-by-winnow", "x")
        return {"scores": tf.nn.softmax(tf.matmul(tf.reduce_mean(images, axis=[1, 2]), module.kernel))}

    tf.saved_model.save(module, str(out / "writing"), signatures=tf.function(writing, input_signature=[pictures]))
    tensorflow_1(out, inputs)


def tensorflow_1(out: Path, inputs: Any) -> None:
    """Variables, a session and a signature, as TensorFlow 1 exported them."""
    v1 = tf.compat.v1
    rng = np.random.default_rng(9)
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, (None, SIDE, SIDE, 3), name="input_images")
        kernel = v1.get_variable("kernel", initializer=rng.normal(0, 2, (3, 3, 3, 7)).astype(np.float32))
        head = v1.get_variable("head", initializer=rng.normal(0, 2, (7, 5)).astype(np.float32))
        features = tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images, kernel, 2, "SAME")), axis=[1, 2], name="features")
        scores = tf.nn.softmax(tf.matmul(features, head), name="scores")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(out / "tf1"), {"images": images}, {"prediction": scores})
        outputs, embeddings = session.run([scores, features], {images: inputs})
    note(out, "tf1", outputs, embeddings)


def tfjs_folder(out: Path, inputs: Any) -> None:
    """`model.json` with two binary shards, the first weights quantised to uint8, as tensorflowjs writes it."""
    plain = network("plain")
    folder = out / "tfjs"
    folder.mkdir()
    manifest, parts = [], []
    for layer in plain.layers:
        for weight in layer.weights:
            values = weight.numpy()
            entry: dict[str, Any] = {
                "name": f"{layer.name}/{weight.name}",
                "shape": list(values.shape),
                "dtype": "float32",
            }
            if layer.name == "conv" and weight.name == "kernel":
                low, scale = float(values.min()), float(values.max() - values.min()) / 255
                stored = np.round((values - low) / scale).astype(np.uint8)
                weight.assign(stored.astype(np.float32) * np.float32(scale) + np.float32(low))
                entry["quantization"] = {"dtype": "uint8", "min": low, "scale": scale}
                parts.append(stored.tobytes())
            else:
                parts.append(values.astype("<f4").tobytes())
            if entry["name"] == "depthwise/kernel":
                entry["name"] = "depthwise/depthwise_kernel"  # Keras 2's name
            manifest.append(entry)
    data = b"".join(parts)
    (folder / "group1-shard1of2.bin").write_bytes(data[:500])
    (folder / "group1-shard2of2.bin").write_bytes(data[500:])
    topology = {"model_config": {"class_name": "Functional", "config": as_keras_2(plain.get_config())}}
    groups = [{"paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"], "weights": manifest}]
    model = {"format": "layers-model", "modelTopology": topology, "weightsManifest": groups}
    (folder / "model.json").write_text(json.dumps(model))
    note(out, "tfjs", plain(inputs), pooled(plain, inputs))


def tflite_file(out: Path, inputs: Any) -> None:
    plain = network("plain")
    (out / "plain.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(plain).convert())


def main(out: Path) -> None:
    inputs = np.random.default_rng(1).random((6, SIDE, SIDE, 3), dtype=np.float32)
    np.save(out / "inputs.npy", inputs)
    keras_files(out, inputs)
    unknown_layer(out)
    keras_2_file(out, inputs)
    saved_models(out, inputs)
    tfjs_folder(out, inputs)
    tflite_file(out, inputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
