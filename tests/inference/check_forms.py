"""Load every form of a trained model, and print how far apart their answers lie: `python -m tests.inference.check_forms
FOLDER PICTURES.npy`. Loads TensorFlow.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def answers(folder: Path, pictures: Any) -> dict[str, Any]:
    found = {
        name: keras.saving.load_model(folder / name, compile=False).predict(pictures, verbose=0)
        for name in ("model.keras", "model.h5")
        if (folder / name).exists()
    }
    if (folder / "saved_model").exists():
        whole = tf.saved_model.load(str(folder / "saved_model"))  # Its functions do not keep it alive.
        found["saved_model"] = whole.serve(pictures).numpy()
    if (folder / "model.tflite").exists():
        interpreter = tf.lite.Interpreter(str(folder / "model.tflite"))
        run = interpreter.get_signature_runner()
        [given] = run.get_input_details()
        rows = [next(iter(run(**{given: picture[None]}).values())) for picture in pictures]
        found["model.tflite"] = np.concatenate(rows)
    return found


def main() -> None:
    folder, pictures = Path(sys.argv[1]), np.load(sys.argv[2])
    found = answers(folder, pictures)
    first = found["model.keras"]
    apart = {name: float(np.abs(one - first).max()) for name, one in found.items()}
    sys.stdout.write(json.dumps({"apart": apart, "shape": list(first.shape)}) + "\n")


if __name__ == "__main__":
    main()
