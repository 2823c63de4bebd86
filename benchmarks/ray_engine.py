"""The Ray engine against the local one on the same two cores, and what a large run writes."""

import importlib.util
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.commands import CHECKOUT
from benchmarks.inference import ROUNDS, STARTER, Bystanders, interleaved, ratio, timed
from benchmarks.photographs import write_jpegs
from benchmarks.results import Row, show
from inference.engines import Engine, open_engine
from inference.engines.ray import BLOCK
from inference.models.fetch import fetch_model
from inference.predict import Scored, available_cores

IMAGES = 1000
WRITTEN = 20_000


def run() -> None:
    if importlib.util.find_spec("ray") is None:
        print("ray is not installed: its figures are left out. pip install '.[ray]'")
        return
    var = CHECKOUT / "var"
    folder = fetch_model(STARTER, var / "models", cache=var / "cache").path
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        show("The Ray engine", [*overhead_rows(folder, Path(name)), *writing_rows(Path(name))])


def overhead_rows(folder: Path, place: Path) -> list[Row]:
    paths = sorted(write_jpegs(place / "640x480", IMAGES, (640, 480)).iterdir())
    shares: list[float] = []

    def local_turn() -> float:
        # Only here: Ray's own processes are not known as ours before they have ended.
        bystanders = Bystanders()
        seconds = timed(lambda: score(local, folder, paths))
        shares.append(bystanders.share())
        return seconds

    begun = time.perf_counter()
    with open_engine("ray") as ray, open_engine("local") as local:
        started = time.perf_counter() - begun
        logging.getLogger("ray").setLevel(logging.ERROR)
        seconds = interleaved(
            {
                "local": local_turn,
                "ray": lambda: timed(lambda: score(ray, folder, paths)),
                "wave": lambda: timed(lambda: score(ray, folder, paths[:2])),
            }
        )
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    steady = [IMAGES / (whole - wave) for whole, wave in zip(seconds["ray"], seconds["wave"], strict=True)]
    here = [IMAGES / value for value in seconds["local"]]
    how = f"{IMAGES:,} JPEGs of 640×480, MobileNetV2 224, {available_cores()} cores, interleaved, median of {ROUNDS}"
    return [
        Row("local engine", f"{IMAGES / middle['local']:,.0f} images/s", "", how),
        Row(f"Ray engine, {IMAGES:,} images in one wave", f"{IMAGES / middle['ray']:,.0f} images/s", "", how),
        Row("Ray against local, the same wave", f"{ratio(seconds['local'], seconds['ray']):.2f} ×", "", "rate / rate"),
        Row(
            "share of the machine that other processes took",
            f"{statistics.median(shares):.0%}",
            "",
            "in the local engine's turns; where it is much, ratios mean little",
        ),
        Row("starting Ray on this machine", f"{started:.1f} s", "", "once a run, before the first wave"),
        Row("a wave of 2 images", f"{middle['wave']:.1f} s", "", "what each wave costs before its images"),
        Row(
            "Ray engine without the wave's own cost",
            f"{statistics.median(steady):,.0f} images/s",
            "",
            f"{ratio(steady, here):.2f} × the local engine; blocks of {BLOCK}",
        ),
    ]


def writing_rows(place: Path) -> list[Row]:
    """What the one process that writes can take, and what it writes, by `benchmarks.writing_peer`."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.writing_peer", str(WRITTEN)],
        cwd=CHECKOUT,
        env=os.environ | {"WINNOW_HOME": str(place / "home"), "DATABASE_URL": "", "LOG_LEVEL": "ERROR"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wrote = json.loads(ended.stdout.strip().splitlines()[-1])
    how = f"{WRITTEN:,} images, SQLite, chunks as `score` commits them"
    return [
        Row("predictions and embeddings written", f"{wrote['rate']:,.0f} images/s", "", how),
        Row("database, an image", f"{wrote['image_bytes']:,.0f} bytes", "", how),
        Row("database, a prediction", f"{wrote['prediction_bytes']:,.0f} bytes", "", how),
        Row("embeddings, an image", f"{wrote['embedding_bytes']:,.0f} bytes", "", how),
    ]


def score(engine: Engine, folder: Path, paths: list[Path]) -> None:
    answered = sum(isinstance(answer, Scored) for answer in engine.score(folder, enumerate(paths)))
    assert answered == len(paths)
