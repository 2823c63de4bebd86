"""ViT-B/16 in plain Keras layers, registered as anybody's own file. A process of its own, which loads TensorFlow.

`python -m benchmarks.vit OUT` writes `OUT/vit.keras`, registers it below `OUT` by the product's own way, and ends with
one line of JSON: the folder, the measured drift and the parameters. The weights are random: this is for speed only.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras

from inference.models.declared import Declared
from inference.models.register import register_model

SIDE, PATCH, WIDTH, HEADS, HIDDEN, BLOCKS = 224, 16, 768, 12, 3072, 12
CLASSES = ("drawings", "hentai", "neutral", "porn", "sexy")


def vit_b16(classes: int) -> Any:
    """ViT-B/16 of Dosovitskiy et al. 2021 ("An image is worth 16x16 words"), with a softmax over `classes`.

    No layer of Keras adds a learned vector to each position; a batch normalisation that was never trained, over all
    positions, is one. Class token and position embedding are its bias, over a row of zeros and the patches.
    """
    given = keras.Input((SIDE, SIDE, 3), name="picture")
    patches = keras.layers.Conv2D(WIDTH, PATCH, strides=PATCH, name="patches")(given)
    rows = keras.layers.Reshape(((SIDE // PATCH) ** 2, WIDTH))(patches)
    rows = keras.layers.ZeroPadding1D((1, 0), name="class_token")(rows)
    flat = keras.layers.Reshape((rows.shape[1] * WIDTH,))(rows)
    embedded = keras.layers.BatchNormalization(
        scale=False, beta_initializer=keras.initializers.RandomNormal(stddev=0.02, seed=0), name="positions"
    )(flat)
    stream = keras.layers.Reshape(rows.shape[1:])(embedded)
    for number in range(BLOCKS):
        stream = _block(stream, number)
    stream = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(stream)
    first = keras.layers.Cropping1D((0, (SIDE // PATCH) ** 2), name="first")(stream)
    embedding = keras.layers.Flatten(name="embedding")(first)
    answer = keras.layers.Dense(classes, activation="softmax", name="answer")(embedding)
    return keras.Model(given, answer, name="vit_b16")


def _block(stream: Any, number: int) -> Any:
    name = f"block_{number:02}"
    normed = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(stream)
    attended = keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"{name}_attention")(normed, normed)
    stream = keras.layers.Add(name=f"{name}_add_1")([stream, attended])
    normed = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(stream)
    # Keras' "gelu" is the exact one, by erf.
    hidden = keras.layers.Dense(HIDDEN, activation="gelu", name=f"{name}_hidden")(normed)
    narrowed = keras.layers.Dense(WIDTH, name=f"{name}_out")(hidden)
    return keras.layers.Add(name=f"{name}_add_2")([stream, narrowed])


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    out = Path(sys.argv[1])
    keras.utils.set_random_seed(0)
    network = vit_b16(len(CLASSES))
    parameters = network.count_params()
    network.save(out / "vit.keras")
    del network  # The converting process needs the memory.
    declared = Declared(
        path=str(out / "vit.keras"), name="vit-b16", taxonomy="five", class_names=CLASSES, profile="vit_half"
    )
    folder = register_model(declared, out / "models", progress=_say)
    sidecar = folder.sidecar
    facts = {
        "folder": str(folder.path),
        "runtime": sidecar.runtime,
        "reason": sidecar.runtime_reason,
        "drift": dict(sidecar.drift),
        "parameters": parameters,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
