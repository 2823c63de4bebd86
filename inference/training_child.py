"""The process that trains: reads a work folder, builds and trains the network, and writes the answer folder.

Started by `training`; loads TensorFlow. Ends with 2 and a one-line message when it is refused.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from inference.errors import ModelRefused
from inference.fine_tuning import Original, load_network
from inference.models.child import child_main, say_facts
from inference.picture_stream import PictureStream
from inference.recipes import RECIPES
from inference.recipes.artifacts import write_artifacts
from inference.recipes.backbones import make_backbone
from inference.recipes.base import NO_WEIGHTS, TrainingRecipe
from inference.recipes.network import EMBEDDING, Networks, augmenter, build_networks, network_with_head
from inference.training import ANSWER, ARRAYS, FACTS, REQUEST, Answers, Choices, EpochFigures, write_json
from inference.training_loop import Course, follow

_SAY_EVERY = 0.5


def work(folder: Path) -> None:
    """Carry out the request of a work folder that has no answer yet.

    Raises:
        ModelRefused, FetchFailed, MissingTool: weights, or a loss that is no number.
    """
    # The child of a caller that was killed may still be at its last steps.
    with FileLock(folder / ".lock"):
        if (folder / ANSWER).is_dir():
            return
        request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
        with np.load(folder / ARRAYS) as kept:
            arrays = {name: kept[name] for name in kept.files}
        network, facts = _with_head(request, arrays) if "kernel" in arrays else _trained(folder, request, arrays)
        _say_stage("writing the files")
        made = folder / f".{ANSWER}"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        write_artifacts(network, _labels(_answers(request)), request["also"], made)
        write_json(made / FACTS, facts)
        made.rename(folder / ANSWER)


def _with_head(request: dict[str, Any], arrays: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    original = _original(request)
    if original is None:
        raise ModelRefused("expected the model whose embeddings the head was fitted on, received none")
    _say_stage("loading the network")
    network, layer = load_network(original)
    made = network_with_head(network, layer, arrays["kernel"], arrays["bias"], request["recipe"])
    return made, {"embedding_layer": layer, "epochs": [], "best_epoch": 0, "refused": [], "notes": []}


def _trained(folder: Path, request: dict[str, Any], arrays: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    import keras
    import tensorflow as tf

    recipe, choices = RECIPES[request["recipe"]], Choices(**request["choices"])
    answers = _answers(request)
    keras.utils.set_random_seed(choices.seed)
    gpus = len(tf.config.list_physical_devices("GPU"))
    mixed = bool(gpus) if choices.mixed is None else choices.mixed
    notes = []
    if not gpus:
        # On a GPU some operations have no exact form, and a repetition differs in the last digits.
        tf.config.experimental.enable_op_determinism()
    if mixed:
        notes.append("Computed in 16 bits where that is exact enough (mixed precision), as there is a GPU.")
    if request["start"] == NO_WEIGHTS:
        notes.append("Started from chance, so that the whole network was trained; known weights need far less data.")
    _say_stage("loading the network")
    networks = _networks(request, recipe, choices, "mixed_float16" if mixed else "float32")

    def refused(row: int, code: str, reason: str) -> None:
        say_facts(refused=[row, code, reason])

    stream = PictureStream(request["paths"], request["sha256"], recipe.profile, recipe.side, refused)
    course = Course(
        recipe=recipe,
        choices=choices,
        answers=answers,
        networks=networks,
        augment=augmenter(recipe.augmentation, choices.seed),
        stream=stream,
        labels=arrays["labels"],
        validation=arrays["validation"],
        folder=folder,
        frozen_epochs=0 if request["start"] == NO_WEIGHTS else recipe.frozen_epochs,
        mixed=mixed,
        on_batch=_BatchTeller(choices.epochs),
        on_epoch=_say_epoch,
    )
    history, best = follow(course)
    if mixed:
        # What is kept computes in 32 bits everywhere: it is converted and served on processors.
        trained, networks = networks, _networks(request, recipe, choices, "float32")
        networks.answers.set_weights(trained.answers.get_weights())
    if not arrays["validation"].any():
        notes.append("There are no validation images: training did not stop early, and the last weights were kept.")
    elif len(history) < choices.epochs:
        notes.append(f"Stopped after {len(history)} of {choices.epochs} epochs, as validation did not improve.")
    facts = {
        "embedding_layer": EMBEDDING,
        "epochs": [asdict(epoch) for epoch in history],
        "best_epoch": best,
        "refused": [[row, *why] for row, why in sorted(stream.refused.items())],
        "notes": notes,
    }
    return networks.answers, facts


def _networks(request: dict[str, Any], recipe: TrainingRecipe, choices: Choices, policy: str) -> Networks:
    import keras

    keras.config.set_dtype_policy(policy)
    # The order in which things are made decides what chance gives them.
    keras.utils.set_random_seed(choices.seed)
    answers = _answers(request)
    backbone = make_backbone(recipe, choices.size, request["start"], _original(request))
    outputs = 1 if answers.positive is not None else len(answers.class_names)
    from_chance = request["start"] == NO_WEIGHTS
    return build_networks(recipe, backbone, outputs, choices.seed, from_chance=from_chance)


def _answers(request: dict[str, Any]) -> Answers:
    told = request["answers"]
    return Answers(tuple(told["class_names"]), tuple(told["groups"]), told["positive"])


def _labels(answers: Answers) -> Sequence[str]:
    """As `class_labels.txt` lists them: in output order, or (negative, positive) for one output."""
    names = answers.class_names
    return names if answers.positive is None else (names[1 - answers.positive], names[answers.positive])


def _original(request: dict[str, Any]) -> Original | None:
    told = request["original"]
    if told is None:
        return None
    described = {key: value for key, value in told.items() if key != "sha256"}
    return Original(**{**described, "path": Path(described["path"])})


class _BatchTeller:
    """Says how far the epoch is, twice a second."""

    def __init__(self, epochs: int) -> None:
        self._epochs, self._said_at, self._epoch = epochs, 0.0, 0

    def __call__(self, epoch: int, done: int, total: int) -> None:
        if epoch != self._epoch or time.monotonic() - self._said_at >= _SAY_EVERY:
            self._epoch, self._said_at = epoch, time.monotonic()
            _say_stage(f"epoch {epoch} of {self._epochs}", done, total)


def _say_epoch(epoch: EpochFigures) -> None:
    say_facts(epoch=asdict(epoch))


def _say_stage(stage: str, done: int = 0, total: int | None = None) -> None:
    say_facts(stage=stage, done=done, total=total)


if __name__ == "__main__":
    sys.exit(child_main("inference.training_child", __doc__, work))
