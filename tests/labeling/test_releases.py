"""Cutting and exporting releases: what goes in, what stays put, and what is on disk."""

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction

from labeling.actions.claims import hold_claims
from labeling.actions.datasets import dataset_for_import
from labeling.actions.verdicts import record_verdict
from labeling.errors import ExportRefused, NothingToDo, ReleaseRefused, WrongUsage
from labeling.exporters.targets import FolderTarget
from labeling.models import SPLITS, Dataset, Image, Person, Release, ReleaseEntry, RunRefusal, Verdict, VerdictKind
from labeling.pipeline.cutting import cut_release, parse_ratios
from labeling.pipeline.exporting import export_release, find_release
from labeling.pipeline.importing import import_images, plan_import
from labeling.queries.integrity import differences
from labeling.queue_filter import QueueFilter
from labeling.taxonomies import load_taxonomy
from tests.builders import add_images, make_dataset, rank_images, write_class_folders, write_picture

pytestmark = pytest.mark.django_db


def splits_of(release: Release) -> dict[str, str]:
    return dict(release.entries.values_list("image__path", "split"))


def settle(dataset: Dataset, person: Person, kind: VerdictKind) -> Verdict:
    item = hold_claims(dataset=dataset, reviewer=person, filters=QueueFilter(everything=True), hold=1)[0].item
    label = item.suggested_class if kind == VerdictKind.RELABEL else None
    return record_verdict(item=item, reviewer=person, kind=kind, label=label, key=uuid4())


def free_dataset(count: int) -> Dataset:
    dataset = make_dataset("free")
    rank_images(dataset, add_images(dataset, count, splits=("",)))
    return dataset


def test_images_without_a_split_are_distributed_by_the_ratios_and_by_class() -> None:
    release = cut_release(free_dataset(100), ratios=(80, 10, 10))
    counts: dict[tuple[str, str], int] = {}
    for split, label in release.entries.values_list("split", "label__name"):
        counts[split, label] = counts.get((split, label), 0) + 1
    assert {split: sum(n for (s, _), n in counts.items() if s == split) for split in SPLITS} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert all(counts["test", name] == 2 for name in ("drawings", "hentai", "neutral", "porn", "sexy"))


def test_splits_that_came_with_the_images_are_kept(dataset: Dataset) -> None:
    assert splits_of(cut_release(dataset)) == dict(dataset.images.values_list("path", "split"))


def test_an_image_keeps_its_split_from_release_to_release() -> None:
    dataset = free_dataset(60)
    first = splits_of(cut_release(dataset))
    add_images(dataset, 40, splits=("",), start=60)
    second = cut_release(dataset, ratios=(50, 25, 25))
    after = splits_of(second)
    assert len(after) == 100
    assert {path: after[path] for path in first} == first
    assert second.version == "1.1"


def test_a_near_duplicate_group_never_crosses_splits() -> None:
    dataset = free_dataset(40)
    paths = [f"img_{number:04}.jpg" for number in range(8)]
    Image.objects.filter(path__in=paths).update(phash=0x5A5A5A5A5A5A5A5A, dhash=0x3C3C3C3C3C3C3C3C)
    splits = splits_of(cut_release(dataset))
    assert len({splits[path] for path in paths}) == 1


def test_members_of_a_group_outside_its_most_protected_split_are_left_out() -> None:
    dataset = make_dataset("leaky")
    add_images(dataset, 6, splits=("train", "train", "test"))
    Image.objects.filter(path__in=["img_0000.jpg", "img_0002.jpg"]).update(
        phash=0x5A5A5A5A5A5A5A5A, dhash=0x3C3C3C3C3C3C3C3C
    )
    release = cut_release(dataset)
    assert "img_0000.jpg" not in splits_of(release)
    assert splits_of(release)["img_0002.jpg"] == "test"
    assert release.left_out == {"near duplicate of an image in a more protected split": 1}


def test_excluded_and_unsure_images_are_left_out_and_counted(dataset: Dataset, anna: Person) -> None:
    excluded = settle(dataset, anna, VerdictKind.EXCLUDE)
    unsure = settle(dataset, anna, VerdictKind.UNSURE)
    relabelled = settle(dataset, anna, VerdictKind.RELABEL)
    release = cut_release(dataset)
    assert release.left_out == {"excluded by a reviewer": 1, "unsure, waits for a second person": 1}
    assert not release.entries.filter(image__in=[excluded.image_id, unsure.image_id]).exists()
    entry = release.entries.get(image=relabelled.image_id)
    assert (entry.label, entry.verdict) == (relabelled.label, relabelled)


def test_identical_files_with_different_labels_are_refused_by_name_or_left_out(dataset: Dataset) -> None:
    # The trigger keeps the hash of an image; identical bytes can only come in by an import.
    root_image = dataset.images.get(path="img_0000.jpg")
    other = dataset.images.get(path="img_0001.jpg")
    twin = Image.objects.get(pk=other.pk)
    twin.pk, twin.path, twin.sha256 = None, "twin.jpg", root_image.sha256
    twin.save()
    with pytest.raises(ReleaseRefused, match=r"img_0000\.jpg \(drawings\) and twin\.jpg \(hentai\)"):
        cut_release(dataset)
    assert not Release.objects.exists()
    release = cut_release(dataset, leave_out_conflicts=True)
    assert release.left_out == {"identical files with different labels": 2}


def test_identical_files_with_one_label_go_in_once(dataset: Dataset) -> None:
    twin = dataset.images.get(path="img_0000.jpg")
    twin.pk, twin.path = None, "twin.jpg"
    twin.save()
    release = cut_release(dataset)
    assert release.left_out == {"identical to a released image": 1}
    assert release.entries.count() == 12


def test_a_cut_without_any_change_is_refused(dataset: Dataset, anna: Person) -> None:
    first = cut_release(dataset)
    with pytest.raises(NothingToDo, match=r"Nothing has changed since release 1\.0"):
        cut_release(dataset)
    settle(dataset, anna, VerdictKind.RELABEL)
    second = cut_release(dataset)
    assert (first.version, second.version) == ("1.0", "1.1")
    assert first.content_hash != second.content_hash
    assert list(differences()) == []


def test_an_empty_dataset_cannot_be_cut() -> None:
    with pytest.raises(NothingToDo, match="no image to release"):
        cut_release(make_dataset("empty"))


@pytest.mark.parametrize("text", ["80/10", "80/10/20", "0/50/50", "a/b/c", "80/-10/30"])
def test_ratios_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(WrongUsage, match=r"80/10/10|sum to 100"):
        parse_ratios(text)


def test_the_database_refuses_to_change_what_is_frozen(dataset: Dataset, anna: Person) -> None:
    settle(dataset, anna, VerdictKind.KEEP)
    cut_release(dataset)
    image = dataset.images.select_related("given_class").first()
    assert image is not None
    other = dataset.taxonomy.classes.exclude(pk=image.given_class_id).first()
    changes: list[Callable[[], int]] = [
        lambda: Image.objects.filter(pk=image.pk).update(given_class=other),
        lambda: Image.objects.filter(pk=image.pk).update(sha256="0" * 64),
        lambda: Verdict.objects.update(kind=VerdictKind.EXCLUDE),
        lambda: ReleaseEntry.objects.update(split="test"),
    ]
    for change in changes:
        with pytest.raises(DatabaseError, match=r"never changed|append-only|frozen"), transaction.atomic():
            change()


@pytest.fixture
def imported(tmp_path: Path) -> Dataset:
    """Ten real files in two classes and two splits."""
    root = write_class_folders(
        tmp_path / "source", {"train/drawings": 3, "train/neutral": 3, "test/drawings": 2, "test/neutral": 2}
    )
    five = load_taxonomy("five")
    dataset = dataset_for_import("set", five)
    import_images(dataset, plan_import(root, five, labels=None, mapping={}))
    return dataset


def manifest(target: Path) -> list[dict[str, str]]:
    with (target / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tree(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}


def test_an_export_holds_the_files_under_their_current_labels(imported: Dataset, tmp_path: Path) -> None:
    target = tmp_path / "out"
    summary = export_release(cut_release(imported), target)
    assert summary.written == 10
    rows = manifest(target)
    assert len(rows) == 10
    for row in rows:
        image = imported.images.select_related("root").get(path=row["original_path"])
        assert row["file"] == f"{image.split}/{row['label']}/{image.sha256}.png"
        assert (target / row["file"]).read_bytes() == (Path(image.root.path) / image.path).read_bytes()
    head = json.loads((target / "winnow.json").read_text())
    assert head["classes"] == ["drawings", "hentai", "neutral", "porn", "sexy"]
    assert sorted(path.name for path in (target / "test").iterdir()) == sorted(head["classes"])


def test_the_manifest_says_who_decided_what_and_when(imported: Dataset, anna: Person, tmp_path: Path) -> None:
    rank_images(imported, list(imported.images.order_by("pk")))
    verdict = settle(imported, anna, VerdictKind.RELABEL)
    export_release(cut_release(imported), tmp_path / "out")
    decided = [row for row in manifest(tmp_path / "out") if row["decision"]]
    assert len(decided) == 1
    row = decided[0]
    assert (row["decision"], row["decided_by"]) == ("relabel", "anna")
    assert row["decided_at"] == verdict.created_at.isoformat(timespec="seconds")
    assert row["given_label"] != row["label"]
    assert row["model"] == "nsfwjs-mobilenet-v2 v1"
    assert float(row["label_quality"]) > 0


def test_a_repeated_export_does_nothing(imported: Dataset, tmp_path: Path) -> None:
    release = cut_release(imported)
    export_release(release, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    export_release(release, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_a_target_that_holds_something_else_is_refused(imported: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    with pytest.raises(ExportRefused, match="not empty"):
        export_release(cut_release(imported), tmp_path / "out")
    assert tree(tmp_path / "out") == {"precious.txt": b"mine"}


def test_missing_and_changed_source_files_are_listed_and_the_rest_is_exported(
    imported: Dataset, tmp_path: Path
) -> None:
    release = cut_release(imported)
    (tmp_path / "source" / "train" / "neutral" / "img_000.png").unlink()
    write_picture(tmp_path / "source" / "train" / "neutral" / "img_001.png", seed=99)
    summary = export_release(release, tmp_path / "out")
    assert {(one.original_path, one.code) for one in summary.missing} == {
        ("train/neutral/img_000.png", "missing_source"),
        ("train/neutral/img_001.png", "changed_source"),
    }
    assert RunRefusal.objects.count() == 2
    assert len(manifest(tmp_path / "out")) == 8
    assert list(differences()) == []


def test_a_full_disk_leaves_no_half_export_and_the_same_command_goes_on(
    imported: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = cut_release(imported)
    whole = FolderTarget.put
    copied: list[str] = []

    def full_after_five(target: FolderTarget, name: str, content: bytes, sha256: str) -> None:
        if len(copied) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", name)
        copied.append(name)
        whole(target, name, content, sha256)

    monkeypatch.setattr(FolderTarget, "put", full_after_five)
    with pytest.raises(ExportRefused, match="No space left on device"):
        export_release(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    export_release(release, tmp_path / "out")
    export_release(release, tmp_path / "undisturbed")
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")
    assert not list(tmp_path.glob(".*partial"))


def test_an_unknown_version_names_those_that_there_are(imported: Dataset) -> None:
    cut_release(imported)
    with pytest.raises(WrongUsage, match=r"no release '2\.0' \(there is 1\.0\)"):
        find_release(imported, "2.0")


@pytest.mark.slow
def test_keras_loads_an_export_unchanged(imported: Dataset, tmp_path: Path) -> None:
    import keras

    release = cut_release(imported)
    export_release(release, tmp_path / "out")
    names = list(imported.taxonomy.classes.order_by("index").values_list("name", flat=True))
    for split in ("train", "test"):
        loaded = keras.utils.image_dataset_from_directory(
            tmp_path / "out" / split, class_names=names, image_size=(32, 32), batch_size=4, verbose=False
        )
        assert loaded.class_names == names
        assert len(loaded.file_paths) == release.entries.filter(split=split).count()
