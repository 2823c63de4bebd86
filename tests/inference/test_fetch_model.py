"""Fetching a model: checked before it is read, all or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inference.errors import FetchFailed, HashMismatch, MissingTool, ModelRefused, UnknownModel
from inference.models import catalogue, fetch, npm
from inference.models.build import main as build
from inference.models.fetch import fetch_model
from inference.models.sidecar import MODEL_FILE

NAME = "nsfwjs-mobilenet-v2"


def fake_npm(folder: Path, script: str) -> None:
    """Put an `npm` first on PATH that does something else."""
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def leftovers(into: Path) -> list[str]:
    return sorted(path.name for path in into.iterdir() if not path.name.endswith(".lock"))


def test_an_unknown_name_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=NAME):
        fetch_model("nsfwjs", tmp_path)


def test_a_missing_npm_is_told_with_what_to_do(tmp_path: Path, only_path: Path) -> None:
    into = tmp_path / "models"
    with pytest.raises(MissingTool, match=r"install Node\.js"):
        fetch_model(NAME, into)
    assert leftovers(into) == []


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script as npm")
def test_what_npm_says_is_told_when_it_fails(tmp_path: Path, only_path: Path) -> None:
    fake_npm(only_path, "echo 'code E404' >&2; exit 1")
    with pytest.raises(FetchFailed, match="E404"):
        fetch_model(NAME, tmp_path / "models")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script as npm")
def test_a_package_of_another_hash_is_refused_and_not_kept(tmp_path: Path, only_path: Path) -> None:
    fake_npm(only_path, "echo evil > nsfwjs-4.4.0.tgz")
    into, cache = tmp_path / "models", tmp_path / "cache"
    with pytest.raises(HashMismatch, match="sha512"):
        fetch_model(NAME, into, cache=cache)
    assert leftovers(into) == []
    assert not cache.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script as npm")
def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, only_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "nsfwjs-4.4.0.tgz").write_bytes(b"damaged")
    fake_npm(only_path, "echo 'asked again' >&2; exit 1")
    with pytest.raises(FetchFailed, match="asked again"):
        fetch_model(NAME, tmp_path / "models", cache=cache)
    assert not (cache / "nsfwjs-4.4.0.tgz").exists()


def test_the_build_checks_the_package_before_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "package.tgz"
    package.write_bytes(b"evil")

    def must_not_read(*arguments: object) -> bytes:
        raise AssertionError("the package was read")

    monkeypatch.setattr(npm, "read_member", must_not_read)
    assert build([NAME, "--package", str(package), "--out", str(tmp_path)]) == 2
    assert "integrity" in capsys.readouterr().err


def test_a_finished_folder_is_returned_at_once(starter_folder: Path, only_path: Path) -> None:
    assert fetch_model(NAME, starter_folder.parent).path == starter_folder


def test_a_failed_build_leaves_nothing_and_clears_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "models"
    (into / f".building-{NAME}-killed").mkdir(parents=True)
    (into / f".building-{NAME}-killed" / MODEL_FILE).touch()

    def breaks(*arguments: object) -> None:
        raise ModelRefused("broken on purpose")

    monkeypatch.setattr(npm, "pack", lambda *arguments, **options: b"package")
    monkeypatch.setattr(fetch, "_build", breaks)
    with pytest.raises(ModelRefused, match="on purpose"):
        fetch_model(NAME, into)
    assert leftovers(into) == []


def test_a_damaged_folder_is_replaced(tmp_path: Path, starter_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into = tmp_path / "models"
    shutil.copytree(starter_folder, into / NAME)
    (into / NAME / MODEL_FILE).write_bytes(b"damaged")

    def built(name: str, package: Path, out: Path, say: object) -> None:
        shutil.copytree(starter_folder, out, dirs_exist_ok=True)

    monkeypatch.setattr(npm, "pack", lambda *arguments, **options: b"package")
    monkeypatch.setattr(fetch, "_build", built)
    said: list[str] = []
    folder = fetch_model(NAME, into, progress=said.append)
    assert folder.model_path.stat().st_size > 1_000_000
    assert leftovers(into) == [NAME]
    assert said[-1] == f"{NAME} is ready"


def test_members_that_are_not_there_are_refused() -> None:
    with pytest.raises(ModelRefused, match="gzipped"):
        npm.read_member(b"no archive", "package/LICENSE")


def test_nothing_but_the_build_loads_tensorflow() -> None:
    modules = [
        "inference.inspection", "inference.predict", "inference.cross_validation", "inference.label_quality",
        "inference.splits", "inference.duplicates", "inference.models.fetch", "inference.models.compile",
        "inference.models.tfjs", "inference.models.build",
    ]  # fmt: skip
    code = f"import sys, {', '.join(modules)}; print(sorted({{'tensorflow', 'keras', 'django'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"


def test_the_catalogue_names_an_integrity_for_every_model() -> None:
    assert all(entry.integrity.startswith("sha512-") for entry in catalogue.CATALOGUE.values())
