"""Bring a catalogue model onto this machine: package → compiled model folder, all or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from inference.errors import HashMismatch, SidecarInvalid
from inference.models import catalogue, npm
from inference.models.child import run_module
from inference.models.sidecar import ModelFolder

Progress = Callable[[str], None]


def fetch_model(name: str, into: Path, *, progress: Progress | None = None, cache: Path | None = None) -> ModelFolder:
    """Fetch, convert, check and register one model as the folder `into / name`.

    A finished folder is returned at once, after comparing its hash. Everything is made in a hidden folder beside
    it and renamed into place at the end: a killed call leaves nothing that looks finished, and the next call
    clears what it left. Two processes may call it at once; the second waits and finds the work done.

    Args:
        name: a name in the catalogue, such as `nsfwjs-mobilenet-v2`.
        into: the folder of all models; made when missing.
        progress: called with one line a step.
        cache: a folder that may hold the downloaded package, and keeps it.

    Returns:
        The finished folder.

    Raises:
        UnknownModel, MissingTool, FetchFailed, HashMismatch, BuildFailed, ModelRefused: see `inference.errors`.
    """
    entry = catalogue.find(name)
    say = progress or (lambda line: None)
    final = into / name
    finished = _finished(final, entry)
    if finished is not None:
        return finished
    into.mkdir(parents=True, exist_ok=True)
    with FileLock(into / f".{name}.lock"):
        finished = _finished(final, entry)
        if finished is not None:
            return finished
        for stale in into.glob(f".building-{name}-*"):
            shutil.rmtree(stale, ignore_errors=True)
        say(f"fetching {entry.package} {entry.version} by npm")
        package = npm.pack(entry.package, entry.version, entry.integrity, cache=cache)
        workshop = Path(tempfile.mkdtemp(prefix=f".building-{name}-", dir=into))
        try:
            package_path, made = workshop / "package.tgz", workshop / "folder"
            package_path.write_bytes(package)
            made.mkdir()
            _build(name, package_path, made, say)
            ModelFolder.open(made)
            if final.exists():
                final.rename(workshop / "replaced")
            made.rename(final)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
        say(f"{name} is ready")
        return ModelFolder.open(final)


def _finished(folder: Path, entry: catalogue.CatalogueEntry) -> ModelFolder | None:
    if not folder.is_dir():
        return None
    try:
        found = ModelFolder.open(folder)
    except (SidecarInvalid, HashMismatch):
        return None
    return found if found.sidecar.source_integrity == entry.integrity else None


def _build(name: str, package: Path, out: Path, say: Progress) -> None:
    run_module("inference.models.build", [name, "--package", str(package), "--out", str(out)], what=name, say=say)
