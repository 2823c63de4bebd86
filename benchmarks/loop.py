"""What cleaning buys: a model trained on labels as people gave them, and after reviewing the worst of them.

The images and their noise are real (CIFAR-10N, `WINNOW_BENCH_DATA`), the reviewer is the truth. Measured is what the
loop trains: the head of `quick_head`, on the frozen starter model's embeddings, and on these with the shapes that
`find_issues` looks at. The same images come with two sets of labels: the majority's of three people, and the worst of
the three. Test labels are true ones throughout, and nobody learns from a test image.
"""

import csv
import io
import os
import tarfile
from collections.abc import Iterator
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
from inference.metrics import mcnemar
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
    """One seed: what was corrected, the answers on test, and how the first model's accuracy on validation looks.

    Attributes:
        pool: how many images were there to review.
        corrected: labels that a review changed.
        right: whether each test image is answered rightly, by the labels that were learned from.
        looks: the accuracy on validation of the model that learned the labels as given, measured on those labels, on
            the labels after a review, and on the true ones.
    """

    pool: int
    corrected: dict[str, int]
    right: dict[str, Bools]
    looks: dict[str, float]


def run() -> None:
    data = os.environ.get("WINNOW_BENCH_DATA")
    if not data:
        print("WINNOW_BENCH_DATA is not set: what cleaning buys on real label noise is left out.")
        return
    archive = Path(data) / _ARCHIVE
    rows: list[Row] = []
    with real_noise(archive) as real:
        shapes = np.stack([_shapes(path) for path in real.paths])
        splits = np.array([path.parts[-3] for path in real.paths])
        embeddings = real.embeddings.astype(np.float32)
        both = np.hstack([embeddings, shapes.astype(np.float32)])
        noisier = worst_labels(archive, real)
        for noise, given, features, name in (
            ("9 % noise", real.given, embeddings, "embeddings"),
            ("9 % noise", real.given, both, "embeddings and shapes"),
            ("40 % noise", noisier, both, "embeddings and shapes"),
        ):
            trials = [trial(real, given, splits, shapes, features, seed) for seed in SEEDS]
            rows += list(rows_of(f"{noise}, {name}", trials))
    show("What cleaning buys: the loop with an oracle reviewer", rows)


def worst_labels(archive: Path, real: RealNoise) -> Integers:
    """The label of whoever of three people was wrong, where any of them was; the true one of images without these."""
    with tarfile.open(archive) as tar:
        folder = archive.name.removesuffix(".tar.gz")
        file = tar.extractfile(f"{folder}/truth.csv")
        assert file is not None
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")))
    classes = sorted({row["given_label"] for row in rows})
    return np.array(
        [
            classes.index(row["worst_label"]) if row["worst_label"] else true
            for row, true in zip(rows, real.true.tolist(), strict=True)
        ]
    )


def trial(
    real: RealNoise,
    labels_given: Integers,
    splits: npt.NDArray[np.str_],
    shapes: npt.NDArray[np.float16],
    features: Features,
    seed: int,
) -> Trial:
    """Train on each version of the labels and answer the test images."""
    chance = np.random.default_rng(seed)
    train = np.flatnonzero(splits == "train")
    drawn = np.sort(chance.choice(train, round(KEPT * len(train)), replace=False))
    pool = np.concatenate([drawn, np.flatnonzero(splits == "validation")])
    test = np.flatnonzero(splits == "test")
    given, true = labels_given[pool], real.true[pool]
    # As find_issues does it: out of sample, on embeddings and shapes, over everything that is reviewed.
    judged = out_of_sample([real.embeddings[pool], shapes[pool]], given, n_classes=CLASSES, seed=seed)
    worst = np.argsort(label_quality(given, judged.probabilities), kind="stable")
    versions = {"as given": given, "all true": true}
    for way, order in (("worst", worst), ("random", chance.permutation(len(pool)))):
        for share in SHARES:
            reviewed = order[: round(share * len(pool))]
            versions[f"{way} {share:.0%}"] = labels = given.copy()
            labels[reviewed] = true[reviewed]
    validation = splits[pool] == "validation"
    right, looks = {}, {}
    for name, labels in versions.items():
        head = fit_head(features[pool], labels, validation, n_classes=CLASSES)
        right[name] = (features[test] @ head.kernel + head.bias).argmax(axis=1) == real.true[test]
        if name == "as given":
            said = (features[pool] @ head.kernel + head.bias).argmax(axis=1)[validation]
            looks = {version: float((said == others[validation]).mean()) for version, others in versions.items()}
    corrected = {name: int((labels != given).sum()) for name, labels in versions.items()}
    return Trial(len(pool), corrected, right, looks)


def rows_of(name: str, trials: list[Trial]) -> Iterator[Row]:
    """The curve of one kind of head and noise, means over the seeds."""
    before = _mean(trials, "as given")
    how = f"{trials[0].pool:,} images to review, 1,000 to test, mean of {len(SEEDS)} seeds"
    yield Row(f"{name}: labels as given", f"{before:.1%} of test right", "", how)
    for share in SHARES:
        for way, words, wanted in (("worst", "the worst", "more than random"), ("random", "at random", "")):
            key = f"{way} {share:.0%}"
            after = _mean(trials, key)
            corrected = fmean(one.corrected[key] for one in trials)
            yield Row(
                f"{name}: {share:.0%} reviewed, {words}",
                f"{after:.1%} ({100 * (after - before):+.1f} points), {corrected:,.0f} labels corrected",
                wanted,
                f"seeds: {', '.join(f'{one.right[key].mean():.1%}' for one in trials)}",
            )
    ceiling = _mean(trials, "all true")
    corrected = fmean(one.corrected["all true"] for one in trials)
    points = 100 * (ceiling - before)
    yield Row(f"{name}: every label true", f"{ceiling:.1%} ({points:+.1f} points), {corrected:,.0f} corrected", "", how)
    yield _tested(name, trials)
    given, cleaned, truly = (fmean(one.looks[key] for one in trials) for key in ("as given", "worst 20%", "all true"))
    yield Row(
        f"{name}: what validation says of the first model",
        f"{given:.1%} as given, {cleaned:.1%} after 20 % of review, {truly:.1%} truly",
        "",
        "the same answers, measured on three versions of the validation labels",
    )


def _tested(name: str, trials: list[Trial]) -> Row:
    cleaned, given = (np.concatenate([one.right[key] for one in trials]) for key in ("worst 20%", "as given"))
    against = mcnemar(cleaned, given)
    point, low, high = (
        100 * part for part in (against.difference.point, against.difference.low, against.difference.high)
    )
    return Row(
        f"{name}: worst 20 % reviewed against as given",
        f"{point:+.1f} points ({low:+.1f} to {high:+.1f}), McNemar p = {against.p_value:.2g}",
        "",
        "over all seeds, which share their test images",
    )


def _mean(trials: list[Trial], version: str) -> float:
    return fmean(float(one.right[version].mean()) for one in trials)


def _shapes(path: Path) -> npt.NDArray[np.float16]:
    with Image.open(path) as picture:
        return shape_features(picture)
