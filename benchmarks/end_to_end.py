"""The main job, end to end: the demo's ranking, and 8,000 real images from folders to an export."""

import csv
import os
import shutil
import sqlite3
import statistics
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sklearn.metrics import average_precision_score

from benchmarks.commands import Cost, Home
from benchmarks.results import Row, show

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
REPETITIONS = 3
_ARCHIVE = "cifar10n_aggre.tar.gz"


def run() -> None:
    rows = demo_rows()
    data = os.environ.get("WINNOW_BENCH_DATA")
    if data:
        rows += real_rows(Path(data) / _ARCHIVE)
    else:
        print("WINNOW_BENCH_DATA is not set: the figures on real label noise are left out.")
    show("The main job, end to end", rows)


def demo_rows() -> list[Row]:
    home = Home()
    try:
        facts = home.run("demo").facts
    finally:
        home.close()
    planted = f"{facts['planted']} planted errors among {facts['images']} images"
    return [
        Row("demo: planted errors in the first 8 % of the ranking", f"{facts['found_share']:.1%}", "≥ 95 %", planted),
        Row("demo: planted errors in the first 8 % of the queue", f"{facts['queued_share']:.1%}", "≥ 95 %", planted),
        Row(f"demo: planted errors in the first {facts['first']}", f"{facts['found_first']}", "", planted),
    ]


def real_rows(archive: Path) -> list[Row]:
    """Import, score, rank, cut and export; the small and the large set take turns, so that drift hits both."""
    with _extracted(archive) as folder:
        small = _subset(folder, 2000)
        peaks: dict[int, list[float]] = {2000: [], 8000: []}
        rates: dict[str, list[float]] = {"import": [], "score": [], "find": [], "cut": [], "export": []}
        precision = 0.0
        for _ in range(REPETITIONS):
            for images, source in ((2000, small), (8000, folder / "images")):
                costs, ranked = _whole_way(source, folder / "cifar.toml")
                peaks[images].append(max(costs["import"].peak_megabytes, costs["score"].peak_megabytes))
                if images == 8000:
                    precision = _average_precision(ranked, folder / "truth.csv")
                    for step, cost in costs.items():
                        rates[step].append(images / cost.seconds)
    medians = {step: statistics.median(values) for step, values in rates.items()}
    low, high = (statistics.median(peaks[images]) for images in (2000, 8000))
    how = f"cifar10n_aggre, 8,000 real 32×32 images, whole commands, median of {REPETITIONS}"
    return [
        Row("import", f"{medians['import']:,.0f} images/s", "", how),
        Row("scoring (MobileNetV2 224, embeddings too)", f"{medians['score']:,.0f} images/s", "", how),
        Row("finding issues", f"{medians['find']:,.0f} images/s", "", how),
        Row("cutting a release", f"{medians['cut']:,.0f} images/s", "", how),
        Row("export as class folders", f"{medians['export']:,.0f} images/s", "", how),
        Row("average precision of the ranking", f"{precision:.3f}", "", "against truth.csv, 624 wrong labels"),
        Row("peak memory, import and scoring, 8,000 images", f"{high:,.0f} MB", "< 1,500 MB", "the larger of the two"),
        Row("peak memory, 8,000 against 2,000 images", f"{high / low:.3f} ×", "≤ 1.10 ×", f"{low:,.0f} MB at 2,000"),
    ]


def _whole_way(source: Path, taxonomy: Path) -> tuple[dict[str, Cost], list[tuple[str, float]]]:
    home = Home()
    try:
        home.run("fetch_model", "nsfwjs-mobilenet-v2")
        costs = {
            "import": home.run("import_images", str(source), "--dataset", "c", "--taxonomy", str(taxonomy)),
            "score": home.run("score", "c"),
            "find": home.run("find_issues", "c"),
            "cut": home.run("cut_release", "c"),
            "export": home.run("export_release", "c", "1.0", str(home.path / "out")),
        }
        return costs, _ranking(home)
    finally:
        home.close()


def _ranking(home: Home) -> list[tuple[str, float]]:
    connection = sqlite3.connect(home.path / "winnow.sqlite3")
    try:
        return connection.execute(
            "SELECT path, label_quality FROM labeling_reviewitem JOIN labeling_image ON image_id = labeling_image.id"
        ).fetchall()
    finally:
        connection.close()


def _average_precision(ranked: list[tuple[str, float]], truth_file: Path) -> float:
    with truth_file.open(newline="") as file:
        wrong = {row["file"] for row in csv.DictReader(file) if row["is_error"] == "1"}
    return float(average_precision_score([path in wrong for path, _ in ranked], [-quality for _, quality in ranked]))


@contextmanager
def _extracted(archive: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="winnow-bench-data-") as name:
        folder = Path(name)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        (folder / archive.name.removesuffix(".tar.gz")).rename(folder / "images")
        (folder / "images" / "truth.csv").rename(folder / "truth.csv")
        classes = ", ".join(f'"{name}"' for name in CIFAR)
        (folder / "cifar.toml").write_text(f'title = "CIFAR-10"\nclasses = [{classes}]\n')
        yield folder


def _subset(folder: Path, count: int) -> Path:
    """The first `count` images by name, a quarter of every class."""
    small = folder / "small"
    for class_folder in sorted((folder / "images").glob("*/*")):
        files = sorted(class_folder.iterdir())
        target = small / class_folder.relative_to(folder / "images")
        target.mkdir(parents=True)
        for path in files[: round(len(files) * count / 8000)]:
            shutil.copy(path, target)
    return small
