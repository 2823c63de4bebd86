"""The demo's images: enough of them, wrong where the truth says so, the same every time, and harmless."""

import hashlib
import json
import random
import socket
from collections import Counter
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from labeling import demo_images
from labeling.demo_drawings import MOTIFS, draw
from labeling.demo_images import DemoTruth, read_truth, write_demo_images
from labeling.errors import ExportRefused, WrongUsage

COUNT = 100


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoTruth:
    return write_demo_images(tmp_path_factory.mktemp("demo") / "images", count=COUNT, error_rate=0.16)


def _files(folder: Path) -> dict[str, str]:
    """Map each file's path below `folder` to its sha256."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_it_writes_the_number_asked_for_half_of_each_look(demo: DemoTruth) -> None:
    assert len(_files(demo.folder)) == COUNT
    assert Counter(row.true_label for row in demo.rows) == {"neutral": COUNT / 2, "drawings": COUNT / 2}


def test_it_fills_three_splits_in_their_shares(demo: DemoTruth) -> None:
    splits = Counter(row.path.split("/")[0] for row in demo.rows)
    assert splits["train"] == pytest.approx(0.75 * COUNT, abs=2)
    assert splits["validation"] == pytest.approx(0.125 * COUNT, abs=2)
    assert splits["test"] == pytest.approx(0.125 * COUNT, abs=2)


def test_the_truth_names_every_file_once_and_nothing_else(demo: DemoTruth) -> None:
    assert sorted(row.path for row in demo.rows) == sorted(_files(demo.folder))
    assert read_truth(demo.truth_file) == demo.rows


def test_the_truth_lies_outside_the_folder_that_is_imported(demo: DemoTruth) -> None:
    assert demo.truth_file == demo.folder.parent / "truth.csv"
    assert {file.suffix for file in demo.folder.rglob("*") if file.is_file()} == {".jpg", ".png"}


def test_exactly_the_asked_share_lies_in_the_wrong_folder_as_many_of_either_class(demo: DemoTruth) -> None:
    wrong = [row for row in demo.rows if row.is_error]
    assert len(wrong) == round(COUNT * 0.16)
    assert Counter(row.true_label for row in wrong) == {"neutral": 8, "drawings": 8}
    for row in demo.rows:
        assert row.path.split("/")[1] == row.given_label
        assert row.is_error == (row.given_label != row.true_label)
    assert demo.error_paths == {row.path for row in wrong}


def test_six_images_repeat_another_some_exactly_and_two_under_the_other_label(demo: DemoTruth) -> None:
    rows = {row.path: row for row in demo.rows}
    copies = [row for row in demo.rows if row.duplicate_of]
    bytes_of = _files(demo.folder)
    exact = [row for row in copies if bytes_of[row.path] == bytes_of[row.duplicate_of]]
    assert (len(copies), len(exact)) == (6, 3)
    assert sum(row.given_label != rows[row.duplicate_of].given_label for row in copies) == 2
    for row in copies:
        assert row.true_label == rows[row.duplicate_of].true_label
        one, other = (imagehash.phash(Image.open(demo.folder / path)) for path in (row.path, row.duplicate_of))
        assert one - other <= 4


def test_apart_from_the_named_copies_no_two_images_look_alike(demo: DemoTruth) -> None:
    originals = [row for row in demo.rows if not row.duplicate_of]
    hashes = np.array([imagehash.phash(Image.open(demo.folder / r.path)).hash.ravel() for r in originals])
    distances = (hashes[:, None, :] != hashes[None, :, :]).sum(axis=2)
    assert distances[np.triu_indices(len(originals), 1)].min() > 4


def test_file_names_formats_and_sizes_do_not_give_the_class_away(demo: DemoTruth) -> None:
    names = [Path(row.path).stem for row in demo.rows]
    assert sorted(names) == [f"img_{number:04d}" for number in range(1, COUNT + 1)]
    for label in ("neutral", "drawings"):
        of_label = [row for row in demo.rows if row.true_label == label]
        assert {Path(row.path).suffix for row in of_label} == {".jpg", ".png"}
        numbers = [int(Path(row.path).stem[4:]) for row in of_label]
        assert COUNT * 0.35 < sum(numbers) / len(numbers) < COUNT * 0.65


def test_every_file_opens_as_rgb_of_a_sensible_size_without_metadata(demo: DemoTruth) -> None:
    for row in demo.rows:
        with Image.open(demo.folder / row.path) as image:
            image.load()
            assert image.mode == "RGB"
            assert 150 <= min(image.size) <= max(image.size) <= 512
            assert not image.getexif()
            assert "comment" not in image.info


def test_the_same_seed_gives_the_same_names_and_bytes(demo: DemoTruth, tmp_path: Path) -> None:
    again = write_demo_images(tmp_path / "images", count=COUNT, error_rate=0.16)
    assert _files(again.folder) == _files(demo.folder)
    assert again.truth_file.read_bytes() == demo.truth_file.read_bytes()


def test_another_seed_gives_other_pictures_and_other_errors(demo: DemoTruth, tmp_path: Path) -> None:
    other = write_demo_images(tmp_path / "images", count=COUNT, error_rate=0.16, seed=8)
    shared = set(_files(other.folder).values()) & set(_files(demo.folder).values())
    assert not shared
    assert other.error_paths != demo.error_paths


def test_a_second_call_renders_nothing(demo: DemoTruth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_images, "_plan", lambda **_: pytest.fail("rendered again"))
    assert write_demo_images(demo.folder, count=COUNT, error_rate=0.16) == demo


def test_a_run_that_broke_off_leaves_no_folder_and_the_next_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture = demo_images._write_picture

    def break_off(root: Path, picture: demo_images._Picture) -> None:
        if picture.row.path.endswith("7.jpg"):
            raise KeyboardInterrupt
        write_picture(root, picture)

    with monkeypatch.context() as patched:
        patched.setattr(demo_images, "_write_picture", break_off)
        with pytest.raises(KeyboardInterrupt):
            write_demo_images(tmp_path / "images", count=24)
    assert not (tmp_path / "images").exists()
    assert len(_files(write_demo_images(tmp_path / "images", count=24).folder)) == 24
    assert not list(tmp_path.glob(".*unfinished"))


def test_it_refuses_a_folder_that_it_did_not_make_and_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.txt").write_text("mine")
    with pytest.raises(ExportRefused, match="Move the folder away"):
        write_demo_images(tmp_path / "images", count=24)
    assert (tmp_path / "images" / "mine.txt").read_text() == "mine"


def test_it_refuses_a_folder_made_with_other_arguments(tmp_path: Path) -> None:
    write_demo_images(tmp_path / "images", count=24)
    with pytest.raises(ExportRefused, match="'count': 30"):
        write_demo_images(tmp_path / "images", count=30)
    assert json.loads((tmp_path / "demo.json").read_text())["count"] == 24


@pytest.mark.parametrize(("count", "error_rate"), [(23, 0.06), (100, 0.51), (100, -0.1), (100, float("nan"))])
def test_it_refuses_numbers_out_of_range(tmp_path: Path, count: int, error_rate: float) -> None:
    with pytest.raises(WrongUsage, match="Expected"):
        write_demo_images(tmp_path / "images", count=count, error_rate=error_rate)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("error_rate", [0.0, 0.02, 0.5])
def test_any_error_rate_in_range_is_met(tmp_path: Path, error_rate: float) -> None:
    demo = write_demo_images(tmp_path / "images", count=24, error_rate=error_rate)
    assert len(demo.error_paths) == round(24 * error_rate)


def test_the_pictures_come_from_the_named_package_files_and_from_the_program_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the demo opened a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    write_demo_images(tmp_path / "images", count=24)
    assert {(source.package, Path(source.file).name) for source in demo_images.SOURCES} == {
        ("sklearn.datasets", "china.jpg"),
        ("sklearn.datasets", "flower.jpg"),
        ("skimage", "motorcycle_left.png"),
        ("skimage", "coffee.png"),
        ("skimage", "chelsea.png"),
        ("skimage", "rocket.jpg"),
        ("skimage", "hubble_deep_field.jpg"),
        ("skimage", "coins.png"),
        ("skimage", "brick.png"),
        ("skimage", "gravel.png"),
        ("skimage", "grass.png"),
    }


@pytest.mark.parametrize("motif", range(len(MOTIFS)), ids=[motif.__name__ for motif in MOTIFS])
def test_each_motif_draws_something_and_never_the_same_twice(motif: int) -> None:
    pictures = [draw(random.Random(seed), motif) for seed in range(4)]
    assert len({picture.tobytes() for picture in pictures}) == 4
    for picture in pictures:
        assert len(picture.getcolors(maxcolors=2**18) or ()) >= 4
        assert all(256 <= side <= 512 for side in picture.size)


@pytest.mark.slow
def test_the_demo_itself_is_quick_to_write_and_small(tmp_path: Path) -> None:
    demo = write_demo_images(tmp_path / "images")
    assert len(demo.rows) == 640
    assert len(demo.error_paths) == 38
    assert sum(file.stat().st_size for file in demo.folder.rglob("*")) < 60_000_000
