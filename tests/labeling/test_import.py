"""Importing real files: what is read, what is refused, and what a second import does."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Picture

from labeling.actions.datasets import dataset_for_import
from labeling.actions.imports import move_root
from labeling.errors import NothingToDo, RunStopped, UnknownClass, WrongUsage
from labeling.models import Dataset, Image, Run, RunRefusal, RunState
from labeling.pipeline.importing import ImportSummary, import_images, plan_import, thumbnail_path
from labeling.taxonomies import load_taxonomy
from tests.builders import write_class_folders, write_picture

pytestmark = pytest.mark.django_db
FIVE = load_taxonomy("five")


def run_import(root: Path, slug: str = "set", **options: dict[str, str]) -> tuple[Dataset, ImportSummary]:
    plan = plan_import(root, FIVE, labels=None, mapping=options.get("mapping", {}))
    dataset = dataset_for_import(slug, FIVE)
    return dataset, import_images(dataset, plan)


def refused(summary: ImportSummary) -> dict[str, str]:
    return dict(RunRefusal.objects.filter(run=summary.run).values_list("path", "code"))


def test_it_imports_every_image_with_its_facts(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"train/drawings": 2, "test/neutral": 1})
    dataset, summary = run_import(root)
    assert (summary.added, summary.refused) == (3, 0)
    image = dataset.images.select_related("given_class", "source").get(path="test/neutral/img_000.png")
    assert (image.width, image.height, image.format, image.mode) == (64, 48, "PNG", "RGB")
    assert (image.given_class.name, image.current_class_id, image.split) == ("neutral", image.given_class_id, "test")
    assert len(image.sha256) == 64
    assert 0 <= image.brightness <= 1
    with Picture.open(thumbnail_path(image.sha256)) as thumbnail:
        assert thumbnail.size == (64, 48)


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"drawings": 3})
    _dataset, _ = run_import(root)
    before = list(Image.objects.order_by("pk").values())
    _, again = run_import(root)
    assert (again.added, again.unchanged) == (0, 3)
    assert list(Image.objects.order_by("pk").values()) == before


def test_it_never_touches_the_source(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"drawings": 2})
    (root / "drawings" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.*")}
    run_import(root)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.*")} == before


def _truncated(path: Path) -> None:
    write_picture(path.with_suffix(".jpg"), size=(300, 200))
    content = path.with_suffix(".jpg").read_bytes()
    path.with_suffix(".jpg").unlink()
    path.write_bytes(content[: len(content) // 2])


def _bomb(path: Path) -> None:
    # One bit a pixel: 50 MB of pixels in a file of some 50 kB, 400 million pixels by its header.
    Picture.new("1", (20_000, 20_000)).save(path, "PNG")


@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("half.jpg", _truncated, "truncated"),
        ("empty.png", lambda path: path.write_bytes(b""), "empty"),
        ("letter.jpg", lambda path: path.write_text("Dear Sir or Madam,"), "not_an_image"),
        ("bomb.png", _bomb, "too_many_pixels"),
        ("figure.svg", lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"), "unsupported"),
    ],
)
def test_one_broken_file_is_recorded_with_its_reason_and_the_rest_goes_on(
    tmp_path: Path, name: str, make: Callable[[Path], object], code: str
) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 2})
    make(root / "neutral" / name)
    _, summary = run_import(root)
    assert summary.added == 2
    assert refused(summary) == {f"neutral/{name}": code}
    assert RunRefusal.objects.get().reason


def test_a_wrong_extension_is_no_reason_to_refuse(tmp_path: Path) -> None:
    write_picture(tmp_path / "set" / "neutral" / "a.png")
    (tmp_path / "set" / "neutral" / "a.png").rename(tmp_path / "set" / "neutral" / "a.jpg")
    dataset, summary = run_import(tmp_path / "set")
    assert summary.refused == 0
    assert dataset.images.get().format == "PNG"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
def test_every_mode_is_imported(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "set" / "neutral"
    folder.mkdir(parents=True)
    suffix = "jpg" if mode == "CMYK" else "png"
    Picture.new(mode, (40, 30)).save(folder / f"a.{suffix}")
    dataset, summary = run_import(tmp_path / "set")
    assert summary.refused == 0
    assert dataset.images.get().mode == mode


def test_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "neutral"
    folder.mkdir(parents=True)
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.new("RGB", (40, 30), "teal").save(folder / "a.jpg", exif=exif)
    dataset, _ = run_import(tmp_path / "set")
    assert (dataset.images.get().width, dataset.images.get().height) == (30, 40)


def test_an_unknown_class_is_refused_with_the_nearest_names_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 1, "drawinks": 2, "porno": 1})
    _dataset, summary = run_import(root)
    assert summary.added == 1
    assert refused(summary) == {"drawinks": "unmapped_class", "porno": "unmapped_class"}
    reason = RunRefusal.objects.get(path="drawinks").reason
    assert "Did you mean drawings" in reason
    assert "2 files left aside" in reason


def test_map_reads_an_unknown_class_as_a_known_one(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"cartoons": 2})
    dataset, _ = run_import(root, mapping={"cartoons": "Drawing"})
    assert {image.given_class.name for image in dataset.images.select_related("given_class")} == {"drawings"}
    with pytest.raises(UnknownClass, match="no class 'art'"):
        run_import(root, mapping={"cartoons": "art"})


def test_a_file_that_changed_since_its_import_is_reported_and_kept_as_it_was(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 2})
    dataset, _ = run_import(root)
    before = dataset.images.get(path="neutral/img_000.png").sha256
    write_picture(root / "neutral" / "img_000.png", seed=99)
    _, summary = run_import(root)
    assert refused(summary) == {"neutral/img_000.png": "changed"}
    assert dataset.images.get(path="neutral/img_000.png").sha256 == before


def test_files_that_are_gone_are_counted_and_their_images_stay(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 3})
    dataset, _ = run_import(root)
    (root / "neutral" / "img_001.png").unlink()
    _, summary = run_import(root)
    assert summary.missing == 1
    assert dataset.images.count() == 3


def test_near_duplicates_share_a_group(tmp_path: Path) -> None:
    root = tmp_path / "set"
    picture = write_picture(root / "neutral" / "a.png", seed=5, size=(320, 240))
    with Picture.open(picture) as original:
        original.resize((200, 150)).save(root / "neutral" / "b.jpg", quality=80)
    shutil.copy(picture, root / "neutral" / "c.png")
    write_picture(root / "neutral" / "other.png", seed=6, size=(320, 240))
    dataset, summary = run_import(root)
    assert summary.near_duplicate_groups == 1
    groups = dict(dataset.images.values_list("path", "duplicate_group__path"))
    assert groups["neutral/a.png"] == groups["neutral/b.jpg"] == groups["neutral/c.png"]
    assert groups["neutral/a.png"] is not None
    assert groups["neutral/other.png"] is None


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match="expected CLASS/FILE or SPLIT/CLASS/FILE"):
        run_import(tmp_path)
    with pytest.raises(WrongUsage, match="is not a folder"):
        run_import(tmp_path / "missing")


def test_a_source_without_one_usable_file_fails_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "neutral").mkdir()
    (tmp_path / "neutral" / "a.jpg").write_text("no")
    with pytest.raises(NothingToDo, match=r"None of the 1 files .* could be used"):
        run_import(tmp_path)
    assert Run.objects.get().state == RunState.FAILED


def test_a_stopped_import_keeps_what_is_finished_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeling.pipeline.importing.CHUNK", 4)
    monkeypatch.setattr("labeling.actions.runs._REPORT_EVERY", 0)
    root = write_class_folders(tmp_path / "set", {"neutral": 12})
    plan = plan_import(root, FIVE, labels=None, mapping={})
    dataset = dataset_for_import("set", FIVE)

    def press_stop(done: int, total: int | None, stage: str) -> None:
        if done == 4:
            Run.objects.update(stop_requested=True)

    with pytest.raises(RunStopped):
        import_images(dataset, plan, listener=press_stop)
    assert Run.objects.get().state == RunState.STOPPED
    assert 4 <= dataset.images.count() < 12
    summary = import_images(dataset, plan)
    assert dataset.images.count() == 12
    assert summary.added + summary.unchanged == 12


def test_a_dataset_name_must_be_a_slug_and_keeps_its_taxonomy(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="for example my-set"):
        dataset_for_import("My Set", FIVE)
    dataset_for_import("set", load_taxonomy("seven"))
    run_import(write_class_folders(tmp_path / "set", {"neutral": 1}))  # nothing was in it, so nothing is lost
    with pytest.raises(WrongUsage, match="has the taxonomy five v1, not binary v1"):
        dataset_for_import("set", load_taxonomy("binary"))


def test_a_source_folder_in_a_new_place_is_not_imported_twice(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "old", {"neutral": 3})
    dataset, _ = run_import(root)
    moved = root.rename(tmp_path / "new")
    with pytest.raises(WrongUsage, match="--moved-from"):
        run_import(moved)
    assert dataset.images.count() == 3

    move_root(dataset=dataset, old=str(root), new=str(moved))
    _, summary = run_import(moved)
    assert (summary.added, summary.unchanged, dataset.images.count()) == (0, 3, 3)
    with pytest.raises(WrongUsage, match=r"its folders are: .*new"):
        move_root(dataset=dataset, old=str(root), new="/elsewhere")


def test_a_thumbnail_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "set", {"neutral": 1})
    dataset, _ = run_import(root)
    thumbnail = thumbnail_path(dataset.images.get().sha256)
    thumbnail.unlink()
    run_import(root)
    assert thumbnail.exists()
