"""Cutting and exporting releases: what goes in, what stays put, and what is on disk."""

import csv
import errno
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.actions.claims import hold_claims
from labeling.actions.datasets import dataset_for_import
from labeling.actions.releases import NewEntry, freeze_release
from labeling.actions.verdicts import record_verdict
from labeling.errors import ExportRefused, NothingToDo, ReleaseRefused, WrongUsage
from labeling.exporters.targets import FolderTarget
from labeling.models import (
    SPLITS,
    Dataset,
    Image,
    Person,
    Release,
    ReleaseEntry,
    Run,
    RunKind,
    RunRefusal,
    Verdict,
    VerdictKind,
)
from labeling.pipeline.cutting import cut_release, parse_ratios
from labeling.pipeline.exporting import export_release, find_release
from labeling.pipeline.importing import import_images, plan_import
from labeling.queries.integrity import differences
from labeling.queue_filter import QueueFilter
from labeling.taxonomies import load_taxonomy
from tests.builders import add_images, class_list, make_dataset, rank_images, write_class_folders, write_picture

pytestmark = pytest.mark.django_db

ENTRY = ("image_id", "sha256", "split", "label_id", "label__name", "verdict_id", "label_quality")


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


# ---- what stays where it was


def copy_of(image: Image, path: str, **changes: object) -> Image:
    """Another image with the same bytes."""
    twin = Image.objects.get(pk=image.pk)
    twin.pk, twin.path, twin.split, twin.duplicate_group = None, path, "", None
    for name, value in changes.items():
        setattr(twin, name, value)
    twin.save()
    return twin


def test_major_grows_when_an_image_moved_and_minor_otherwise(dataset: Dataset, anna: Person) -> None:
    first = cut_release(dataset)
    settle(dataset, anna, VerdictKind.RELABEL)
    second = cut_release(dataset)
    assert (first.version, second.version) == ("1.0", "1.1")
    entries = [NewEntry(*row) for row in second.entries.order_by("sha256").values_list(*ENTRY)]
    # Nothing of Winnow moves an image, so the move is made by hand.
    moved = [one._replace(split="test" if one.split == "train" else "train") for one in entries[:1]]
    run = Run.objects.create(dataset=dataset, kind=RunKind.CUT)
    third = freeze_release(
        dataset=dataset,
        entries=moved + entries[1:],
        ratios=(80, 10, 10),
        left_out={},
        issues_run=None,
        cut_run=run,
        note="",
    )
    assert third.version == "2.0"
    assert Release.objects.get(pk=third.pk).version == "2.0"


def test_bytes_that_were_trained_on_never_come_into_test(dataset: Dataset) -> None:
    first = cut_release(dataset)
    trained = first.entries.filter(split="train").order_by("pk")[0].image
    copy_of(trained, "the same.jpg", split="test")
    second = cut_release(add_and_get(dataset))
    assert splits_of(second)[trained.path] == "train"
    assert "the same.jpg" not in splits_of(second)
    assert second.left_out == {"the same file is in another split of an earlier release": 1}


def add_and_get(dataset: Dataset) -> Dataset:
    """One more image, so that there is something to cut."""
    add_images(dataset, 1, splits=("train",), start=900)
    return dataset


def test_a_near_duplicate_of_what_was_trained_on_never_comes_into_test(dataset: Dataset) -> None:
    alike = {"phash": 0x5A5A5A5A5A5A5A5A, "dhash": 0x3C3C3C3C3C3C3C3C}
    trained = dataset.images.filter(split="train").order_by("pk")[0]
    Image.objects.filter(pk=trained.pk).update(**alike)
    cut_release(dataset)
    copy_of(trained, "alike.jpg", split="test", sha256="f" * 64, **alike)
    copy_of(trained, "free.jpg", sha256="e" * 64, **alike)
    second = cut_release(dataset)
    assert {path: splits_of(second).get(path) for path in (trained.path, "alike.jpg", "free.jpg")} == {
        trained.path: "train",
        "alike.jpg": None,
        "free.jpg": "train",
    }
    assert second.left_out == {"near duplicate of an image that an earlier release has in another split": 1}


def test_a_group_that_only_embeddings_found_stays_whole() -> None:
    dataset = free_dataset(40)
    crops = list(dataset.images.order_by("pk")[:8])
    Image.objects.filter(pk__in=[crop.pk for crop in crops]).update(duplicate_group=crops[0])
    for newest in (crops[-1].pk, dataset.images.order_by("-pk")[0].pk):
        Dataset.objects.filter(pk=dataset.pk).update(grouped_up_to=newest)
        with transaction.atomic():
            splits = splits_of(cut_release(dataset))
            assert len({splits[crop.path] for crop in crops}) == 1
            transaction.set_rollback(True)


def test_equal_pixels_in_other_files_conflict_too(dataset: Dataset) -> None:
    one, other = dataset.images.order_by("pk")[:2]
    Image.objects.filter(pk__in=[one.pk, other.pk]).update(pixel_sha256="d" * 64)
    with pytest.raises(ReleaseRefused, match=r"img_0000\.jpg \(drawings\) and img_0001\.jpg \(hentai\)"):
        cut_release(dataset)


def test_an_image_whose_review_was_begun_and_wants_more_verdicts_is_left_out(dataset: Dataset, anna: Person) -> None:
    Dataset.objects.filter(pk=dataset.pk).update(verdicts_wanted=2)
    begun = settle(dataset, anna, VerdictKind.RELABEL)
    release = cut_release(dataset)
    assert release.left_out == {"begun, waits for more verdicts": 1}
    assert not release.entries.filter(image=begun.image_id).exists()
    assert release.entries.count() == 11


def test_a_class_with_fewer_images_than_splits_loses_none_and_is_named(dataset: Dataset) -> None:
    free = free_dataset(42)
    rare = class_list(free)[3]
    Image.objects.filter(dataset=free, given_class=rare).exclude(path="img_0003.jpg").delete()
    release = cut_release(free)
    assert release.entries.filter(label=rare).count() == 1
    [said] = release.cut_run.summary["said"] if release.cut_run else []
    assert re.fullmatch(r"porn has 1 image, and none in \w+ and \w+\.", said)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_splits_of_successive_releases_never_move_an_image_nor_tear_a_group(data: st.DataObject) -> None:
    """Images come in groups, some with a split of their own, are relabelled and excluded between two cuts."""
    with transaction.atomic():
        dataset = make_dataset("drawn")
        ratios = data.draw(st.sampled_from([(80, 10, 10), (50, 25, 25), (70, 30, 0)]))
        total, group_of = 0, {}
        releases: list[Release] = []
        for _ in range(3):
            sizes = data.draw(st.lists(st.integers(1, 6), min_size=4, max_size=12))
            for image in add_images(dataset, sum(sizes), splits=("",), start=total):
                group_of[image.path] = image.pk
            names = sorted(group_of)[total:]
            for size in sizes:
                group, names = names[:size], names[size:]
                # Some join a group that is there already.
                hashes = data.draw(st.integers(0, 30)) if data.draw(st.booleans()) else total + len(names) + 100
                mark = int(hashlib.sha256(str(hashes).encode()).hexdigest()[:15], 16)
                split = data.draw(st.sampled_from(["", "", "", "train", "test"]))
                Image.objects.filter(path__in=group).update(phash=mark, dhash=~mark, split=split)
                group_of.update(dict.fromkeys(group, mark))
            total = len(group_of)
            given_splits = dataset.images.exclude(split="").exists()
            try:
                releases.append(cut_release(dataset, ratios=ratios))
            except NothingToDo:
                continue
            latest = splits_of(releases[-1])
            by_group: dict[int, set[str]] = {}
            for path, split in latest.items():
                by_group.setdefault(group_of[path], set()).add(split)
            assert all(len(found) == 1 for found in by_group.values())
            for before in releases[:-1]:
                assert all(latest.get(path, split) == split for path, split in splits_of(before).items())
            if not given_splits:
                largest = max(Counter(group_of[path] for path in latest).values())
                for split, share in zip(SPLITS, ratios, strict=True):
                    count = sum(one == split for one in latest.values())
                    assert abs(count - share / 100 * len(latest)) <= largest + 1e-6
        transaction.set_rollback(True)
