"""Duplicates, outliers and image quality: speed and memory at 100,000 images, and what is found among real pictures."""

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from cleanlab.outlier import OutOfDistribution
from PIL import Image, ImageFilter
from sklearn.metrics import roc_auc_score

from benchmarks.commands import CHECKOUT
from benchmarks.copies import COPIES, tiles
from benchmarks.results import Row, show
from inference.duplicates import MIN_DHASH_BITS, group_near_duplicates
from inference.image_quality import QualityColumns, quality_findings
from inference.inspection import ImageFacts, inspect_image
from inference.models.fetch import fetch_model
from inference.outliers import find_outliers
from inference.predict import Scored, score_images
from inference.types import BoolArray, Int64Array

STARTER = "nsfwjs-mobilenet-v2"
IMAGES = 100_000
DIMENSIONS = 1280
PHASH_LIMITS = (8, 10, 12)
"""Differing bits at which plain phash is commonly used; 10 is imagededup's default."""

_ARCHIVE = "cifar10n_aggre.tar.gz"
_CHILD = "import benchmarks.duplicates as b, sys; b.measure(sys.argv[1], int(sys.argv[2]))"
_FIGURES = ("brightness", "contrast", "sharpness", "entropy", "width", "height")

Answer = TypeVar("Answer")
Float16Array = npt.NDArray[np.float16]


def run() -> None:
    rows = speed_rows()
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as name:
        pictures = _pictures(Path(name))
    rows += copy_rows(pictures)
    if (~pictures.is_tile).any():
        rows += outlier_rows(pictures)
    show("Duplicates, outliers, image quality", [*rows, *quality_rows(pictures)])


# Speed and memory, in processes of their own.


def speed_rows() -> list[Row]:
    how = f"{IMAGES:,} random hashes, a tenth of them altered copies, in a process of its own"
    hashes, both, fewer = (_measured(*what) for what in (("hashes", IMAGES), ("both", IMAGES), ("both", IMAGES // 4)))
    outliers = _measured("outliers", IMAGES)
    embedded = f"with embeddings of {DIMENSIONS} × float16"
    return [
        Row(f"grouping {IMAGES:,} images by hashes", f"{hashes['seconds']:.1f} s", "", how),
        Row(f"grouping {IMAGES:,} images by hashes and embeddings", f"{both['seconds']:.1f} s", "< 60 s", embedded),
        Row(
            f"grouping {IMAGES:,} images, peak memory of the process",
            f"{both['megabytes']:,.0f} MB",
            "< 1,500 MB",
            f"{both['before']:,.0f} MB before, of which {IMAGES * DIMENSIONS * 2 / 2**20:,.0f} MB embeddings",
        ),
        Row(
            f"grouping, {IMAGES:,} against {IMAGES // 4:,} images",
            f"{both['seconds'] / fewer['seconds']:.1f} ×",
            "< 16 × (quadratic)",
            f"{fewer['seconds']:.1f} s",
        ),
        Row("copies found among them", f"{both['found']:.1%}", "", f"by hashes alone {hashes['found']:.1%}"),
        Row(f"outliers among {IMAGES:,} images", f"{outliers['seconds']:.1f} s", "", "ten nearest neighbours of each"),
        Row("outliers, peak memory of the process", f"{outliers['megabytes']:,.0f} MB", "", "embeddings included"),
    ]


def _measured(what: str, count: int) -> dict[str, float]:
    ended = subprocess.run(
        [sys.executable, "-c", _CHILD, what, str(count)], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    answer: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def measure(what: str, count: int) -> None:
    """What the child does; prints its figures as JSON."""
    phash, dhash, embeddings, originals = synthetic(count)
    before = _peak_megabytes()
    began = time.perf_counter()
    found = np.nan
    if what == "outliers":
        find_outliers(embeddings)
    else:
        groups = group_near_duplicates(phash, dhash, None, embeddings if what == "both" else None)
        found = float((groups[count - len(originals) :] == originals).mean())
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "megabytes": _peak_megabytes(), "before": before, "found": found}))


def synthetic(count: int) -> tuple[Int64Array, Int64Array, Float16Array, Int64Array]:
    """phash, dhash, embeddings and, for the last tenth, of which image each is a copy.

    Embeddings lie around 200 directions and have no negative value, as those of a network's last pooling.
    """
    rng = np.random.default_rng(0)
    kinds = rng.gamma(0.6, 1, (200, DIMENSIONS)).astype(np.float32)
    embeddings = np.empty((count, DIMENSIONS), dtype=np.float16)
    for start in range(0, count, 4096):
        part = embeddings[start : start + 4096]
        part[:] = kinds[rng.integers(0, 200, len(part))] * rng.gamma(2, 0.5, part.shape)
    hashes = rng.integers(0, 2**64, (2, count), dtype=np.uint64)
    copies = count // 10
    originals = rng.integers(0, count - copies, copies)
    for hashed in hashes:
        flips = np.zeros(copies, dtype=np.uint64)
        for _ in range(10):
            flips ^= (rng.random(copies) < 0.6).astype(np.uint64) << rng.integers(0, 64, copies, dtype=np.uint64)
        hashed[count - copies :] = hashed[originals] ^ flips
    for place in range(0, copies, 4096):
        part = embeddings[count - copies + place : count - copies + place + 4096]
        part[:] = embeddings[originals[place : place + len(part)]] * rng.normal(1, 0.05, part.shape)
    phash, dhash = hashes.view(np.int64)
    return phash, dhash, embeddings, originals


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)


# Copies of real photographs.


@dataclass(frozen=True)
class Pictures:
    """Tiles of photographs, their altered copies behind each, and small photographs of other things.

    Attributes:
        facts: of each picture's file.
        embeddings: (N, D).
        base: (N,) the picture that each is, or is a copy of.
        copy: (N,) how it was altered; empty where it was not.
        is_tile: (N,) whether it is a tile or a copy of one.
    """

    facts: Sequence[ImageFacts]
    embeddings: Float16Array
    base: Int64Array
    copy: npt.NDArray[np.str_]
    is_tile: BoolArray

    def column(self, name: str) -> npt.NDArray[Any]:
        return np.array([getattr(facts, name) for facts in self.facts])


def _pictures(folder: Path) -> Pictures:
    rng = np.random.default_rng(0)
    files: list[tuple[bytes, int, str, bool]] = []
    for base, tile in enumerate(tiles()):
        png = io.BytesIO()
        tile.save(png, "PNG")
        files.append((png.getvalue(), base, "", True))
        files += [(make(tile, rng), base, name, True) for name, make in COPIES.items()]
    files += [(content, 10_000 + number, "", False) for number, content in enumerate(_small_photographs())]
    paths = [folder / f"{number:06}" for number in range(len(files))]
    for path, (content, *_) in zip(paths, files, strict=True):
        path.write_bytes(content)
    model = fetch_model(STARTER, CHECKOUT / "var" / "models", cache=CHECKOUT / "var" / "cache").path
    embeddings = [answer.embedding for answer in score_images(model, enumerate(paths)) if isinstance(answer, Scored)]
    return Pictures(
        [inspect_image(path) for path in paths],
        np.stack(embeddings),
        np.array([base for _, base, _, _ in files]),
        np.array([copy for _, _, copy, _ in files]),
        np.array([is_tile for *_, is_tile in files]),
    )


def _small_photographs() -> list[bytes]:
    data = os.environ.get("WINNOW_BENCH_DATA")
    if not data:
        print("WINNOW_BENCH_DATA is not set: copies are looked for without 8,000 other photographs among them.")
        return []
    with tarfile.open(Path(data) / _ARCHIVE) as archive:
        members = sorted((one for one in archive if one.name.endswith(".jpg")), key=lambda one: one.name)
        return [file.read() for member in members if (file := archive.extractfile(member))]


def copy_rows(pictures: Pictures) -> list[Row]:
    phash, dhash = pictures.column("phash"), pictures.column("dhash")
    pixels = pictures.column("pixel_sha256").tolist()
    grouped = {
        "hashes and embeddings": group_near_duplicates(phash, dhash, pixels, pictures.embeddings),
        "hashes alone": group_near_duplicates(phash, dhash, pixels),
    } | {f"phash ≤ {limit}": _group_by_phash(phash, limit) for limit in PHASH_LIMITS}
    ours, *others = grouped
    sizes = f"{pictures.is_tile.sum() // (len(COPIES) + 1)} tiles of photographs"
    rows = []
    for name in COPIES:
        share = {way: _share_found(pictures, groups, name) for way, groups in grouped.items()}
        beside = ", ".join(f"{way} {share[way]:.1%}" for way in others)
        rows.append(Row(f"copies found: {name}", f"{share[ours]:.1%}", "", beside))
    right = {way: _share_right(pictures, groups) for way, groups in grouped.items()}
    beside = ", ".join(f"{way} {right[way]:.2%}" for way in others)
    rows.append(Row("grouped tiles and copies that are copies of their centre", f"{right[ours]:.2%}", "", beside))
    small = np.flatnonzero(~pictures.is_tile)
    if len(small):
        joined = {way: int((groups[small] != small).sum()) for way, groups in grouped.items()}
        rows.append(
            Row(
                f"of {len(small):,} small photographs that were not altered, grouped",
                f"{joined[ours]:,}",
                "",
                ", ".join(f"{way} {joined[way]:,}" for way in others) + "; CIFAR-10 holds copies of its own",
            )
        )
    bits = np.bitwise_count(dhash.view(np.uint64))
    flat = pictures.is_tile & (pictures.copy == "") & (np.minimum(bits, 64 - bits) < MIN_DHASH_BITS)
    named = (
        f"{sizes}, {flat.sum()} of them without structure, which only equal pixels group; {len(small):,} other "
        "photographs among them; imagededup is not compared: it needs PyTorch"
    )
    return [Row("copies of real photographs", f"{(pictures.copy != '').sum():,}", "", named), *rows]


def _group_by_phash(phash: Int64Array, limit: int) -> Int64Array:
    """Groups around centres, as ours, by plain phash."""
    bits, groups = phash.view(np.uint64), np.arange(len(phash))
    for centre in range(len(phash)):
        if groups[centre] == centre:
            members = centre + 1 + np.flatnonzero(np.bitwise_count(bits[centre + 1 :] ^ bits[centre]) <= limit)
            members = members[groups[members] == members]
            groups[members] = centre
    return groups


def _share_found(pictures: Pictures, groups: Int64Array, name: str) -> float:
    """Of the copies made in one way, those in the group of what they are copies of."""
    originals = np.flatnonzero(pictures.is_tile & (pictures.copy == ""))
    copies = np.flatnonzero(pictures.copy == name)
    return float((groups[copies] == groups[originals[pictures.base[copies]]]).mean())


def _share_right(pictures: Pictures, groups: Int64Array) -> float:
    """Of the tiles and copies that joined a centre, those that are, or are a copy of, the same tile as it."""
    joined = np.flatnonzero(pictures.is_tile & (groups != np.arange(len(groups))))
    return float((pictures.base[joined] == pictures.base[groups[joined]]).mean())


# Outliers and image quality.


def outlier_rows(pictures: Pictures) -> list[Row]:
    wanted = pictures.copy == ""
    embeddings, foreign = pictures.embeddings[wanted], pictures.is_tile[wanted]
    seconds, ours = _timed(lambda: find_outliers(embeddings))
    theirs_seconds, theirs = _timed(
        lambda: OutOfDistribution(params={"k": 10}).fit_score(features=embeddings.astype(np.float32), verbose=False)
    )
    return [
        Row(
            f"AUROC of {foreign.sum()} large photographs among {(~foreign).sum():,} of 32×32 as outliers",
            f"{roc_auc_score(foreign, -ours.score):.3f}",
            "",
            f"{seconds:.1f} s; cleanlab's {roc_auc_score(foreign, -theirs):.3f}, {theirs_seconds:.1f} s",
        ),
        Row(
            "marked as outliers",
            f"{ours.is_outlier[foreign].mean():.0%} of the large",
            "",
            f"{ours.is_outlier[~foreign].mean():.2%} of the small",
        ),
    ]


def quality_rows(pictures: Pictures) -> list[Row]:
    rows = []
    for name, among in (("tiles of photographs", pictures.is_tile), ("small photographs", ~pictures.is_tile)):
        places = np.flatnonzero(among & (pictures.copy == ""))
        if len(places):
            found = quality_findings(_columns([pictures.facts[place] for place in places.tolist()]))
            kinds = sorted({one.kind for one in found})
            counts = ", ".join(f"{kind} {sum(one.kind == kind for one in found)}" for kind in kinds)
            with_any = len({one.index for one in found})
            rows.append(
                Row(f"{name} with a finding of quality", f"{with_any} of {len(places):,}", "", counts or "none")
            )
    sharp = [tile for tile in tiles() if _is_sharp(tile)]
    for radius in (2, 3, 4):
        blurred = [tile.filter(ImageFilter.GaussianBlur(radius * max(1.0, max(tile.size) / 320))) for tile in sharp]
        found = quality_findings(_columns([_facts(tile) for tile in blurred]))
        share = sum(one.kind == "blurry" for one in found) / len(sharp)
        how = f"{len(sharp)} tiles that were sharp, radius at a long side of 320"
        rows.append(Row(f"blurred by a Gaussian of {radius} pixels: called blurry", f"{share:.0%}", "", how))
    return rows


def _columns(facts: Sequence[ImageFacts]) -> QualityColumns:
    return QualityColumns(**{name: np.array([getattr(one, name) for one in facts]) for name in _FIGURES})


def _is_sharp(tile: Image.Image) -> bool:
    facts = _facts(tile)
    return facts.contrast >= 0.1 and facts.sharpness >= 5e-4


def _facts(picture: Image.Image) -> ImageFacts:
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
        path = Path(folder) / "picture.png"
        picture.save(path)
        return inspect_image(path)


def _timed(call: Callable[[], Answer]) -> tuple[float, Answer]:
    began = time.perf_counter()
    answer = call()
    return time.perf_counter() - began, answer
