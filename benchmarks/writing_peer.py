"""What writing a run's predictions costs, in a process and a home (WINNOW_HOME) of its own.

`python -m benchmarks.writing_peer COUNT` prints one line of JSON: images written a second, and bytes an image.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import django
import numpy as np

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewer.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from labeling.actions.datasets import dataset_for_import  # noqa: E402
from labeling.actions.predictions import NewPrediction, add_predictions  # noqa: E402
from labeling.actions.runs import running  # noqa: E402
from labeling.management.base import bring_database_up_to_date  # noqa: E402
from labeling.models import Image, ImageRoot, ModelVersion, RunKind  # noqa: E402
from labeling.pipeline.embeddings import EmbeddingFile  # noqa: E402
from labeling.pipeline.scoring import CHUNK  # noqa: E402
from labeling.taxonomies import load_taxonomy  # noqa: E402

EMBEDDING_SIZE = 1280


def main() -> None:
    count = int(sys.argv[1])
    Path(settings.WINNOW_HOME).mkdir(parents=True, exist_ok=True)
    bring_database_up_to_date()
    empty = database_bytes()
    dataset = dataset_for_import("writing", load_taxonomy("five"))
    root = ImageRoot.objects.create(dataset=dataset, path="/data/images")
    chance = random.Random(0)
    given = dataset.taxonomy.classes.first()
    images = Image.objects.bulk_create(
        [
            Image(
                dataset=dataset,
                root=root,
                path=f"train/neutral/image_{number:09}.jpg",
                sha256=f"{chance.getrandbits(256):064x}",
                split="train",
                given_class=given,
                current_class=given,
                byte_size=chance.randrange(20_000, 400_000),
                modified_ns=chance.randrange(1 << 60),
                width=640,
                height=480,
                format="JPEG",
                mode="RGB",
                phash=chance.randrange(-(1 << 63), 1 << 63),
                dhash=chance.randrange(-(1 << 63), 1 << 63),
                brightness=chance.random(),
                contrast=chance.random(),
                sharpness=chance.random(),
                entropy=chance.random(),
            )
            for number in range(count)
        ],
        batch_size=1000,
    )
    with_images = database_bytes()
    model_version = ModelVersion.objects.create(
        name="writing",
        taxonomy=dataset.taxonomy,
        folder="writing",
        sha256="0" * 64,
        profile="nsfwjs",
        embedding_size=EMBEDDING_SIZE,
        sidecar={},
    )
    embeddings = EmbeddingFile(dataset, model_version)
    rows = np.zeros((CHUNK, EMBEDDING_SIZE), dtype=np.float16)
    probabilities = np.full(5, 0.2, dtype="<f4").tobytes()
    with running(dataset=dataset, kind=RunKind.SCORE, parameters={}) as reporter:
        begun = time.perf_counter()
        for start in range(0, count, CHUNK):
            chunk = images[start : start + CHUNK]
            first = embeddings.append(rows[: len(chunk)])
            add_predictions(
                run=reporter.run,
                model_version=model_version,
                predictions=[
                    NewPrediction(image.pk, probabilities, 0, 0.2, first + offset) for offset, image in enumerate(chunk)
                ],
            )
            reporter.advance(len(chunk))
        seconds = time.perf_counter() - begun
    facts = {
        "rate": count / seconds,
        "image_bytes": (with_images - empty) / count,
        "prediction_bytes": (database_bytes() - with_images) / count,
        "embedding_bytes": embeddings.path.stat().st_size / count,
    }
    print(json.dumps(facts))


def database_bytes() -> int:
    """The database file, with what still stood in its write-ahead log."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(settings.DATABASES["default"]["NAME"]).stat().st_size


if __name__ == "__main__":
    main()
