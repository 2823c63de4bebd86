"""The peer of the inference benchmark: the same weights in Keras, used as its tutorials show. A process of its own.

`python -m benchmarks.keras_peer PACKAGE NAME` rebuilds a public model from its package (`… MODEL.keras` reads a file),
prints `ready`, and answers each line of stdin (words apart by tabs) with one line of JSON: `files FOLDER` → seconds
from files to probabilities; `tensor COUNT` → seconds for each `model.predict` of one ready image; `file PATH COUNT` →
seconds for each file, one at a time; `batch COUNT` → seconds for each of so many ready images, asked 32 at a time.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from inference.models import catalogue, npm, tfjs

BATCH = 32


class Peer:
    """A network in Keras, asked the way that a question names."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.size = tuple(network.inputs[0].shape[1:3])

    def files(self, folder: str) -> float:
        begun = time.perf_counter()
        dataset = keras.utils.image_dataset_from_directory(
            folder, labels=None, image_size=self.size, batch_size=BATCH, shuffle=False, verbose=False
        )
        self.network.predict(dataset.map(lambda images: images / 255), verbose=0)
        return time.perf_counter() - begun

    def tensor(self, count: str) -> float:
        image = np.zeros((1, *self.size, 3), dtype=np.float32)
        begun = time.perf_counter()
        for _ in range(int(count)):
            self.network.predict(image, verbose=0)
        return (time.perf_counter() - begun) / int(count)

    def file(self, path: str, count: str) -> float:
        begun = time.perf_counter()
        for _ in range(int(count)):
            image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=self.size)) / 255
            self.network.predict(image[None], verbose=0)
        return (time.perf_counter() - begun) / int(count)

    def batch(self, count: str) -> float:
        images = np.random.default_rng(0).random((int(count), *self.size, 3), dtype=np.float32)
        begun = time.perf_counter()
        self.network.predict(images, batch_size=BATCH, verbose=0)
        return (time.perf_counter() - begun) / int(count)


def public_network(package: bytes, name: str) -> Any:
    """A model of the catalogue, rebuilt in Keras from its package."""
    entry = catalogue.find(name)
    return tfjs.build_keras_model(
        tfjs.read_layers_model(
            npm.read_member(package, entry.topology_member).decode(),
            lambda shard: npm.read_member(package, entry.shard_member.format(shard=shard)).decode(),
        )
    )


def main() -> None:
    path, *name = sys.argv[1:]
    network = public_network(Path(path).read_bytes(), *name) if name else keras.saving.load_model(path, compile=False)
    peer = Peer(network)
    print("ready", flush=True)
    for line in sys.stdin:
        question, *arguments = line.rstrip("\n").split("\t")
        answers: dict[str, Callable[..., float]] = {
            "files": peer.files,
            "tensor": peer.tensor,
            "file": peer.file,
            "batch": peer.batch,
        }
        print(json.dumps(answers[question](*arguments)), flush=True)


if __name__ == "__main__":
    main()
