"""The peer of the API benchmark: the same weights behind Flask, served as systems 1 and 4 of INTEROP.md do it.

The file goes to disk under the client's name and stays there, is read again with Keras' `load_img`, and each request
calls `model.predict`. Flask's own threaded server answers. `python -m benchmarks.api_peer PACKAGE NAME PORT FOLDER`.
"""

import sys
from pathlib import Path
from typing import Any

import keras
from flask import Flask, jsonify, request

from benchmarks.keras_peer import public_network

CLASSES = ("drawings", "hentai", "neutral", "porn", "sexy")


def service(network: Any, folder: Path) -> Flask:
    app = Flask(__name__)
    size = tuple(network.inputs[0].shape[1:3])

    @app.post("/predict")
    def predict() -> Any:
        sent = request.files["image"]
        path = folder / str(sent.filename)
        sent.save(path)
        image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=size)) / 255
        probabilities = network.predict(image[None], verbose=0)[0]
        return jsonify(dict(zip(CLASSES, map(float, probabilities), strict=True)))

    @app.get("/health")
    def health() -> Any:
        return jsonify({"status": "ok"})

    return app


def main() -> None:
    package, name, port, folder = sys.argv[1:]
    network = public_network(Path(package).read_bytes(), name)
    service(network, Path(folder)).run(port=int(port), threaded=True)


if __name__ == "__main__":
    main()
