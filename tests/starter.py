"""The starter model, fetched and converted once a machine, for every test that needs a real model."""

from __future__ import annotations

from pathlib import Path

from inference.models.fetch import fetch_model

CHECKOUT = Path(__file__).parents[1]
NAME = "nsfwjs-mobilenet-v2"


def starter_model_folder() -> Path:
    """The finished folder `var/models/nsfwjs-mobilenet-v2` of the checkout.

    The first call takes about 20 seconds and needs npm; xdist's workers wait for it at `fetch_model`'s file lock.
    """
    var = CHECKOUT / "var"
    return fetch_model(NAME, var / "models", cache=var / "cache").path


def inception_model_folder() -> Path:
    """The finished folder of nsfwjs' InceptionV3; the first call takes about 40 seconds."""
    var = CHECKOUT / "var"
    return fetch_model("nsfwjs-inception-v3", var / "models", cache=var / "cache").path
