"""Every export loads unchanged in the library that it is made for, with the release's classes, order and counts."""

import csv
import hashlib
import io
import json
import resource
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from labeling.actions.datasets import dataset_for_import
from labeling.errors import ExportRefused, WrongUsage
from labeling.exporters.formats import FORMATS
from labeling.exporters.rows import Options, Placing
from labeling.exporters.shards import Shards
from labeling.exporters.targets import FolderTarget
from labeling.models import Dataset, Image, Release, RunRefusal
from labeling.pipeline.cutting import cut_release
from labeling.pipeline.exporting import ExportSummary, export_release, fitting_maps, read_label_map
from labeling.pipeline.importing import import_images, plan_import
from labeling.taxonomies import load_taxonomy
from tests.builders import class_list, write_class_folders, write_picture

pytestmark = pytest.mark.django_db

FIVE = ["drawings", "hentai", "neutral", "porn", "sexy"]
COUNTS = {
    "train/drawings": 4,
    "train/neutral": 3,
    "train/sexy": 2,
    "validation/drawings": 1,
    "validation/neutral": 1,
    "test/drawings": 2,
    "test/neutral": 2,
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Fifteen real files whose names try to say another split."""
    root = write_class_folders(tmp_path / "source", COUNTS)
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(path.with_name(f'test_{number}, the "train" one.png'))
    five = load_taxonomy("five")
    found = dataset_for_import("set", five)
    import_images(found, plan_import(root, five, labels=None, mapping={}))
    return found


@pytest.fixture
def release(dataset: Dataset) -> Release:
    return cut_release(dataset, note="For the trainer.")


def counts_of(release: Release) -> dict[tuple[str, str], int]:
    return dict(Counter(release.entries.values_list("split", "label__name")))


def manifest(target: Path) -> list[dict[str, Any]]:
    if (target / "manifest.jsonl").exists():
        return [json.loads(line) for line in (target / "manifest.jsonl").read_text().splitlines()]
    with (target / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tree(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}


def export(release: Release, target: Path, export_format: str, **options: Any) -> ExportSummary:
    if export_format == "urls":
        options["base_url"] = "https://images.example/set"
    return export_release(release, target, export_format=export_format, options=Options(**options))


@pytest.mark.parametrize("export_format", FORMATS)
def test_every_format_has_a_manifest_a_card_croissant_and_the_class_list(
    release: Release, tmp_path: Path, export_format: str
) -> None:
    target = tmp_path / "out"
    assert export(release, target, export_format).written == 15
    assert Counter((row["split"], row["label"]) for row in manifest(target)) == counts_of(release)
    paths = set(release.entries.values_list("image__path", flat=True))
    assert {row["original_path"] for row in manifest(target)} == paths
    assert (target / "class_labels.txt").read_text().splitlines() == FIVE
    assert "For the trainer." in (target / "README.md").read_text()
    head = json.loads((target / "winnow.json").read_text())
    assert (head["content_hash"], head["format"]) == (release.content_hash, export_format)
    for name, sha256 in head["checksums"].items():
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == sha256
    assert not list(target.rglob(".*"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
@pytest.mark.parametrize("export_format", FORMATS)
def test_croissant_metadata_is_valid_and_its_records_load(
    release: Release, tmp_path: Path, export_format: str, caplog: pytest.LogCaptureFixture
) -> None:
    import mlcroissant

    target = tmp_path / "out"
    export(release, target, export_format)
    loaded = mlcroissant.Dataset(jsonld=target / "croissant.json")
    assert not loaded.metadata.ctx.issues.errors
    assert not [record for record in caplog.records if "context" in record.getMessage()]
    assert loaded.metadata.ctx.is_v1_1()
    records = list(loaded.records("images"))
    counted = Counter((record["images/split"].decode(), record["images/label"].decode()) for record in records)
    assert counted == counts_of(release)
    classes = sorted((record["classes/index"], record["classes/name"]) for record in loaded.records("classes"))
    assert [name.decode() if isinstance(name, bytes) else name for _, name in classes] == FIVE


@pytest.mark.slow
def test_hugging_face_loads_an_imagefolder_with_its_splits_and_class_order(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    target = tmp_path / "out"
    export(release, target, "imagefolder")
    for arguments in ({"path": str(target)}, {"path": "imagefolder", "data_dir": str(target)}):
        loaded = datasets.load_dataset(**arguments, cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 9, "validation": 2, "test": 4}
    loaded = datasets.load_dataset(str(target), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].features["label"].names == FIVE
    counted = Counter((split, FIVE[row["label"]]) for split, rows in loaded.items() for row in rows)
    assert counted == counts_of(release)
    first = loaded["train"][0]
    assert first["image"].size == (64, 48)
    assert first["original_path"].startswith("train/")


def test_a_fiftyone_dataset_a_split_numbers_its_classes_in_the_file_that_names_them(
    release: Release, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    export(release, target, "fiftyone")
    counted: Counter[tuple[str, str]] = Counter()
    for split in ("train", "validation", "test"):
        labels = json.loads((target / split / "labels.json").read_text())
        assert labels["classes"] == FIVE
        files = {path.stem: path for path in (target / split / "data").iterdir()}
        assert files.keys() == labels["labels"].keys()
        assert all(hashlib.sha256(path.read_bytes()).hexdigest() == stem for stem, path in files.items())
        counted.update((split, FIVE[index]) for index in labels["labels"].values())
    assert counted == counts_of(release)


@pytest.mark.slow
def test_tensorflow_reads_the_shards_by_their_feature_spec(release: Release, tmp_path: Path) -> None:
    import tensorflow as tf

    target = tmp_path / "out"
    export(release, target, "tfrecord", shard_bytes=900)
    said = json.loads((target / "features.json").read_text())
    spec = {name: tf.io.FixedLenFeature(one["shape"], one["dtype"]) for name, one in said["features"].items()}
    counted: Counter[tuple[str, str]] = Counter()
    for split, shards in said["shards"].items():
        assert len(shards) > 1 or split == "validation"
        for name, images in shards.items():
            records = list(tf.data.TFRecordDataset(str(target / name)))
            assert len(records) == images
            for record in records:
                one = tf.io.parse_single_example(record, spec)
                content = one["image"].numpy()
                assert hashlib.sha256(content).hexdigest() == one["sha256"].numpy().decode()
                assert tf.io.decode_image(one["image"]).shape == (48, 64, 3)
                assert said["classes"][int(one["label"])] == one["label_name"].numpy().decode()
                counted[split, one["label_name"].numpy().decode()] += 1
    assert counted == counts_of(release)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_the_tars(release: Release, tmp_path: Path) -> None:
    import webdataset

    target = tmp_path / "out"
    export(release, target, "webdataset", shard_bytes=900)
    counted: Counter[tuple[str, str]] = Counter()
    for split in ("train", "validation", "test"):
        shards = sorted(str(path) for path in target.glob(f"{split}-*.tar"))
        for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil"):
            assert sample["png"].size == (64, 48)
            assert sample["json"]["label"] == FIVE[sample["cls"]]
            counted[split, sample["json"]["label"]] += 1
    assert counted == counts_of(release)


def test_lists_name_sources_and_addresses(release: Release, tmp_path: Path) -> None:
    export(release, tmp_path / "paths", "paths")
    lines = (tmp_path / "paths" / "train.txt").read_text().splitlines()
    assert len(lines) == 9
    for line in lines:
        path, index = line.split("\t")
        assert Path(path).parent.name == FIVE[int(index)]
        assert Path(path).is_file()
    export(release, tmp_path / "urls", "urls")
    urls = (tmp_path / "urls" / "test" / "urls_drawings.txt").read_text().splitlines()
    assert len(urls) == 2
    assert all(url.startswith("https://images.example/set/test/drawings/test_") for url in urls)
    assert all("%20" in url and '"' not in url for url in urls)
    with pytest.raises(WrongUsage, match="--base-url"):
        export_release(release, tmp_path / "more", export_format="urls")


# ---- links


@pytest.mark.parametrize("placing", [Placing.HARDLINK, Placing.SYMLINK])
def test_links_take_no_room_and_hold_the_same_bytes(release: Release, tmp_path: Path, placing: Placing) -> None:
    target = tmp_path / "out"
    export(release, target, "folders", placing=placing)
    export(release, tmp_path / "copied", "folders")
    rows = manifest(target)
    assert len(rows) == 15
    for row in rows:
        source = tmp_path / "source" / row["original_path"]
        place = target / row["file"]
        assert place.samefile(source)
        assert place.is_symlink() == (placing == Placing.SYMLINK)
        assert place.read_bytes() == (tmp_path / "copied" / row["file"]).read_bytes()


@pytest.mark.parametrize("placing", list(Placing))
def test_a_changed_or_missing_source_is_refused_however_it_is_placed(
    release: Release, tmp_path: Path, placing: Placing
) -> None:
    gone, changed = sorted((tmp_path / "source" / "train" / "drawings").iterdir())[:2]
    gone.unlink()
    write_picture(changed, seed=99)
    summary = export(release, tmp_path / "out", "folders", placing=placing)
    assert summary.written == 13
    assert {one.code for one in summary.missing} == {"missing_source", "changed_source"}
    assert len(list((tmp_path / "out").rglob("*.png"))) == 13


@pytest.mark.parametrize("export_format", ["tfrecord", "webdataset", "csv", "paths", "imagefolder"])
def test_a_missing_source_is_listed_in_every_format(release: Release, tmp_path: Path, export_format: str) -> None:
    gone, changed = sorted((tmp_path / "source" / "train" / "drawings").iterdir())[:2]
    gone.unlink()
    write_picture(changed, seed=99)
    summary = export(release, tmp_path / "out", export_format)
    assert {one.code for one in summary.missing} == {"missing_source", "changed_source"}
    assert len(manifest(tmp_path / "out")) == 13
    assert RunRefusal.objects.count() == 2
    assert "2 images of the release are not here" in (tmp_path / "out" / "README.md").read_text()


# ---- goes on


@pytest.mark.parametrize("export_format", ["tfrecord", "webdataset"])
def test_an_export_that_died_keeps_its_whole_shards(
    release: Release, tmp_path: Path, export_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    whole = FolderTarget._open

    def dies_in_the_third(target: FolderTarget, name: str) -> Any:
        if not name.startswith("."):
            written.append(name)
        if len(written) == 4:  # the manifest, then shards
            raise KeyboardInterrupt
        return whole(target, name)

    monkeypatch.setattr(FolderTarget, "_open", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        export(release, tmp_path / "out", export_format, shard_bytes=900)
    assert not (tmp_path / "out").exists()
    [partial] = tmp_path.glob(".out.*.partial")
    kept = {path.name: path.stat().st_mtime_ns for path in partial.glob("train-*")}
    assert len(kept) == 2
    monkeypatch.setattr(FolderTarget, "_open", whole)
    export(release, tmp_path / "out", export_format, shard_bytes=900)
    export(release, tmp_path / "undisturbed", export_format, shard_bytes=900)
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in kept} == kept


def test_a_shard_with_a_gap_is_written_again_once_the_file_is_back(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sorted((tmp_path / "source" / "train" / "drawings").iterdir())[0]
    content, times = path.read_bytes(), path.stat()
    path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(FolderTarget, "commit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Shards, "end", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            export(release, tmp_path / "out", "webdataset")
    path.write_bytes(content)
    assert times
    assert export(release, tmp_path / "out", "webdataset").missing == ()
    with tarfile.open(tmp_path / "out" / "train-00000.tar") as tar:
        assert len(tar.getnames()) == 27


def test_what_is_read_back_otherwise_than_written_is_refused(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, content: real(self, content[:-1] + b"?"))
    with pytest.raises(ExportRefused, match="does not hold what was written"):
        export(release, tmp_path / "out", "folders")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_half_export_and_the_same_call_goes_on(release: Release, tmp_path: Path) -> None:
    """The system refuses files above a limit, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for export_format in ("folders", "webdataset"):
        target = tmp_path / export_format
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with pytest.raises(ExportRefused, match=r"File too large.*make room"):
                export(release, target, export_format)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not target.exists()
        assert export(release, target, export_format).written == 15
        assert not list(tmp_path.glob(".*"))


# ---- label maps


def test_five_classes_become_two(release: Release, tmp_path: Path) -> None:
    mapped = read_label_map(release.dataset, "binary")
    assert (mapped.classes, mapped.names["sexy"], mapped.names["drawings"]) == (("sfw", "nsfw"), "nsfw", "sfw")
    export_release(release, tmp_path / "out", label_map=mapped)
    assert sorted(path.name for path in (tmp_path / "out" / "train").iterdir()) == ["nsfw", "sfw"]
    assert (tmp_path / "out" / "class_labels.txt").read_text().split() == ["sfw", "nsfw"]
    counted = Counter((row["release_label"], row["label"]) for row in manifest(tmp_path / "out"))
    assert counted == {("drawings", "sfw"): 7, ("neutral", "sfw"): 6, ("sexy", "nsfw"): 2}
    assert json.loads((tmp_path / "out" / "winnow.json").read_text())["label_map"] == mapped.names


def test_seven_classes_become_two_and_one_map_is_offered_for_them() -> None:
    seven = dataset_for_import("seven", load_taxonomy("seven"))
    names = read_label_map(seven, "binary").names
    assert {new for old, new in names.items() if old.startswith("nsfw")} == {"nsfw"}
    assert {new for old, new in names.items() if old.startswith("safe")} == {"sfw"}
    assert fitting_maps(class_list(seven)) == ("binary",)


def test_a_map_of_ones_own_says_every_class_and_their_order(release: Release, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    rest = 'porn = "people"\nsexy = "people"\nneutral = "people"\n'
    file.write_text(f'classes = ["people", "drawn"]\n[map]\ndrawings = "drawn"\nhentai = "drawn"\n{rest}')
    mapped = read_label_map(release.dataset, str(file))
    assert (mapped.classes, mapped.names["hentai"]) == (("people", "drawn"), "drawn")
    file.write_text('classes = ["people", "drawn"]\n[map]\ndrawings = "drawn"\n')
    with pytest.raises(WrongUsage, match="says nothing about hentai"):
        read_label_map(release.dataset, str(file))
    file.write_text('classes = ["people"]\n[map]\ndrawings = "drawn"\n')
    with pytest.raises(WrongUsage, match="which its classes do not name"):
        read_label_map(release.dataset, str(file))
    file.write_text('classes = ["../up"]\n[map]\ndrawings = "../up"\n')
    with pytest.raises(WrongUsage, match="can be folders"):
        read_label_map(release.dataset, str(file))


# ---- object stores


@pytest.fixture
def bucket() -> Any:
    """An object store in memory."""
    import fsspec

    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


@pytest.mark.parametrize("export_format", ["folders", "webdataset", "csv"])
def test_an_export_to_an_object_store_is_the_one_to_a_folder(
    release: Release, tmp_path: Path, bucket: Any, export_format: str
) -> None:
    summary = export_release(release, "memory://bucket/set", export_format=export_format)
    export(release, tmp_path / "out", export_format)
    stored = {path.removeprefix("/bucket/set/"): bucket.cat(path) for path in bucket.find("/bucket/set")}
    assert stored == tree(tmp_path / "out")
    assert (summary.target, summary.written) == ("memory://bucket/set", 15)
    assert export_release(release, "memory://bucket/set", export_format=export_format).written == 15


def test_an_object_store_with_something_else_is_refused_and_a_dead_export_goes_on(
    release: Release, tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labeling.exporters.targets import ObjectStoreTarget

    bucket.pipe("/bucket/other/precious.txt", b"mine")
    with pytest.raises(ExportRefused, match="not empty"):
        export_release(release, "memory://bucket/other")
    put, written = ObjectStoreTarget.put, []

    def dies_at_the_fifth(self: Any, name: str, content: bytes, sha256: str) -> None:
        written.append(name)
        if len(written) == 5:
            raise KeyboardInterrupt
        put(self, name, content, sha256)

    monkeypatch.setattr(ObjectStoreTarget, "put", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        export_release(release, "memory://bucket/set")
    assert not bucket.exists("/bucket/set/winnow.json")
    with pytest.raises(ExportRefused, match="not empty"):
        export_release(release, "memory://bucket/set", label_map=read_label_map(release.dataset, "binary"))
    export_release(release, "memory://bucket/set")
    assert len(written) == 5 + 11
    assert not bucket.exists("/bucket/set/.winnow.partial.json")


def test_links_into_an_object_store_and_unknown_stores_are_refused(release: Release) -> None:
    with pytest.raises(WrongUsage, match="Links need a folder"):
        export_release(release, "memory://bucket/set", options=Options(placing=Placing.HARDLINK))
    with pytest.raises(ExportRefused, match="cannot be written to"):
        export_release(release, "nowhere://bucket/set")


def test_the_hash_of_an_image_is_all_that_its_file_is_called(release: Release, tmp_path: Path) -> None:
    export(release, tmp_path / "out", "imagefolder")
    names = {path.stem for path in (tmp_path / "out").rglob("*.png")}
    assert names == set(Image.objects.values_list("sha256", flat=True))
    lines = io.StringIO((tmp_path / "out" / "train" / "metadata.jsonl").read_text())
    assert all('the "train" one' in json.loads(line)["original_path"] for line in lines)
