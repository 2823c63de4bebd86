"""Ranking by label quality on real label noise, ensembles with good and weak members, and a million images."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.commands import CHECKOUT
from benchmarks.results import Row, show
from inference.confident_learning import noise_report
from inference.ensembles import combine
from inference.label_quality import ADJUSTABLE, label_quality

Floats = npt.NDArray[np.floating]

ROUNDS = 5
SMALL, LARGE, CLASSES = 100_000, 1_000_000, 5
MODELS = ("resnet18", "resnet50d")
_THEIRS = [("self_confidence", False), ("normalized_margin", False), ("confidence_weighted_entropy", False)]
_THEIRS += [(method, True) for method in ADJUSTABLE]


@dataclass(frozen=True, eq=False)
class Labelled:
    """One set of `rank/`: given labels and which are wrong, for the images whose truth is known."""

    name: str
    labels: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.bool_]
    verified: npt.NDArray[np.bool_]
    class_names: list[str]
    models: dict[str, Floats]

    def precision(self, quality: Floats) -> float:
        return float(average_precision_score(self.wrong[self.verified], 1 - quality[self.verified]))

    def area(self, quality: Floats) -> float:
        return float(roc_auc_score(self.wrong[self.verified], 1 - quality[self.verified]))

    def reviewed(self, quality: Floats, recall: float = 0.95) -> float:
        """The share of the images that must be reviewed, worst first, to see this share of the errors."""
        found = np.cumsum(self.wrong[self.verified][np.argsort(quality[self.verified], kind="stable")])
        return float((np.searchsorted(found, recall * found[-1]) + 1) / len(found))

    def ours(self, probabilities: Floats) -> float:
        return self.precision(label_quality(self.labels, probabilities))


def run() -> None:
    rows = speed_rows()
    data = os.environ.get("WINNOW_BENCH_DATA")
    if data:
        for one in sets(Path(data) / "rank"):
            rows += single_rows(one)
            rows += ensemble_rows(one) if len(one.models) > 1 else []
            rows += weak_rows(one)
    else:
        print("WINNOW_BENCH_DATA is not set: the figures on real label noise are left out.")
    show("Ranking by label quality", rows)


def sets(folder: Path) -> Iterator[Labelled]:
    names = sorted({path.name.split("__")[0] for path in folder.glob("*__*.npz")})
    for name in names:
        archives = {model: np.load(folder / f"{name}__{model}.npz") for model in MODELS if _has(folder, name, model)}
        first = next(iter(archives.values()))
        yield Labelled(
            name=name,
            labels=first["given_labels"].astype(np.int64),
            wrong=first["is_error"],
            verified=first["verified"],
            class_names=first["class_names"].tolist(),
            models={model: archive["pred_probs"] for model, archive in archives.items()},
        )


def _has(folder: Path, name: str, model: str) -> bool:
    return (folder / f"{name}__{model}.npz").exists()


def single_rows(one: Labelled) -> list[Row]:
    """One model alone: our default beside every score of cleanlab's."""
    rows = []
    for model, probabilities in one.models.items():
        ours = label_quality(one.labels, probabilities)
        theirs = {
            f"{method}{' adjusted' if adjusted else ''}": np.asarray(
                get_label_quality_scores(one.labels, probabilities, method=method, adjust_pred_probs=adjusted)
            )
            for method, adjusted in _THEIRS
        }
        precision = {name: one.precision(quality) for name, quality in theirs.items()}
        shown = ", ".join(f"{name} {value:.4f}" for name, value in precision.items())
        what = f"{one.name}, {model}"
        rows += [
            Row(
                f"{what}: average precision",
                f"{one.precision(ours):.4f}",
                f"≥ {max(precision.values()):.4f}",
                f"cleanlab on the same arrays: {shown}",
            ),
            Row(
                f"{what}: AUROC",
                f"{one.area(ours):.4f}",
                "",
                f"cleanlab's scores: {_span([one.area(quality) for quality in theirs.values()], '.4f')}",
            ),
            Row(
                f"{what}: reviewed for 95 % of the errors",
                f"{one.reviewed(ours):.1%}",
                "",
                f"cleanlab's scores: {_span([one.reviewed(quality) for quality in theirs.values()], '.1%')}",
            ),
        ]
    rows.append(_confusion_row(one))
    return rows


def _span(values: list[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def _confusion_row(one: Labelled) -> Row:
    model, probabilities = next(iter(one.models.items()))
    report = noise_report(one.labels, probabilities)
    first = report.confusions[0]
    named = f"{one.class_names[first.true]} labelled {one.class_names[first.given]}"
    share = f"{first.share:.1%} ({first.low:.1%} to {first.high:.1%})"
    systematic = sum(pair.systematic for pair in report.confusions)
    how = f"of the labels {one.class_names[first.given]}, by {model}; {systematic} pairs are systematic"
    return Row(f"{one.name}: the surest confusion, {named}", share, "", how)


def ensemble_rows(one: Labelled) -> list[Row]:
    """Both models joined, beside the better one and beside their plain mean."""
    members = list(one.models.values())
    alone = [one.ours(member) for member in members]
    joint = combine(one.labels, members, names=list(one.models))
    mean = np.mean(members, axis=0, dtype=np.float64)
    mean /= mean.sum(axis=1, keepdims=True)
    weights = ", ".join(f"{member.name} {member.weight:.2f}" for member in joint.members)
    quality = label_quality(one.labels, joint.probabilities)
    plain = one.precision(label_quality(one.labels, mean, method="self_confidence"))
    what = f"{one.name}, both models"
    return [
        Row(
            f"{what}: average precision",
            f"{one.precision(quality):.4f}",
            f"≥ {max(alone) + 0.02:.4f}",
            f"the better one alone {max(alone):.4f}; weights {weights}",
        ),
        Row(
            f"{what}: average precision of the plain mean",
            f"{one.ours(mean):.4f}",
            "",
            f"ranked as ours; by self-confidence {plain:.4f}",
        ),
        Row(
            f"{what}: reviewed for 95 % of the errors",
            f"{one.reviewed(quality):.1%}",
            "",
            f"AUROC {one.area(quality):.4f}",
        ),
    ]


def weak_rows(one: Labelled) -> list[Row]:
    """The least that is gained over the best single member when one of them is made weak in seven ways."""
    members = list(one.models.values())
    company = [members, *([member] for member in members)] if len(members) > 1 else [members]
    gains: dict[str, float] = {}
    means: dict[str, float] = {}
    for at, good in enumerate(company):
        # Beside one model stands a ruin of the other one, so that it does know something else.
        for name, weak in ruins(members[at % 2 if len(members) > 1 else 0], one.labels).items():
            kept = f"{name} beside {'both' if len(good) > 1 else MODELS[max(0, at - 1)]}"
            best = max(one.ours(member) for member in [*good, weak])
            gains[kept] = one.ours(combine(one.labels, [*good, weak]).probabilities) - best
            mean = np.mean([*good, weak], axis=0, dtype=np.float64)
            means[kept] = one.ours(mean / mean.sum(axis=1, keepdims=True)) - best
    worst = min(gains, key=gains.__getitem__)
    fell = min(means, key=means.__getitem__)
    return [
        Row(
            f"{one.name}: with a weak member, against the best single one, at worst",
            f"{round(gains[worst], 4) + 0.0:+.4f}",
            "≥ 0",
            f"of {len(gains)} pairings: {worst}; plain mean {means[fell]:+.4f} ({fell})",
        )
    ]


def ruins(good: Floats, labels: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Weak members made from a good one, from a fixed seed."""
    rng = np.random.default_rng(0)
    count, classes = good.shape
    good = good.astype(np.float64)
    half = rng.random(count) < 0.5
    shuffled, sharp = good.copy(), good**3
    shuffled[half] = rng.permutation(good[half])
    sharp[half] = rng.permutation(sharp[half])
    moved = np.arange(classes)
    moved[: classes // 2] = np.roll(moved[: classes // 2], 1)
    blurred = 0.5 * good / good.sum(axis=1, keepdims=True) + 0.5 / classes
    made = {
        "flattened by a temperature of 6": good ** (1 / 6),
        "half of the images shuffled": shuffled,
        "half of the images shuffled, and overconfident": sharp,
        "half of the classes exchanged": good[:, moved],
        "the labels' frequencies": np.tile(np.bincount(labels, minlength=classes) / count, (count, 1)),
        "ten votes, half of them noise": rng.multinomial(10, blurred).astype(np.float64) + 0.1,
        "logits with much noise": good * np.exp(rng.normal(0, 3, good.shape)),
    }
    return {name: values / values.sum(axis=1, keepdims=True) for name, values in made.items()}


def speed_rows() -> list[Row]:
    """A million images of five classes: score, filter and rank, every measurement in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
        places = {images: _arrays(Path(folder) / str(images), images) for images in (SMALL, LARGE)}
        asked = [("ours", SMALL), *((way, LARGE) for way in ("ours", "default", "n_jobs=1", "n_jobs=1, ranked"))]
        costs: dict[tuple[str, int], list[dict[str, float]]] = {one: [] for one in asked}
        for _ in range(ROUNDS):
            for way, images in asked:
                costs[way, images].append(_cost(way, places[images]))
    seconds = {one: statistics.median(cost["seconds"] for cost in costs[one]) for one in asked}
    peak = {one: max(cost["peak"] for cost in costs[one]) for one in asked}
    above = {one: max(cost["above"] for cost in costs[one]) for one in asked}
    ours, default = ("ours", LARGE), ("default", LARGE)
    rows = [
        Row(
            f"score, filter and rank {LARGE:,} × {CLASSES}",
            f"{seconds[ours]:.2f} s",
            "",
            f"float32, one thread; interleaved, median of {ROUNDS} processes",
        )
    ]
    for way in ("default", "n_jobs=1", "n_jobs=1, ranked"):
        faster = statistics.median(
            theirs["seconds"] / own["seconds"] for theirs, own in zip(costs[way, LARGE], costs[ours], strict=True)
        )
        shown = f"cleanlab.filter.find_label_issues, {way}: {seconds[way, LARGE]:.2f} s, {peak[way, LARGE]:.0f} MB"
        rows.append(Row(f"… faster than cleanlab, {way}", f"{faster:.1f} ×", "≥ 2 ×", shown))
    return [
        *rows,
        Row(
            "… peak memory of the process",
            f"{peak[ours]:.0f} MB",
            f"≤ {peak[default]:.0f} MB",
            f"above imports and arrays {above[ours]:.0f} MB, cleanlab {above['n_jobs=1', LARGE]:.0f} MB (n_jobs=1)",
        ),
        Row(
            f"… {LARGE:,} against {SMALL:,}",
            f"{seconds[ours] / seconds['ours', SMALL]:.1f} ×",
            "≤ 10 ×",
            f"{seconds['ours', SMALL]:.3f} s for {SMALL:,}; choosing the temperature looks at 100,000 images at most",
        ),
    ]


def _arrays(place: Path, images: int) -> Path:
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=images)
    probabilities = rng.dirichlet(np.full(CLASSES, 0.3), size=images)
    probabilities[np.arange(images), labels] += 3 * rng.random(images)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    place.mkdir()
    np.save(place / "labels.npy", labels)
    np.save(place / "probabilities.npy", probabilities.astype(np.float32))
    return place


def _cost(way: str, place: Path) -> dict[str, float]:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.ranking_peer", way, str(place)],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return {name: float(value) for name, value in answer.items()}
