"""Training: a head within seconds, and epochs of every recipe against Keras' own `model.fit` on the same files."""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.commands import CHECKOUT, Home
from benchmarks.results import Row, show
from inference.fine_tuning import original_of
from inference.models.fetch import fetch_model
from inference.recipes import RECIPES
from inference.recipes.base import RANGES
from inference.training import Answers, Choices, Pictures, Start, Trained, train_by_recipe
from labeling.demo_images import write_demo_images

HEADS = 3
EPOCHS = 3
"""The second may be the first of the whole network, and is then traced anew."""

BATCH = 32
STARTS = {
    "binary_mobilenet": ("full", "nsfwjs-mobilenet-v2", True),
    "seven_mobilenet": ("full", "nsfwjs-mobilenet-v2", True),
    "five_vit": ("trial", "none", False),
    "five_inception": ("full", "nsfwjs-inception-v3", False),
}
"""Recipe → size, weights, and whether its backbone stays as it is."""

HEAVY = frozenset({"five_inception"})
FEW = {"train": 32, "validation": 8}
"""Images of each class that a network is trained on whose steps take seconds."""


def run() -> None:
    rows = head_rows()
    show("Training", rows)
    show("Training", [*rows, *recipe_rows()])


def head_rows() -> list[Row]:
    """`quick_head` on the demo: the whole command."""
    home = Home()
    try:
        home.run("demo")
        home.run("cut_release", "demo", "--leave-out-conflicts")
        costs = [home.run("train", "demo", "1.0", "--recipe", "quick_head") for _ in range(HEADS)]
    finally:
        home.close()
    seconds = statistics.median(cost.seconds for cost in costs)
    [epoch] = costs[0].facts["history"]
    how = f"whole command with loading TensorFlow, compiling and checking; median of {HEADS}"
    images = f"{costs[0].facts['learned_from']} learned from, {costs[0].facts['validated_on']} validated on"
    return [
        Row("quick_head on the demo", f"{seconds:.1f} s", "< 30 s", how),
        Row("quick_head on the demo, validation right", f"{epoch['validation_accuracy']:.1%}", "", images),
        Row(
            "quick_head on the demo, peak memory",
            f"{max(cost.peak_megabytes for cost in costs):,.0f} MB",
            "",
            "of the largest process",
        ),
    ]


def recipe_rows() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="winnow-bench-training-") as name:
        every = write_demo_images(Path(name) / "demo" / "images").folder
        few = _few(every, Path(name) / "few")
        return [row for recipe in STARTS for row in _rows(recipe, few if recipe in HEAVY else every, Path(name))]


def _rows(recipe: str, folder: Path, place: Path) -> list[Row]:
    pictures = _pictures(folder)
    trained = _train(recipe, pictures, place / "work")
    first, second, last = trained.epochs
    learned, judged = int((~pictures.validation).sum()), int(pictures.validation.sum())
    rate = (learned + judged) / last.seconds
    peer = (learned + judged) / _peer_seconds(recipe, folder, trained)
    size, weights, _ = STARTS[recipe]
    how = f"{learned} demo images and {judged} to validate; {size}, from {weights}"
    return [
        Row(f"{recipe}: loss of the first and the second epoch", f"{first.loss:.3f} → {second.loss:.3f}", "falls", how),
        Row(f"{recipe}: images/s", f"{rate:,.1f}", "", f"{how}; decoded, varied, learned and validated, third epoch"),
        Row(f"{recipe}: images/s of Keras' model.fit", f"{peer:,.1f}", "", "same network, files, layers and batches"),
        Row(f"{recipe}: against model.fit", f"{rate / peer:.2f} ×", "", "one after the other"),
    ]


def _train(recipe: str, pictures: Pictures, work: Path) -> Trained:
    known, (size, weights, _) = RECIPES[recipe], STARTS[recipe]
    count = known.n_classes or 2
    names = tuple(f"class_{number}" for number in range(count))
    groups = tuple("safe" if number else "adult" for number in range(count))
    choices = Choices.of(known, epochs=EPOCHS, patience=EPOCHS, batch_size=BATCH, size=size)
    answers = Answers(names, groups, 1 if known.one_output else None)
    return train_by_recipe(known, _start(weights), pictures, answers, choices, into=work)


def _start(weights: str) -> Start:
    if weights == "none":
        return Start("none")
    var = CHECKOUT / "var"
    sidecar = fetch_model(weights, var / "models", cache=var / "cache").sidecar
    return Start("file", original_of(sidecar, cache=var / "cache"))


def _few(folder: Path, to: Path) -> Path:
    """The first images of each class in train and validation."""
    for split, count in FEW.items():
        for source in sorted((folder / split).iterdir()):
            target = to / split / source.name
            target.mkdir(parents=True)
            for path in sorted(source.iterdir())[:count]:
                shutil.copy(path, target)
    return to


def _pictures(folder: Path) -> Pictures:
    paths = [path for split in ("train", "validation") for path in sorted((folder / split).rglob("*.*"))]
    return Pictures(
        paths=paths,
        sha256=[hashlib.sha256(path.read_bytes()).hexdigest() for path in paths],
        labels=np.array([int(path.parent.name == "neutral") for path in paths]),
        validation=np.array([path.parent.parent.name == "validation" for path in paths]),
    )


def _peer_seconds(recipe: str, folder: Path, trained: Trained) -> float:
    known, (_, _, frozen) = RECIPES[recipe], STARTS[recipe]
    low, high = RANGES[known.profile]
    told = [str(trained.keras_file), str(folder), str(known.side), str(low), str(high), str(int(frozen)), recipe]
    out = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_peer", *told],
        cwd=CHECKOUT,
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    return float(json.loads(out.strip().splitlines()[-1])["seconds"][-1])
