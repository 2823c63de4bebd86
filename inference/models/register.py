"""Bring a model file of one's own: declared facts + file → compiled model folder, all or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from inference.errors import HashMismatch, ModelRefused, SidecarInvalid
from inference.models import catalogue, formats, saved_model, tfjs_folder
from inference.models.child import run_module
from inference.models.declared import Declared
from inference.models.sidecar import ModelFolder, sha256_of
from inference.preprocess import find_profile

FILES = "files"
"""Below a model's folder: what it was made from, and other forms of it, for people to take along."""

LABELS_FILE = "class_labels.txt"
HUGGING_FACE_FILE = "config.json"
_NAME = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_PLACEHOLDER = re.compile(r"LABEL_\d+")
_INSIDE_FOLDERS = (saved_model.FILE, tfjs_folder.JSON, tfjs_folder.MODULE)


def register_model(
    declared: Declared,
    into: Path,
    *,
    sha256: str | None = None,
    files: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelFolder:
    """Convert, check and register one model file as a folder below `into`.

    The folder is named after the model and a hash of the file and of everything declared, so that the same call
    finds it finished, and another file under the same name leaves the earlier one in place. It is made in a hidden
    folder and renamed at the end: a refused or killed call leaves nothing that looks finished.

    Args:
        declared: its facts; `source_sha256` is filled in here.
        into: the folder of all models; made when missing.
        sha256: what the file's hash must be, if its owner published one.
        files: a folder whose copy the model keeps as `FILES`, such as the Keras file that it was made from.
        progress: called with one line a step.

    Returns:
        The finished folder.

    Raises:
        ModelRefused, HashMismatch, MissingTool, BuildFailed: see `inference.errors`.
    """
    say = progress or (lambda line: None)
    path = model_path(Path(declared.path))
    if not _NAME.fullmatch(declared.name):
        raise ModelRefused(f"expected a name of small letters, digits, '-', '_' and '.', received {declared.name!r}")
    if declared.name in catalogue.CATALOGUE:
        raise ModelRefused(f"expected a name of your own, {declared.name} is a public model's: choose another --name")
    find_profile(declared.profile)
    formats.recognise(path)
    received = source_hash(path)
    if sha256 is not None and sha256.lower() != received:
        raise HashMismatch(
            f"expected {path} with sha256 {sha256.lower()}, received {received}: it is damaged or another file, "
            "so nothing of it is used"
        )
    complete = dataclasses.replace(declared, path=str(path), source_sha256=received)
    final = into / f"{declared.name}-{_fingerprint(complete)}"
    into.mkdir(parents=True, exist_ok=True)
    with FileLock(into / f".{declared.name}.lock"):
        finished = _finished(final)
        if finished is not None:
            return finished
        for stale in into.glob(f".registering-{declared.name}-*"):
            shutil.rmtree(stale, ignore_errors=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".registering-{declared.name}-", dir=into))
        try:
            facts, made = workshop / "declared.json", workshop / "folder"
            facts.write_text(json.dumps(complete.to_json()), encoding="utf-8")
            made.mkdir()
            run_module("inference.models.convert", [str(facts), "--out", str(made)], what=declared.name, say=say)
            ModelFolder.open(made)
            if files is not None:
                shutil.copytree(files, made / FILES)
            if final.exists():
                final.rename(workshop / "replaced")
            made.rename(final)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    say(f"{declared.name} is ready")
    return ModelFolder.open(final)


def model_path(path: Path) -> Path:
    """The model's file or folder, absolute; the folder where a file that stands for it was named (`model.json`)."""
    absolute = path.expanduser().resolve()
    return absolute.parent if absolute.name in _INSIDE_FOLDERS else absolute


def source_hash(path: Path) -> str:
    """Hex sha256 of a file's bytes; of a folder: of the lines `<sha256>  <name>` of all its files, in order."""
    if path.is_file():
        return sha256_of(path)
    lines = [f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path)]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def labels_beside(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """The class labels that came with a model, in output order, and the file they stand in.

    Read are `class_labels.txt`, one label a line (GantMan/nsfw_model), and `id2label` of `config.json` (Hugging
    Face), in the model's own folder or beside its file.

    Raises:
        ModelRefused: such a file that cannot be read.
    """
    path = model_path(path)
    for folder in (path, path.parent) if path.is_dir() else (path.parent,):
        labels, hugging_face = folder / LABELS_FILE, folder / HUGGING_FACE_FILE
        try:
            if labels.is_file():
                lines = labels.read_text(encoding="utf-8-sig").splitlines()
                return labels, tuple(line.strip() for line in lines if line.strip())
            if hugging_face.is_file():
                found = json.loads(hugging_face.read_text(encoding="utf-8"))
                if isinstance(found, dict) and isinstance(found.get("id2label"), dict):
                    by_index = {int(index): str(label) for index, label in found["id2label"].items()}
                    named = tuple(by_index[index] for index in sorted(by_index))
                    # The library's own placeholders, where nobody gave names, say nothing.
                    return None if all(map(_PLACEHOLDER.fullmatch, named)) else (hugging_face, named)
        except (OSError, ValueError) as error:
            raise ModelRefused(f"expected class labels in {folder}, reading them failed: {error}") from error
    return None


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(file for file in folder.rglob("*") if file.is_file())


def _fingerprint(declared: Declared) -> str:
    # Where the file lies says nothing about the model.
    facts = declared.to_json() | {"path": Path(declared.path).name}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _finished(folder: Path) -> ModelFolder | None:
    try:
        return ModelFolder.open(folder) if folder.is_dir() else None
    except (SidecarInvalid, HashMismatch):
        return None
