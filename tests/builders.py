"""Small real things for tests: image files, and rows as the pipeline would have written them."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Picture
from PIL import ImageDraw

from labeling.actions.datasets import register_taxonomy
from labeling.models import Dataset, Image, ImageRoot, ReviewItem, Run, RunKind, RunState, TaxonomyClass
from labeling.taxonomies import load_taxonomy


def write_picture(path: Path, *, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    """A picture of coloured rectangles that differs from that of any other seed; the format follows the suffix."""
    chance = random.Random(seed)
    picture = Picture.new("RGB", size, tuple(chance.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        left, top = chance.randrange(size[0]), chance.randrange(size[1])
        box = (left, top, left + chance.randrange(4, size[0]), top + chance.randrange(4, size[1]))
        draw.rectangle(box, fill=tuple(chance.randrange(256) for _ in range(3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def write_class_folders(
    root: Path, counts: dict[str, int], *, first_seed: int = 0, size: tuple[int, int] = (64, 48)
) -> Path:
    """`root/<name>/img_NN.png`, `counts[name]` of them, where a name is a class or `split/class`."""
    seed = first_seed
    for name, count in counts.items():
        for number in range(count):
            write_picture(root / name / f"img_{number:03}.png", seed=seed, size=size)
            seed += 1
    return root


def make_dataset(
    slug: str = "looks", *, items: int = 0, taxonomy: str = "five", splits: Sequence[str] = ("train",)
) -> Dataset:
    """A dataset with `items` ranked images that have no file; image i was given class i mod K, suggested the next."""
    dataset = Dataset.objects.create(
        slug=slug, title=slug.capitalize(), taxonomy=register_taxonomy(load_taxonomy(taxonomy))
    )
    if items:
        rank_images(dataset, add_images(dataset, items, splits=splits))
    return dataset


def add_images(dataset: Dataset, count: int, *, splits: Sequence[str] = ("train",), start: int = 0) -> list[Image]:
    root, _ = ImageRoot.objects.get_or_create(dataset=dataset, path="/nowhere")
    classes = class_list(dataset)
    return Image.objects.bulk_create(
        Image(
            dataset=dataset,
            root=root,
            path=f"img_{number:04}.jpg",
            sha256=hashlib.sha256(f"{dataset.slug} {number}".encode()).hexdigest(),
            byte_size=1000,
            modified_ns=1,
            width=64,
            height=48,
            format="JPEG",
            mode="RGB",
            phash=_spread(number),
            dhash=_spread(number + 7919),
            brightness=0.5,
            contrast=0.5,
            sharpness=0.5,
            entropy=5.0,
            split=splits[number % len(splits)],
            given_class=classes[number % len(classes)],
            current_class=classes[number % len(classes)],
        )
        for number in range(start, start + count)
    )


def rank_images(dataset: Dataset, images: Sequence[Image], *, suspected: bool = True) -> list[ReviewItem]:
    classes = class_list(dataset)
    run = Run.objects.create(
        dataset=dataset, kind=RunKind.FIND_ISSUES, state=RunState.DONE, summary={"model": "nsfwjs-mobilenet-v2 v1"}
    )
    return ReviewItem.objects.bulk_create(
        ReviewItem(
            dataset=dataset,
            image=image,
            given_class_id=image.given_class_id,
            run=run,
            label_quality=(position + 1) / (len(images) + 2),
            priority=(position + 1) / (len(images) + 2),
            risk=1 - (position + 1) / (len(images) + 2),
            suspected=suspected,
            suggested_class=classes[(classes.index(image.given_class) + 1) % len(classes)],
            reason=f"labelled {image.given_class}; five-fold model says something else, 97 %",
        )
        for position, image in enumerate(images)
    )


def class_list(dataset: Dataset) -> list[TaxonomyClass]:
    return list(dataset.taxonomy.classes.order_by("index"))


def _spread(number: int) -> int:
    """A signed 64-bit number far, bit for bit, from that of any other input."""
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "big", signed=True)
