"""Releases of many images: cutting one, its manifest, class folders by hard link, and the first byte of a zip."""

import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.commands import CHECKOUT, Cost, Home
from benchmarks.results import Row, show

CUT, LISTED, LINKED = 1_000_000, 300_000, 50_000
REPETITIONS = 3
_LINKS_A_FILE = 50_000  # ext4 allows 65,000
_FILE_BYTES = 3000


def run() -> None:
    show("Releases", [*cut_rows(), *manifest_rows(), *link_rows()])


def cut_rows() -> list[Row]:
    """One image in ten has a near duplicate, one in a hundred a verdict; no file is read."""
    with _filled(CUT) as home:
        cost = home.run("cut_release", "big")
    images = int(cost.facts["images"])
    how = f"{images:,} entries of {CUT:,} images, whole command, once"
    return [
        Row(f"cutting a release of {CUT:,} images", f"{cost.seconds:.0f} s", "< 60 s", how),
        Row(f"cutting a release of {CUT:,} images, peak memory", f"{cost.peak_megabytes:,.0f} MB", "< 1,000 MB", how),
    ]


def manifest_rows() -> list[Row]:
    """Every source file is looked at; the small and the large release take turns, so that drift hits both."""
    costs: dict[int, list[Cost]] = {LISTED // 10: [], LISTED: []}
    first_bytes: list[float] = []
    with tempfile.TemporaryDirectory(prefix="winnow-bench-files-") as folder:
        _links(Path(folder), LISTED)
        for images in costs:
            with _filled(images, folder) as home:
                home.run("cut_release", "big")
                for number in range(REPETITIONS):
                    out = str(home.path / f"out-{number}")
                    costs[images].append(home.run("export_release", "big", "1.0", out, "--format", "csv"))
                    assert costs[images][-1].facts["written"] == images, "expected every image in the manifest"
                if images == LISTED:
                    first_bytes = [float(second) for second in _in_home(home, "first").split()]
    small, large = (statistics.median(one.peak_megabytes for one in costs[images]) for images in costs)
    seconds = statistics.median(one.seconds for one in costs[LISTED])
    how = f"csv, {LISTED:,} images, whole command, median of {REPETITIONS}"
    return [
        Row("manifest, peak memory", f"{large:,.0f} MB", "< 300 MB", f"{how}; {small:,.0f} MB at a tenth of them"),
        Row("manifest", f"{LISTED / seconds:,.0f} images/s", "", how),
        Row(
            f"zip of {LISTED:,} images: headers and first byte",
            f"{1000 * max(first_bytes):,.0f} ms",
            "< 1,000 ms",
            f"Django's answer without the socket, worst of {len(first_bytes)}",
        ),
    ]


def link_rows() -> list[Row]:
    """The peers make the same links in the same minute: without a database, a manifest or a look at the bytes."""
    rates: dict[str, list[float]] = {"winnow": [], "os.link": [], "cp -al": []}
    with tempfile.TemporaryDirectory(prefix="winnow-bench-files-", dir=CHECKOUT.parent) as folder:
        source = Path(folder) / "source"
        _files(source, LINKED)
        with _filled(LINKED, str(source)) as home:
            home.run("cut_release", "big")
            for number in range(REPETITIONS):
                out = Path(folder) / f"out-{number}"
                cost = home.run("export_release", "big", "1.0", str(out), "--files", "hardlink")
                rates["winnow"].append(cost.facts["written"] / cost.seconds)
                rates["os.link"].append(LINKED / _timed_links(source, Path(folder) / "plain"))
                rates["cp -al"].append(LINKED / _timed_copy(source, Path(folder) / "copied"))
                shutil.rmtree(out)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    files = f"{LINKED:,} files of {_FILE_BYTES:,} bytes"
    how = f"{files}, each hashed through its link; whole command, median of {REPETITIONS}"
    return [
        Row("class folders by hard link", f"{medians['winnow']:,.0f} images/s", "≥ 5,000 images/s", how),
        Row("peer: a loop of os.link", f"{medians['os.link']:,.0f} images/s", "", "no hashes, no manifest"),
        Row("peer: cp -al", f"{medians['cp -al']:,.0f} images/s", "", "no hashes, no manifest"),
    ]


def _timed_links(source: Path, target: Path) -> float:
    begun = time.perf_counter()
    target.mkdir()
    for path in os.scandir(source):
        os.link(path.path, target / path.name)
    seconds = time.perf_counter() - begun
    shutil.rmtree(target)
    return seconds


def _timed_copy(source: Path, target: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(["cp", "-al", str(source), str(target)], check=True)
    seconds = time.perf_counter() - begun
    shutil.rmtree(target)
    return seconds


def _links(folder: Path, count: int) -> None:
    """`count` names that share a few files."""
    first = folder / "0"
    for number in range(count):
        if number % _LINKS_A_FILE == 0:
            first = folder / f"{number:07}.jpg"
            first.write_bytes(b"0" * 1000)
            os.utime(first, ns=(10**18, 10**18))
        else:
            os.link(first, folder / f"{number:07}.jpg")


def _files(folder: Path, count: int) -> None:
    folder.mkdir()
    chance = random.Random(7)
    for number in range(count):
        (folder / f"{number:07}.jpg").write_bytes(chance.randbytes(_FILE_BYTES))


@contextmanager
def _filled(images: int, folder: str = "") -> Iterator[Home]:
    """A home with a dataset `big`; of files in a folder, or of none."""
    home = Home()
    try:
        home.run("check_integrity")
        _in_home(home, "fill", str(images), folder)
        yield home
    finally:
        home.close()


def _in_home(home: Home, *arguments: str) -> str:
    environment = os.environ | {
        "WINNOW_HOME": str(home.path),
        "DATABASE_URL": "",
        "LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "reviewer.settings",
        "ALLOWED_HOSTS": "localhost",
    }
    command = [sys.executable, "-m", "benchmarks.exporting", *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def fill(images: int, folder: str) -> None:
    """Fill the database of this process: five classes, no splits, and hashes as if of real images."""
    import django

    django.setup()
    from django.db import connection, transaction

    from labeling.actions.datasets import register_taxonomy
    from labeling.models import Dataset, ImageRoot, Person
    from labeling.taxonomies import load_taxonomy

    dataset = Dataset.objects.create(slug="big", title="Big", taxonomy=register_taxonomy(load_taxonomy("five")))
    root = ImageRoot.objects.create(dataset=dataset, path=folder or "/nowhere")
    lena = Person.objects.create(username="lena", is_superuser=True)
    classes = list(dataset.taxonomy.classes.order_by("index").values_list("pk", flat=True))
    columns = (
        "id, dataset_id, root_id, path, sha256, pixel_sha256, byte_size, modified_ns, width, height, format, mode, "
        "phash, dhash, brightness, contrast, sharpness, entropy, split, given_class_id, current_class_id, excluded, "
        "imported_at"
    )
    with transaction.atomic(), connection.cursor() as cursor:
        rows = _image_rows(images, folder, dataset.pk, root.pk, classes)
        while some := list(islice(rows, 10_000)):
            cursor.executemany(f"INSERT INTO labeling_image ({columns}) VALUES ({', '.join(['%s'] * 23)})", some)
        cursor.execute(
            "INSERT INTO labeling_verdict (image_id, reviewer_id, kind, key, blind, wanted, rule, senior, alone, "
            f"created_at) SELECT id, {lena.pk}, 'keep', lower(hex(randomblob(16))), 0, 1, 'majority', 0, 0, "
            "'2026-11-21 00:00:00' FROM labeling_image WHERE id % 100 = 0"
        )
    with connection.cursor() as cursor:
        # As an import leaves it.
        cursor.execute(
            "UPDATE labeling_image SET duplicate_group_id = id - CASE WHEN id % 10 = 1 THEN 1 ELSE 0 END "
            "WHERE id > 1 AND id % 10 IN (0, 1)"
        )
        cursor.execute(f"UPDATE labeling_dataset SET grouped_up_to = {images}")
        cursor.execute("ANALYZE")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _image_rows(images: int, folder: str, dataset: int, root: int, classes: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(11)
    phash = dhash = 0
    for number in range(images):
        if number % 10:
            phash, dhash = chance.getrandbits(64) - 2**63, chance.getrandbits(64) - 2**63
        else:  # a near duplicate of the one before
            phash ^= 1 << chance.randrange(60)
        path = f"{number:07}.jpg"
        sha256, size, modified = hashlib.sha256(path.encode()).hexdigest(), 1000, 10**18
        if folder and (Path(folder) / path).stat().st_size == _FILE_BYTES:
            content = (Path(folder) / path).read_bytes()
            sha256, size = hashlib.sha256(content).hexdigest(), len(content)
            modified = (Path(folder) / path).stat().st_mtime_ns
        label = classes[chance.randrange(len(classes))]
        facts = (size, modified, 640, 480, "JPEG", "RGB", phash, dhash, 0.5, 0.5, 0.5, 5.0)
        yield (number + 1, dataset, root, path, sha256, "", *facts, "", label, label, False, "2026-11-21 00:00:00")


def first_byte() -> None:
    """Print how long a download takes to begin, three times."""
    import django

    django.setup()
    from django.test import Client

    from labeling.models import Person, Release
    from labeling.queries.counts import KEEPER

    client = Client(SERVER_NAME="localhost")
    client.force_login(Person.objects.get(username="lena"))
    url = f"/d/big/releases/{Release.objects.get().pk}/download/?export_format=folders"
    client.get(url.replace("folders", "csv")).close()  # the process has then imported what it needs
    for _ in range(REPETITIONS):
        KEEPER.forget()
        begun = time.perf_counter()
        response = client.get(url)
        assert response.status_code == 200, f"{url} answered {response.status_code}"
        next(iter(response.streaming_content))  # type: ignore[attr-defined]
        print(time.perf_counter() - begun)
        response.close()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]), sys.argv[3])
    else:
        first_byte()
