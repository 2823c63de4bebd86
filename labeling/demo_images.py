"""The demo's images: harmless, of two looks, some of them filed under the wrong class on purpose.

Photographs are crops of the pictures that scikit-learn and scikit-image carry; drawings are made by program.
Nothing is downloaded. The truth about the planted errors lies beside the image folder, never inside it.
"""

import csv
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from labeling.demo_drawings import MOTIFS, draw
from labeling.errors import ExportRefused, WrongUsage

PHOTOGRAPH_CLASS = "neutral"
DRAWING_CLASS = "drawings"
SPLIT_SHARES = {"train": 0.75, "validation": 0.125, "test": 0.125}
DUPLICATE_PAIRS = 6
SMALLEST_COUNT = 4 * DUPLICATE_PAIRS
RECIPE = 1
"""Raised whenever the same seed would give other pictures; a folder of an older recipe is then refused."""


@dataclass(frozen=True, slots=True)
class Source:
    """A photograph inside an installed package.

    Attributes:
        package: import name of the folder's package.
        file: path below that package.
        share: how many of the crops, relative to the other sources.
        smallest: shortest side of a crop, in pixels of the source.
        grey: whether it has no colour of its own.
        detail: share (0..1) of a crop that must have edges near by.
    """

    package: str
    file: str
    share: int
    smallest: int = 112
    grey: bool = False
    detail: float = 0.7


# Buildings, flowers, a cat, a cup, a motorcycle, launch pads, stars, coins, surfaces: no people.
SOURCES: tuple[Source, ...] = (
    Source("sklearn.datasets", "images/china.jpg", 17),
    Source("sklearn.datasets", "images/flower.jpg", 6, 130),
    Source("skimage", "data/motorcycle_left.png", 26),
    Source("skimage", "data/coffee.png", 10, 140),
    Source("skimage", "data/chelsea.png", 5, 150),
    Source("skimage", "data/rocket.jpg", 8, 130, detail=0.4),
    Source("skimage", "data/hubble_deep_field.jpg", 7, 180),
    Source("skimage", "data/coins.png", 8, 100, grey=True),
    Source("skimage", "data/brick.png", 5, 150, grey=True),
    Source("skimage", "data/gravel.png", 5, 150, grey=True),
    Source("skimage", "data/grass.png", 5, 150, grey=True),
)


@dataclass(frozen=True, slots=True)
class DemoRow:
    """The truth about one image.

    Attributes:
        path: below the image folder, with forward slashes: `train/neutral/img_0001.jpg`.
        given_label: the class folder that the file lies in.
        true_label: what it really is.
        is_error: whether the two differ.
        duplicate_of: path of the image that this one repeats, or an empty string.
    """

    path: str
    given_label: str
    true_label: str
    is_error: bool
    duplicate_of: str


@dataclass(frozen=True, slots=True)
class DemoTruth:
    """What `write_demo_images` wrote.

    Attributes:
        folder: the folder to import.
        truth_file: the CSV beside it, one `DemoRow` a line.
        rows: ordered by path.
    """

    folder: Path
    truth_file: Path
    rows: tuple[DemoRow, ...]

    @property
    def error_paths(self) -> frozenset[str]:
        """Paths of the images with a wrong given label."""
        return frozenset(row.path for row in self.rows if row.is_error)


@dataclass(frozen=True, slots=True)
class _Picture:
    """The plan of one file: where it goes, and how its pixels come about."""

    row: DemoRow
    encoded: Callable[[], bytes]


def write_demo_images(folder: Path, *, count: int = 640, error_rate: float = 0.06, seed: int = 7) -> DemoTruth:
    """Write the demo's images and the truth about them; return at once where they are there already.

    Files go to `folder/{train,validation,test}/{drawings,neutral}/img_0001.jpg` (or `.png`); the truth to
    `truth.csv` and the parameters to `demo.json`, both in the folder's parent. The images appear all at once,
    by a rename, so that a run which was killed leaves no half-filled folder. The same arguments give the
    same bytes with the same versions of Pillow and NumPy.

    Args:
        folder: where to write; it must not exist, or hold what an equal call wrote.
        count: number of files, half photographs and half drawings, six near or exact duplicates among them.
        error_rate: share (0..0.5) of files that lie in the other class's folder.
        seed: chooses crops, drawings, splits and errors.

    Raises:
        WrongUsage: `count` or `error_rate` is out of range.
        ExportRefused: `folder` holds something else; nothing in it is touched.
    """
    if count < SMALLEST_COUNT:
        raise WrongUsage(f"Expected a count of at least {SMALLEST_COUNT}, got {count}. Ask for more images.")
    if not 0 <= error_rate <= 0.5:
        raise WrongUsage(f"Expected an error rate from 0 to 0.5, got {error_rate}. Give it as a share.")
    folder = Path(folder).absolute()
    parent = folder.parent
    truth_file, facts_file = parent / "truth.csv", parent / "demo.json"
    facts = {"folder": folder.name, "recipe": RECIPE, "count": count, "error_rate": error_rate, "seed": seed}
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / f".{folder.name}.lock"):
        if folder.exists():
            return _already_written(folder, truth_file, facts_file, facts)
        unfinished = parent / f".{folder.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        pictures = _plan(count=count, error_rate=error_rate, seed=seed)
        for place in {(unfinished / picture.row.path).parent for picture in pictures}:
            place.mkdir(parents=True)
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            for _ in pool.map(partial(_write_picture, unfinished), pictures):
                pass
        rows = tuple(sorted((picture.row for picture in pictures), key=lambda row: row.path))
        _replace(truth_file, _truth_text(rows))
        _replace(facts_file, json.dumps(facts, indent=2) + "\n")
        unfinished.rename(folder)
    return DemoTruth(folder, truth_file, rows)


def read_truth(truth_file: Path) -> tuple[DemoRow, ...]:
    """Return the rows of a `truth.csv` in the file's order."""
    with truth_file.open(newline="", encoding="utf-8") as lines:
        return tuple(
            DemoRow(
                path=row["path"],
                given_label=row["given_label"],
                true_label=row["true_label"],
                is_error=row["is_error"] == "1",
                duplicate_of=row["duplicate_of"],
            )
            for row in csv.DictReader(lines)
        )


def _already_written(folder: Path, truth_file: Path, facts_file: Path, facts: dict[str, object]) -> DemoTruth:
    try:
        found = json.loads(facts_file.read_text(encoding="utf-8"))
        rows = read_truth(truth_file)
    except (OSError, ValueError, KeyError) as error:
        raise ExportRefused(
            f"Expected no folder {folder}, or one that the demo made with its {truth_file.name} and "
            f"{facts_file.name} beside it; they are not there. Move the folder away, or name another."
        ) from error
    if found != facts:
        raise ExportRefused(
            f"Expected the demo images of {facts} in {folder}, got those of {found}. "
            "Move the folder away, or name another."
        )
    return DemoTruth(folder, truth_file, rows)


def _truth_text(rows: Iterable[DemoRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(DemoRow.__slots__), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**asdict(row), "is_error": int(row.is_error)})
    return text.getvalue()


def _replace(file: Path, text: str) -> None:
    partly = file.with_name(f".{file.name}.unfinished")
    partly.write_text(text, encoding="utf-8", newline="\n")
    partly.replace(file)


def _write_picture(root: Path, picture: _Picture) -> None:
    (root / picture.row.path).write_bytes(picture.encoded())


# The plan: which picture, which folder, which name. Everything random is decided here, in one order, so that
# the threads that render have no say in the result.


def _plan(*, count: int, error_rate: float, seed: int) -> list[_Picture]:
    rng = random.Random(f"winnow demo {seed}")
    originals = count - DUPLICATE_PAIRS
    photographs = originals // 2
    truths = [PHOTOGRAPH_CLASS] * photographs + [DRAWING_CLASS] * (originals - photographs)
    images: list[Callable[[], Image.Image]] = [
        *_photographs(photographs, seed),
        *(partial(_drawing, seed, index) for index in range(originals - photographs)),
    ]
    formats = [rng.random() < (0.15 if truth == PHOTOGRAPH_CLASS else 0.4) for truth in truths]
    encoders: list[Callable[[], bytes]] = [
        partial(_encoded, image, as_png=as_png, quality=rng.randint(82, 94))
        for image, as_png in zip(images, formats, strict=True)
    ]

    # Copies: half of them the same bytes again, half smaller and encoded anew.
    copied = rng.sample(range(photographs), DUPLICATE_PAIRS // 2)
    copied += rng.sample(range(photographs, originals), DUPLICATE_PAIRS - len(copied))
    for number, origin in enumerate(copied):
        truths.append(truths[origin])
        if number % 2 == 0:
            formats.append(formats[origin])
            encoders.append(encoders[origin])
        else:
            formats.append(False)
            smaller = partial(_smaller, images[origin], rng.uniform(0.7, 0.85))
            encoders.append(partial(_encoded, smaller, as_png=False, quality=rng.randint(70, 80)))

    splits = _splits(truths, rng)
    wrong = _wrong_ones(truths, copied, round(count * error_rate), rng)
    # Shuffled numbers: neither the name nor its place in a listing gives the class or the copies away.
    numbers = rng.sample(range(1, count + 1), count)
    digits = max(4, len(str(count)))
    rows: list[DemoRow] = []
    for index, truth in enumerate(truths):
        given = truth if index not in wrong else _other(truth)
        name = f"img_{numbers[index]:0{digits}d}.{'png' if formats[index] else 'jpg'}"
        origin_path = rows[copied[index - originals]].path if index >= originals else ""
        rows.append(DemoRow(f"{splits[index]}/{given}/{name}", given, truth, given != truth, origin_path))
    return [_Picture(row, encode) for row, encode in zip(rows, encoders, strict=True)]


def _other(label: str) -> str:
    return DRAWING_CLASS if label == PHOTOGRAPH_CLASS else PHOTOGRAPH_CLASS


def _splits(truths: list[str], rng: random.Random) -> list[str]:
    """Return a split for each image, in the shares of `SPLIT_SHARES` within each class."""
    splits = [""] * len(truths)
    for label in (PHOTOGRAPH_CLASS, DRAWING_CLASS):
        members = [index for index, truth in enumerate(truths) if truth == label]
        rng.shuffle(members)
        start, so_far = 0, 0.0
        for split, share in SPLIT_SHARES.items():
            so_far += share
            end = round(len(members) * so_far)
            for index in members[start:end]:
                splits[index] = split
            start = end
    return splits


def _wrong_ones(truths: list[str], copied: list[int], errors: int, rng: random.Random) -> set[int]:
    """Choose which images lie in the wrong folder: as many of either class, two copies among them.

    One of the two is an exact copy, one a near one. Both members of a pair are never wrong
    together, since nothing in the images could then show it.
    """
    originals = len(truths) - len(copied)
    copies = list(range(originals, len(truths)))
    wrong = {rng.choice(copies[start::2]) for start in range(min(2, errors // 8))}
    for label, quota in ((PHOTOGRAPH_CLASS, errors // 2), (DRAWING_CLASS, errors - errors // 2)):
        free = [i for i in range(originals) if truths[i] == label and i not in copied]
        missing = quota - sum(truths[i] == label for i in wrong)
        wrong.update(rng.sample(free, missing))
    return wrong


# Pixels.


def _encoded(image: Callable[[], Image.Image], *, as_png: bool, quality: int) -> bytes:
    file = io.BytesIO()
    if as_png:
        image().save(file, "PNG", compress_level=6)
    else:
        image().save(file, "JPEG", quality=quality)
    return file.getvalue()


def _smaller(image: Callable[[], Image.Image], scale: float) -> Image.Image:
    original = image()
    size = (round(original.width * scale), round(original.height * scale))
    return original.resize(size, Image.Resampling.LANCZOS)


def _drawing(seed: int, index: int) -> Image.Image:
    return draw(random.Random(f"winnow demo drawing {seed} {index}"), index % len(MOTIFS))


@cache
def _source_image(source: Source) -> Image.Image:
    with resources.files(source.package).joinpath(source.file).open("rb") as file:
        return Image.open(file).convert("RGB")


def _photographs(count: int, seed: int) -> list[Callable[[], Image.Image]]:
    """Return `count` makers of photographs, each source in proportion to its share."""
    total = sum(source.share for source in SOURCES)
    makers: list[Callable[[], Image.Image]] = []
    so_far = 0
    for source in SOURCES:
        start, so_far = round(count * so_far / total), so_far + source.share
        boxes = _crops(source, round(count * so_far / total) - start, seed)
        makers += [partial(_photograph, source, box, f"{seed} {source.file} {i}") for i, box in enumerate(boxes)]
    return makers


Box = tuple[int, int, int, int]


def _crops(source: Source, count: int, seed: int) -> list[Box]:
    """Choose `count` crops with something to see in them that share as little as possible.

    Each is the best of a handful of random ones: the one whose largest overlap (intersection over union) with
    the crops before it is smallest.
    """
    rng = random.Random(f"winnow demo crops {seed} {source.file}")
    image = _source_image(source)
    detail = _detail(image)
    chosen: list[Box] = []
    while len(chosen) < count:
        best: tuple[float, Box] | None = None
        tries = 0
        while best is None or tries < 48:
            tries += 1
            box = _random_box(rng, image.size, source.smallest)
            left, top, right, bottom = box
            if tries < 200 and float(np.mean(detail[top:bottom, left:right])) < source.detail:
                continue
            overlap = max((_overlap(box, other) for other in chosen), default=0.0)
            if best is None or overlap < best[0]:
                best = (overlap, box)
        chosen.append(best[1])
    return chosen


def _detail(image: Image.Image) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Mark, (H, W), the pixels with an edge near by: clear sky and blurred ground have none."""
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    down, across = np.gradient(grey)
    edges = Image.fromarray(((np.abs(down) + np.abs(across)) > 7).astype(np.uint8) * 255)
    near: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = np.asarray(edges.filter(ImageFilter.BoxBlur(9))) > 12
    return near


def _random_box(rng: random.Random, size: tuple[int, int], smallest: int) -> Box:
    width, height = size
    shape = rng.choice((1.0, 1.0, 4 / 3, 3 / 4, 1.2, 0.85))
    # Small crops are more frequent: they overlap less, and there is more to choose from.
    short = round(smallest + (min(size) * 0.8 - smallest) * rng.random() ** 2.2)
    across, down = (round(short * shape), short) if shape >= 1 else (short, round(short / shape))
    across, down = min(across, width), min(down, height)
    left, top = rng.randint(0, width - across), rng.randint(0, height - down)
    return left, top, left + across, top + down


def _overlap(one: Box, other: Box) -> float:
    """Return intersection over union of two boxes, 0..1."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return across * down / (sum(areas) - across * down)


def _photograph(source: Source, box: Box, key: str) -> Image.Image:
    """Return a crop as another camera might have taken it: turned, lit, coloured and grained a little."""
    rng = random.Random(f"winnow demo photograph {key}")
    image = _source_image(source).crop(box)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if rng.random() < 0.4:
        # A turn by a few degrees; the margin is cut off, so that no black corners show.
        turn = rng.uniform(-7, 7)
        image = image.rotate(turn, Image.Resampling.BICUBIC)
        margin = round(max(image.size) * 0.5 * abs(np.sin(np.radians(turn)))) + 1
        image = image.crop((margin, margin, image.width - margin, image.height - margin))
    longest = rng.choice((256, 288, 320, 384, 448))
    scale = longest / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image = image.resize(size, Image.Resampling.LANCZOS)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.78, 1.22))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.85, 1.2))
    image = ImageEnhance.Color(image).enhance(0.0 if rng.random() < 0.06 else rng.uniform(0.7, 1.3))
    pixels = np.asarray(image, dtype=np.float32)
    if source.grey:
        # These are grey to begin with; a faint tone makes them look like prints.
        tone = rng.choice(((1.0, 1.0, 1.0), (1.08, 1.0, 0.86), (0.92, 1.0, 1.1), (0.95, 1.06, 0.9), (1.1, 0.97, 0.9)))
    else:
        tone = (rng.uniform(0.92, 1.08), 1.0, rng.uniform(0.9, 1.1))
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0.5, 4.5), pixels.shape[:2])
    pixels = pixels * np.asarray(tone, dtype=np.float32) + noise[:, :, None].astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
