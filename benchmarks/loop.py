"""What cleaning buys: a model trained on labels as people gave them, and after reviewing the worst of them.

The images and their noise are real (CIFAR-10N, `WINNOW_BENCH_DATA`), the reviewer is the truth. Measured is what the
loop trains: the head of `quick_head`, on the frozen starter model's embeddings, and on these with the shapes that
`find_issues` looks at. Test labels are true ones throughout, and nobody learns from a test image.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.finding import RealNoise, real_noise
from benchmarks.results import Row, show
from inference.cross_validation import out_of_sample
from inference.head import fit_head
from inference.label_quality import label_quality
from inference.metrics import mcnemar, measure
from inference.shapes import shape_features

SHARES = (0.10, 0.20)
SEEDS = (0, 1, 2)
KEPT = 0.9
"""Of the training images each seed draws so many: a head by itself knows no chance."""

CLASSES = 10
_ARCHIVE = "cifar10n_aggre.tar.gz"

Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """One seed: the images to learn from and to validate on, the labels after a review, and the answers on test."""

    pool: Integers
    found: dict[str, int]
    right: dict[str, Bools]
    f1: dict[str, float]


def run() -> None:
    data = os.environ.get("WINNOW_BENCH_DATA")
    if not data:
        print("WINNOW_BENCH_DATA is not set: what cleaning buys on real label noise is left out.")
        return
    with real_noise(Path(data) / _ARCHIVE) as real:
        shapes = np.stack([_shapes(path) for path in real.paths])
        splits = np.array([path.parts[-3] for path in real.paths])
        rows: list[Row] = []
        embeddings = real.embeddings.astype(np.float32)
        both = np.hstack([embeddings, shapes.astype(np.float32)])
        for name, features in (("embeddings", embeddings), ("embeddings and shapes", both)):
            trials = [trial(real, splits, shapes, features, seed) for seed in SEEDS]
            rows += list(rows_of(name, trials, real))
    show("What cleaning buys: the loop with an oracle reviewer", rows)


def trial(real: RealNoise, splits: npt.NDArray[np.str_], shapes: Features, features: Features, seed: int) -> Trial:
    """Train on each version of the labels and answer the test images."""
    chance = np.random.default_rng(seed)
    train = np.flatnonzero(splits == "train")
    drawn = np.sort(chance.choice(train, round(KEPT * len(train)), replace=False))
    pool = np.concatenate([drawn, np.flatnonzero(splits == "validation")])
    test = np.flatnonzero(splits == "test")
    given, true = real.given[pool], real.true[pool]
    # As find_issues does it: out of sample, on embeddings and shapes, over everything that is reviewed.
    judged = out_of_sample([real.embeddings[pool], shapes[pool]], given, n_classes=CLASSES, seed=seed)
    worst = np.argsort(label_quality(given, judged.probabilities), kind="stable")
    versions = {"as given": given, "all true": true}
    found = {"as given": 0, "all true": int((given != true).sum())}
    for way, order in (("worst", worst), ("random", chance.permutation(len(pool)))):
        for share in SHARES:
            reviewed = order[: round(share * len(pool))]
            labels = given.copy()
            labels[reviewed] = true[reviewed]
            versions[f"{way} {share:.0%}"] = labels
            found[f"{way} {share:.0%}"] = int((given[reviewed] != true[reviewed]).sum())
    right, f1 = {}, {}
    validation = splits[pool] == "validation"
    for name, labels in versions.items():
        head = fit_head(features[pool], labels, validation, n_classes=CLASSES)
        scores = features[test] @ head.kernel + head.bias
        probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        right[name] = probabilities.argmax(axis=1) == real.true[test]
        f1[name] = measure(real.true[test], probabilities).f1
    return Trial(pool, found, right, f1)


def rows_of(name: str, trials: list[Trial], real: RealNoise) -> Iterator[Row]:
    images, wrong = len(trials[0].pool), trials[0].found["all true"]
    how = f"head on {name}; {images:,} images, about {wrong} labels wrong; 1,000 to test, mean of {len(SEEDS)} seeds"
    before = _mean(trials, lambda one: one.right["as given"].mean())
    yield Row(f"labels as given, {name}", f"{before:.1%} of test right", "", how)
    for share in SHARES:
        for way in ("worst", "random"):
            key = f"{way} {share:.0%}"
            each = ", ".join(f"{one.right[key].mean():.1%}" for one in trials)
            accuracy = _mean(trials, lambda one, key=key: one.right[key].mean())  # type: ignore[misc]
            repaired = _mean(trials, lambda one, key=key: one.found[key])  # type: ignore[misc]
            said = "of the worst" if way == "worst" else "drawn at random"
            yield Row(
                f"{share:.0%} reviewed, {said}, {name}",
                f"{accuracy:.1%} ({100 * (accuracy - before):+.1f} points), {repaired:.0f} labels corrected",
                "more than random" if way == "worst" else "",
                f"seeds: {each}",
            )
    ceiling = _mean(trials, lambda one: one.right["all true"].mean())
    yield Row(f"every label true, {name}", f"{ceiling:.1%} ({100 * (ceiling - before):+.1f} points)", "", how)
    together = {key: np.concatenate([one.right[key] for one in trials]) for key in trials[0].right}
    against = mcnemar(together["worst 20%"], together["as given"])
    low, high = against.difference.low, against.difference.high
    yield Row(
        f"worst 20 % against as given, {name}",
        f"{100 * against.difference.point:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})",
        "",
        f"McNemar p = {against.p_value:.2g}, over all seeds, which share test images: too narrow for other data",
    )


def _mean(trials: list[Trial], figure: Callable[[Trial], float]) -> float:
    return fmean(float(figure(one)) for one in trials)


def _shapes(path: Path) -> npt.NDArray[np.float16]:
    with Image.open(path) as picture:
        return shape_features(picture)
