"""Finding wrong labels: what each member, fine-tuning and re-ranking gain on real label noise, and a refit's time.

`WINNOW_BENCH_FINE_TUNE=1` fine-tunes too, which takes half an hour on two cores.
"""

import csv
import multiprocessing
import os
import resource
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score

from benchmarks.commands import CHECKOUT
from benchmarks.inference import Bystanders
from benchmarks.results import Row, show
from inference.cross_validation import Member, OutOfSample, out_of_sample, refit
from inference.fine_tuning import FineTuningProgress, fine_tune, original_of
from inference.label_quality import label_quality
from inference.models.fetch import fetch_model
from inference.models.sidecar import ModelFolder
from inference.predict import Scored, score_images
from inference.train import Recipe

STARTER = "nsfwjs-mobilenet-v2"
POINTS = (0.05, 0.10, 0.20, 0.30, 0.50)
"""Shares of the images at which a cleaning curve is read."""

REVIEWS_A_RANKING = 0.02
LARGE, SIZE, CLASSES = 50_000, 1280, 5
REFITS = 3
FINE_TUNING = Recipe(epochs=6, batch_size=32)
FINE_TUNING_FOLDS = 3
_ARCHIVE = "cifar10n_aggre.tar.gz"

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]
Judge = Callable[[IntArray], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class RealNoise:
    """Images with the labels that people gave, and the truth."""

    paths: list[Path]
    given: IntArray
    true: IntArray
    wrong: npt.NDArray[np.bool_]
    embeddings: npt.NDArray[np.float16]


def run() -> None:
    # First, in a process of its own: a process' peak is never below that of the one it was forked from.
    rows = large_rows()
    data = os.environ.get("WINNOW_BENCH_DATA")
    if data:
        with real_noise(Path(data) / _ARCHIVE) as real:
            rows += member_rows(real)
            rows += curve_rows(real)
            if os.environ.get("WINNOW_BENCH_FINE_TUNE"):
                rows += fine_tuning_rows(real)
            else:
                print("WINNOW_BENCH_FINE_TUNE is not set: fine-tuning, which takes half an hour, is left out.")
    else:
        print("WINNOW_BENCH_DATA is not set: the figures on real label noise are left out.")
    show("Finding wrong labels", rows)


def large_rows() -> list[Row]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        first, again, peak, others = pool.submit(fit_large).result()
    how = f"{LARGE:,} × {SIZE} float16, {CLASSES} classes, 5 folds, synthetic"
    return [
        Row("first fit of all members", f"{first:.1f} s", "", how),
        Row(
            "refit after new verdicts",
            f"{again:.1f} s",
            "< 10 s",
            f"{how}; 2 % of the labels changed, median of {REFITS}",
        ),
        Row("share of the machine that other processes took", f"{others:.0%}", "", "during both"),
        Row("peak memory of both", f"{peak:,.0f} MB", "< 1,500 MB", how),
    ]


def fit_large() -> tuple[float, float, float, float]:
    """Seconds of a first fit and of a refit, the process' peak in MB, and the share of the cores that others took."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(64, SIZE)).astype(np.float32) / 8
    centres = rng.normal(size=(CLASSES, 64)).astype(np.float32) / 2
    true = rng.integers(0, CLASSES, LARGE)
    embeddings = np.empty((LARGE, SIZE), dtype=np.float16)
    for start in range(0, LARGE, 5000):
        part = true[start : start + 5000]
        position = centres[part] + rng.normal(size=(len(part), 64)).astype(np.float32)
        embeddings[start : start + 5000] = np.maximum(position @ directions + rng.normal(size=(len(part), SIZE)), 0)
    labels = np.where(rng.random(LARGE) < 0.08, rng.integers(0, CLASSES, LARGE), true)
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        state = Path(name) / "fit.npz"
        busy = Bystanders()
        begun = time.perf_counter()
        out_of_sample(embeddings, labels, n_classes=CLASSES, state=state)
        first = time.perf_counter() - begun
        seconds = []
        for _ in range(REFITS):
            labels = np.where(rng.random(LARGE) < 0.02, true, labels)
            begun = time.perf_counter()
            refit(embeddings, labels, n_classes=CLASSES, state=state)
            seconds.append(time.perf_counter() - begun)
    others = busy.share()
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return first, statistics.median(seconds), kilobytes / 1024, others


def member_rows(real: RealNoise) -> list[Row]:
    begun = time.perf_counter()
    judged = out_of_sample(real.embeddings, real.given, n_classes=10)
    seconds = time.perf_counter() - begun
    how = f"cifar10n_aggre, {len(real.given):,} images, {real.wrong.sum()} wrong labels, frozen starter model"
    return [
        *(
            Row(f"average precision: {one.name}", precision(real, one.probabilities), "", how)
            for one in judged.opinions
        ),
        Row("average precision: all members", precision(real, judged.probabilities), "", how),
        Row("first fit of all members, 8,000 images", f"{seconds:.1f} s", "", how),
    ]


def fine_tuning_rows(real: RealNoise) -> list[Row]:
    var = CHECKOUT / "var"
    starter = ModelFolder.open(var / "models" / STARTER).sidecar
    frozen = out_of_sample(real.embeddings, real.given, n_classes=10, folds=FINE_TUNING_FOLDS)
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        begun = time.perf_counter()
        tuned = fine_tune(
            original_of(starter, cache=var / "cache"),
            real.paths,
            real.given,
            n_classes=10,
            into=Path(name),
            folds=FINE_TUNING_FOLDS,
            recipe=FINE_TUNING,
            progress=say,
        )
        minutes = (time.perf_counter() - begun) / 60
    together = with_further(real, tuned.opinions)
    how = f"{tuned.notes[0]} {FINE_TUNING_FOLDS} folds, at most {FINE_TUNING.epochs} epochs"
    right = (tuned.probabilities.argmax(axis=1) == real.true).mean()
    return [
        Row("average precision: frozen, the same folds", precision(real, frozen.probabilities), "", how),
        Row("average precision: fine-tuned", precision(real, tuned.probabilities), "", how),
        Row("average precision: fine-tuned and frozen together", precision(real, together.probabilities), "", how),
        Row("fine-tuned network right about the truth", f"{right:.1%}", "", how),
        Row("fine-tuning", f"{minutes:.0f} minutes", "", how),
    ]


def with_further(real: RealNoise, further: tuple[Member, ...]) -> OutOfSample:
    return out_of_sample(real.embeddings, real.given, n_classes=10, folds=FINE_TUNING_FOLDS, further=further)


def say(progress: FineTuningProgress) -> None:
    if progress.epoch is not None:
        print(f"fold {progress.fold} of {progress.folds}: {progress.epoch}", file=sys.stderr)


def curve_rows(real: RealNoise) -> list[Row]:
    """A reviewer who is always right, in four orders; the first probabilities of all of them are the same."""
    count = len(real.given)
    rows = np.arange(count)
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        state = Path(name) / "fit.npz"
        first = out_of_sample(real.embeddings, real.given, n_classes=10, state=state)
        theirs = get_label_quality_scores(real.given, first.probabilities, method="self_confidence")
        static = label_quality(real.given, first.probabilities)

        def judged_again(labels: IntArray) -> npt.NDArray[np.float64]:
            return label_quality(labels, refit(real.embeddings, labels, n_classes=10, state=state).probabilities)

        orders = {
            "random": np.random.default_rng(0).permutation(rows),
            "cleanlab's order, static": np.argsort(theirs, kind="stable"),
            "our order, static": np.argsort(static, kind="stable"),
            f"our order, re-ranked after every {REVIEWS_A_RANKING:.0%}": reviewed(real, static, judged_again),
        }
    shares = ", ".join(f"{point:.0%}" for point in POINTS)
    how = f"wrong labels found after {shares} of the images; one round of a reviewer who is always right"
    return [Row(f"found in {name}", curve(real, order), "", how) for name, order in orders.items()]


def reviewed(real: RealNoise, quality: npt.NDArray[np.float64], judge: Judge) -> IntArray:
    """The order in which images are reviewed when the rest is ranked again after every few."""
    labels, seen = real.given.copy(), np.zeros(len(real.given), dtype=bool)
    step = round(REVIEWS_A_RANKING * len(labels))
    order: list[int] = []
    while len(order) < max(POINTS) * len(labels):
        batch = np.argsort(np.where(seen, np.inf, quality), kind="stable")[:step]
        order += batch.tolist()
        seen[batch] = True
        labels[batch] = real.true[batch]
        quality = judge(labels)
    return np.array(order + np.flatnonzero(~seen).tolist())


def curve(real: RealNoise, order: IntArray) -> str:
    found = real.wrong[order].cumsum() / real.wrong.sum()
    return ", ".join(f"{found[round(point * len(order)) - 1]:.0%}" for point in POINTS)


def precision(real: RealNoise, probabilities: FloatArray) -> str:
    return f"{average_precision_score(real.wrong, -label_quality(real.given, probabilities)):.3f}"


@contextmanager
def real_noise(archive: Path) -> Iterator[RealNoise]:
    """The images, scored once by the starter model."""
    var = CHECKOUT / "var"
    model = fetch_model(STARTER, var / "models", cache=var / "cache").path
    with tempfile.TemporaryDirectory(prefix="winnow-bench-data-") as name:
        with tarfile.open(archive) as tar:
            tar.extractall(name, filter="data")
        folder = Path(name) / archive.name.removesuffix(".tar.gz")
        with (folder / "truth.csv").open(newline="") as file:
            known = list(csv.DictReader(file))
        classes = sorted({row["given_label"] for row in known})
        paths = [folder / row["file"] for row in known]
        answers = [one for one in score_images(model, enumerate(paths)) if isinstance(one, Scored)]
        yield RealNoise(
            paths=paths,
            given=np.array([classes.index(row["given_label"]) for row in known]),
            true=np.array([classes.index(row["true_label"]) for row in known]),
            wrong=np.array([row["is_error"] == "1" for row in known]),
            embeddings=np.stack([one.embedding for one in answers]),
        )
