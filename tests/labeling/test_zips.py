"""A zip that is sent while it is written has the length that was announced, whatever happens to its images."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path
from uuid import uuid4

import pytest

from labeling.actions.datasets import dataset_for_import
from labeling.actions.escalations import escalate
from labeling.errors import ExportRefused, WrongUsage
from labeling.exporters import zips
from labeling.exporters.zips import ZipTarget
from labeling.models import Image, Person, Release
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.exporting import DOWNLOADS, export_release, read_label_map, zip_release
from labeling.pipeline.importing import import_images, plan_import
from labeling.taxonomies import load_taxonomy
from tests.builders import write_class_folders, write_picture

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(tmp_path: Path) -> Release:
    root = write_class_folders(tmp_path / "source", {"train/drawings": 4, "train/neutral": 3, "test/sexy": 2})
    odd = root / "train" / "neutral" / 'ä "quoted",\\ name\n.png'
    (root / "train" / "neutral" / "img_000.png").rename(odd)
    five = load_taxonomy("five")
    dataset = dataset_for_import("set", five)
    import_images(dataset, plan_import(root, five, labels=None, mapping={}))
    return cut_release(dataset, note="ü" * 500)


def received(release: Release, export_format: str = "folders", binary: bool = False) -> bytes:
    download = zip_release(
        release, export_format, label_map=read_label_map(release.dataset, "binary") if binary else None
    )
    content = b"".join(download.blocks)
    assert len(content) == download.size
    return content


@pytest.mark.parametrize("export_format", DOWNLOADS)
@pytest.mark.parametrize("binary", [False, True])
def test_it_holds_what_the_export_holds_and_is_as_long_as_announced(
    release: Release, tmp_path: Path, export_format: str, binary: bool
) -> None:
    content = received(release, export_format, binary)
    mapped = read_label_map(release.dataset, "binary") if binary else None
    export_release(release, tmp_path / "out", export_format=export_format, label_map=mapped)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        held = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
        folders = {name.rstrip("/") for name in archive.namelist() if name.endswith("/")}
    written = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert held.keys() == written.keys()
    assert {name for name in held if held[name] != written[name]} == {"winnow.json"}  # the key of the export
    leaves = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/*") if path.is_dir()}
    assert folders == leaves
    # What was announced too much is small beside the images of any real set.
    assert len(content) - sum(map(len, held.values())) < 120_000


def test_images_that_are_missing_or_changed_are_listed_and_the_length_stays(release: Release, tmp_path: Path) -> None:
    whole = len(received(release))
    files = sorted((tmp_path / "source" / "train" / "drawings").iterdir())
    files[0].unlink()
    write_picture(files[1], seed=99, size=(640, 480))
    for path in (tmp_path / "source" / "test" / "sexy").iterdir():
        path.unlink()
    content = received(release)
    assert len(content) == whole
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 5
        assert archive.read("winnow.json").count(b'"missing_source"') == 3
        assert archive.read("winnow.json").count(b'"changed_source"') == 1


def test_what_is_in_quarantine_is_not_sent(release: Release) -> None:
    image = Image.objects.order_by("pk")[0]
    person = Person.objects.create(username="rita")
    escalate(dataset=release.dataset, images=[image.pk], person=person, key=uuid4())
    content = received(release)
    assert image.sha256.encode() not in content
    assert b"in_quarantine" in content


def test_an_escalation_during_a_download_ends_it_before_its_length(release: Release) -> None:
    download = zip_release(release, "folders")
    first = next(download.blocks)
    last = Image.objects.filter(split="test").order_by("-sha256")[0]
    person = Person.objects.create(username="rita")
    escalate(dataset=release.dataset, images=[last.pk], person=person, key=uuid4())
    rest: list[bytes] = []
    with pytest.raises(ExportRefused, match="went into quarantine"):
        rest.extend(download.blocks)
    assert last.sha256.encode() not in first + b"".join(rest)


def test_shards_and_lists_are_no_downloads(release: Release) -> None:
    with pytest.raises(WrongUsage, match="folders, imagefolder, csv, jsonl"):
        zip_release(release, "webdataset")


def test_a_length_announced_too_short_is_a_fault_and_no_broken_zip(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "_DESCRIPTIONS", 0)
    monkeypatch.setattr(zips, "_A_CLASS", 0)
    with pytest.raises(ExportRefused, match="too short"):
        received(release, "csv")


def test_entries_beyond_four_gigabytes_are_found(tmp_path: Path) -> None:
    """A sparse file stands for the first five gigabytes."""
    target = ZipTarget()
    far = 5 << 30
    target.put("first.txt", b"first", "")
    with (tmp_path / "large.zip").open("wb") as file:
        file.writelines(target.take())
        file.seek(far)
        target.size = far
        target.put("second.txt", b"second", "")
        file.writelines(target.take())
        target.end(far + 1000)
        file.writelines(target.take())
    assert (tmp_path / "large.zip").stat().st_size == far + 1000
    with zipfile.ZipFile(tmp_path / "large.zip") as archive:
        assert [archive.read(name) for name in ("first.txt", "second.txt")] == [b"first", b"second"]
    if shutil.which("unzip"):
        said = subprocess.run(["unzip", "-t", str(tmp_path / "large.zip")], capture_output=True, text=True, check=False)
        assert "No errors detected" in said.stdout
    target.close()
