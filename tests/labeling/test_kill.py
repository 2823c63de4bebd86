"""SIGKILL in the middle of a real command, then the same command again: the end is as if nothing had happened."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.builders import write_class_folders
from tests.starter import starter_model_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a word of POSIX"),
]

# Everything that a run leaves, but for keys that name a moment.
TABLES = {
    "image": "SELECT path, sha256, split, given_class_id, current_class_id, width, phash, dhash, brightness, "
    "duplicate_group_id, id FROM labeling_image ORDER BY id",
    "prediction": "SELECT image_id, model_version_id, hex(probabilities), predicted_index, embedding_row "
    "FROM labeling_prediction ORDER BY image_id",
    "item": "SELECT image_id, run_id, state, label_quality, suspected, suggested_class_id, reason "
    "FROM labeling_reviewitem ORDER BY image_id",
    "issue": "SELECT image_id, run_id, kind, reason FROM labeling_labelissue ORDER BY image_id, kind",
    "fold": "SELECT image_id, run_id, fold, hex(probabilities) FROM labeling_foldprediction ORDER BY image_id",
    "refusal": "SELECT run_id, path, code, reason FROM labeling_runrefusal ORDER BY path",
    "epoch": "SELECT run_id, number, loss, accuracy, validation_loss, validation_accuracy "
    "FROM labeling_trainingepoch ORDER BY run_id, number",
    "model": "SELECT name, version, sha256, profile, release_id, trained_by_id FROM labeling_modelversion ORDER BY id",
    "run": "SELECT id, kind, state, total, done, summary, error FROM labeling_run ORDER BY id",
}


class Home:
    """One installation in a folder of its own, driven by its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "winnow.sqlite3"
        self.environment = os.environ | {
            "WINNOW_HOME": str(folder),
            "DJANGO_SETTINGS_MODULE": "reviewer.settings",
            "DATABASE_URL": "",
            "LOG_LEVEL": "ERROR",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a command to its end; the JSON object of its last line."""
        process = self.start(*arguments, "--json")
        out, error = process.communicate(timeout=300)
        assert process.returncode in {0, 1}, error
        facts: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return facts

    def kill_when(self, reached: Callable[[], bool], *arguments: str) -> None:
        """Start a command and kill it as soon as `reached` is true; fail when it ends before that."""
        process = self.start(*arguments)
        deadline = time.monotonic() + 120
        while not reached():
            assert process.poll() is None, f"it ended before it could be killed: {process.communicate()}"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    def count(self, table: str) -> int:
        try:
            return int(self.rows(f"SELECT count(*) FROM labeling_{table}")[0][0])
        except sqlite3.OperationalError:
            return 0

    def has_at_least(self, table: str, count: int) -> bool:
        return self.count(table) >= count

    def state(self) -> dict[str, list[Any]]:
        return {name: self.rows(query) for name, query in TABLES.items()}

    def holds(self, query: str) -> bool:
        """Whether a count is more than none."""
        return bool(self.rows(query)[0][0])

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 images and one that is broken."""
    folder = tmp_path_factory.mktemp("kill") / "source"
    counts = {"train/drawings": 150, "train/neutral": 150, "test/drawings": 50, "test/neutral": 50}
    write_class_folders(folder, counts, size=(320, 240))
    (folder / "train" / "drawings" / "broken.jpg").write_bytes(b"not an image")
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated home with the starter model in it."""
    home = Home(tmp_path_factory.mktemp("kill") / "template")
    shutil.copytree(starter_model_folder().parent, home.folder / "models")
    home.run("check_integrity")  # any command migrates a new home
    return home.folder


@pytest.fixture
def homes(template: Path, tmp_path: Path) -> tuple[Home, Home]:
    """Two equal homes: one that is disturbed, one that is not."""
    for name in ("disturbed", "undisturbed"):
        shutil.copytree(template, tmp_path / name)
    return Home(tmp_path / "disturbed"), Home(tmp_path / "undisturbed")


def import_arguments(source: Path) -> list[str]:
    return ["import_images", str(source), "--dataset", "set", "--taxonomy", "five"]


def test_a_killed_import_goes_on_where_it_stopped(homes: tuple[Home, Home], source: Path) -> None:
    disturbed, undisturbed = homes
    for reached in (1, 200):
        disturbed.kill_when(partial(disturbed.has_at_least, "image", reached), *import_arguments(source))
    assert disturbed.count("image") < 400
    again = disturbed.run(*import_arguments(source))
    assert again == undisturbed.run(*import_arguments(source))
    assert disturbed.state() == undisturbed.state()
    assert disturbed.run("check_integrity") == {"differences": 0}


def test_a_killed_scoring_goes_on_where_it_stopped(homes: tuple[Home, Home], source: Path) -> None:
    disturbed, undisturbed = homes
    for home in homes:
        home.run(*import_arguments(source))
        home.run("fetch_model", "nsfwjs-mobilenet-v2")
    disturbed.kill_when(partial(disturbed.has_at_least, "prediction", 1), "score", "set")
    between = disturbed.count("prediction")
    assert 0 < between < 400
    assert disturbed.run("score", "set") == undisturbed.run("score", "set")
    assert disturbed.state() == undisturbed.state()
    files = [next((home.folder / "embeddings").rglob("*.f16")).read_bytes() for home in homes]
    assert files[0] == files[1]


def test_a_killed_ranking_ends_as_an_undisturbed_one(homes: tuple[Home, Home], source: Path) -> None:
    disturbed, undisturbed = homes
    for home in homes:
        home.run(*import_arguments(source))
        home.run("fetch_model", "nsfwjs-mobilenet-v2")
        home.run("score", "set")
    disturbed.kill_when(partial(disturbed.has_at_least, "reviewitem", 1), "find_issues", "set")
    again, expected = (home.run("find_issues", "set") for home in homes)
    # On a slow machine the kill may come after the last item: the run that it hit is then done, and this is another.
    assert again | {"run": 0} == expected | {"run": 0}
    assert disturbed.state() == undisturbed.state()


def test_a_killed_cut_ends_as_an_undisturbed_one(homes: tuple[Home, Home], source: Path) -> None:
    disturbed, undisturbed = homes
    for home in homes:
        home.run(*import_arguments(source))
    cut = ("cut_release", "set", "--ratios", "50/25/25")
    at_work = "SELECT count(*) FROM labeling_run WHERE kind = 'cut' AND state = 'running' AND stage > ''"
    disturbed.kill_when(partial(disturbed.holds, at_work), *cut)
    assert disturbed.count("release") == 0
    again, expected = (home.run(*cut) for home in homes)
    assert again == expected
    entries = "SELECT image_id, sha256, split, label_id, verdict_id FROM labeling_releaseentry ORDER BY sha256"
    assert disturbed.state() == undisturbed.state()
    assert disturbed.rows(entries) == undisturbed.rows(entries)
    assert disturbed.run("check_integrity") == {"differences": 0}


@pytest.mark.parametrize(
    ("export_format", "written"), [("folders", ".out.*.partial/*/*/*.png"), ("webdataset", ".out.*.partial/.train*")]
)
def test_a_killed_export_is_never_seen_half_done_and_goes_on(
    homes: tuple[Home, Home], source: Path, export_format: str, written: str
) -> None:
    home, _ = homes
    home.run(*import_arguments(source))
    home.run("cut_release", "set")
    target = home.folder / "out"
    export = ("export_release", "set", "1.0", "--format", export_format)
    home.kill_when(lambda: any(home.folder.glob(written)), *export, str(target))
    assert not target.exists()
    trees = []
    for name in ("out", "undisturbed"):
        home.run(*export, str(home.folder / name))
        files = [path for path in (home.folder / name).rglob("*.*") if path.is_file()]
        trees.append({str(path.relative_to(home.folder / name)): path.read_bytes() for path in files})
    assert trees[0] == trees[1]
    assert len(trees[0]) == (400 + 5 if export_format == "folders" else 2 + 5)
    assert not list(home.folder.glob(".out*"))


def test_a_killed_training_ends_with_the_very_model_of_an_undisturbed_one(
    homes: tuple[Home, Home], source: Path
) -> None:
    disturbed, undisturbed = homes
    arguments = [
        *("train", "set", "1.0", "--recipe", "five_vit", "--size", "trial", "--weights", "none"),
        *("--epochs", "2", "--batch-size", "32", "--also", "tflite"),
    ]
    for home in homes:
        home.run(*import_arguments(source))
        home.run("cut_release", "set")
    disturbed.kill_when(partial(disturbed.has_at_least, "trainingepoch", 1), *arguments)
    assert disturbed.count("modelversion") == 0
    again, expected = (home.run(*arguments) for home in homes)
    assert [epoch["number"] for epoch in again["history"]] == [1, 2]
    assert again["model"] == expected["model"] == "set-five-vit v1"
    assert disturbed.state() == undisturbed.state()
    files = [next((home.folder / "models").glob("set-five-vit-*/files/model.tflite")) for home in homes]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not list((disturbed.folder / "training").iterdir())
