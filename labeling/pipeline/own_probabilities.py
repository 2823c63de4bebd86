"""Ranking from a file: somebody's own out-of-sample probabilities → a list of labels, worst first. No database."""

import csv
import os
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.ensembles import combine
from inference.errors import ArrayRefused
from inference.judged import judged
from inference.label_quality import ADJUSTABLE, DEFAULT_METHOD, METHODS, label_quality, suspected, worst_first
from labeling.errors import LabelingError, NothingToDo, WrongUsage

__all__ = ["ADJUSTABLE", "DEFAULT_METHOD", "METHODS", "RankingSummary", "rank_probabilities"]

_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile raise on files that are torn, encrypted, pickled, too large or no archive at all."""


@dataclass(frozen=True)
class RankedModel:
    """One file: its weight in the joint ranking 0..1, its temperature, and the log loss of the given labels."""

    file: str
    weight: float
    temperature: float
    log_loss: float


@dataclass(frozen=True)
class RankingSummary:
    """What was written; `suspected` labels are those that another class beats."""

    out: str
    images: int
    classes: int
    suspected: int
    method: str
    adjusted: bool
    models: tuple[RankedModel, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Model:
    path: Path
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.floating]
    names: tuple[str, ...] | None


def rank_probabilities(
    files: Sequence[Path], out: Path, *, method: str = DEFAULT_METHOD, adjusted: bool = False
) -> RankingSummary:
    """Write `index,label_quality,suggested_label` for every image of some `.npz` files, worst first.

    Each file is one model's opinion of the same images: `given_labels` (N,) and `pred_probs` (N, K), and `class_names`
    (K,) if labels are to be named. The file appears complete or not at all, in the place of an older one.

    Raises:
        WrongUsage: a file that cannot be read, arrays that do not fit, files that do not belong together, or a place
            that cannot be written to.
    """
    _check_places(files, out)
    models = [_read(path) for path in files]
    first = models[0]
    for other in models[1:]:
        _check_same_images(first, other)
    if not len(first.labels):
        raise NothingToDo(f"{first.path} holds no images.")
    joint: npt.NDArray[np.floating] = first.probabilities
    ensemble = combine(
        first.labels, [model.probabilities for model in models], names=[str(model.path) for model in models]
    )
    if len(models) > 1:
        joint = ensemble.probabilities
    try:
        quality = label_quality(first.labels, joint, method=method, adjusted=adjusted)
    except ArrayRefused as refused:
        raise WrongUsage(str(refused)) from refused
    named = next((model.names for model in models if model.names is not None), None)
    _write(out, quality, joint.argmax(axis=1), named)
    return RankingSummary(
        out=str(out),
        images=len(first.labels),
        classes=first.probabilities.shape[1],
        suspected=int(suspected(first.labels, joint).sum()),
        method=method,
        adjusted=adjusted,
        models=tuple(RankedModel(one.name, one.weight, one.temperature, one.log_loss) for one in ensemble.members),
        notes=ensemble.notes,
    )


def _check_places(files: Sequence[Path], out: Path) -> None:
    if not files:
        raise WrongUsage("Expected one .npz file or more, received none.")
    places = [path.resolve() for path in files]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise WrongUsage(f"{files[at]} is named twice: each file is one model.")
    if out.resolve() in places:
        raise WrongUsage(f"{out} would be overwritten while it is read: give --out another name.")
    if out.is_dir() or (out.exists() and not out.is_file()):
        raise WrongUsage(f"Expected a file to write, but {out} is {'a folder' if out.is_dir() else 'no plain file'}.")
    if not out.resolve().parent.is_dir():
        raise WrongUsage(f"The folder {out.resolve().parent} does not exist: create it, or give --out another place.")


def _read(path: Path) -> _Model:
    try:
        with path.open("rb") as file:
            # allow_pickle=False is the default, and is said because a pickle could run code.
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise WrongUsage(f"{path} is a single array: expected an .npz file with given_labels and pred_probs.")
            missing = [key for key in ("given_labels", "pred_probs") if key not in archive]
            if missing:
                found = ", ".join(archive.files) or "nothing"
                raise WrongUsage(f"{path} has no {' and no '.join(missing)}; it holds {found}.")
            labels, probabilities = archive["given_labels"], archive["pred_probs"]
            names = archive.get("class_names")
    except FileNotFoundError as error:
        raise WrongUsage(f"There is no file {path}.") from error
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WrongUsage(
            f"{path} cannot be read as an .npz file of plain numbers and text (no pickled objects): {reason}"
        ) from error
    try:
        judgement = judged(labels, probabilities)
    except ArrayRefused as refused:
        raise WrongUsage(f"{path}: {refused}") from refused
    return _Model(path, judgement.labels, judgement.probabilities, _names(path, names, judgement.n_classes))


def _names(path: Path, names: npt.NDArray[Any] | None, classes: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    if names.shape != (classes,) or names.dtype.kind not in "US":
        raise WrongUsage(f"{path}: expected {classes} class_names as text, received {names.shape} {names.dtype}.")
    listed: list[str | bytes] = names.tolist()
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in listed)


def _check_same_images(first: _Model, other: _Model) -> None:
    if other.probabilities.shape != first.probabilities.shape:
        raise WrongUsage(
            f"Expected models of the same images and classes, but {first.path} has {first.probabilities.shape} and "
            f"{other.path} {other.probabilities.shape} pred_probs."
        )
    differ = np.flatnonzero(other.labels != first.labels)
    if len(differ):
        raise WrongUsage(
            f"Expected the same given_labels in every file, but {first.path} and {other.path} differ at "
            f"{len(differ):,} images, first at index {differ[0]}."
        )
    if first.names is not None and other.names is not None and first.names != other.names:
        raise WrongUsage(f"Expected the same class_names in every file, but {first.path} and {other.path} differ.")


def _write(
    out: Path, quality: npt.NDArray[np.float64], suggested: npt.NDArray[np.int64], names: tuple[str, ...] | None
) -> None:
    order = worst_first(quality)
    labels: list[str] | list[int] = suggested[order].tolist()
    if names is not None:
        labels = [names[label] for label in suggested[order].tolist()]
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["index", "label_quality", "suggested_label"])
            # Python writes the shortest digits that read back as the same number, so no two scores become one.
            writer.writerows(zip(order.tolist(), quality[order].tolist(), labels, strict=True))
        partial.replace(out)
    except OSError as error:
        raise LabelingError(f"{out} cannot be written: {error.strerror or error}. Nothing was changed.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
