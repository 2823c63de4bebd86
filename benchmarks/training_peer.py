"""The peer of the training benchmark: the same network from the same file, trained by Keras' own `model.fit`.

`python -m benchmarks.training_peer MODEL.keras FOLDER SIDE LOW HIGH FROZEN AUGMENTED` reads FOLDER/train and
FOLDER/validation as Keras' tutorials do, trains three epochs in batches of 32 (the backbone as it is where FROZEN is 1,
pictures varied by the recipe's own layers where AUGMENTED names it), and prints the seconds of each.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras

from inference.recipes import RECIPES
from inference.recipes.network import augmenter

BATCH = 32


class Clock(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.begun)


def main() -> None:
    file, folder, side, low, high, frozen, recipe = sys.argv[1:]
    network = keras.saving.load_model(file, compile=False)
    network.get_layer("winnow_backbone").trainable = frozen != "1"
    scale, offset = (float(high) - float(low)) / 255, float(low)
    vary = augmenter(RECIPES[recipe].augmentation, 0)
    network.compile(keras.optimizers.Adam(1e-4), loss=_loss(network), metrics=["accuracy"])

    def pictures(split: str) -> Any:
        found = keras.utils.image_dataset_from_directory(
            Path(folder) / split, image_size=(int(side), int(side)), batch_size=BATCH, verbose=False
        )
        return found.map(lambda images, labels: (images * scale + offset, labels))

    learn = pictures("train")
    if vary is not None:
        learn = learn.map(lambda images, labels: (vary(images, training=True), labels))
    clock = Clock()
    network.fit(learn.prefetch(2), validation_data=pictures("validation").prefetch(2), epochs=3, verbose=0,
                callbacks=[clock])  # fmt: skip
    sys.stdout.write(json.dumps({"seconds": clock.seconds}) + "\n")


def _loss(network: Any) -> str:
    return "binary_crossentropy" if network.outputs[0].shape[-1] == 1 else "sparse_categorical_crossentropy"


if __name__ == "__main__":
    main()
