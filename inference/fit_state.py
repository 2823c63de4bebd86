"""What a fit leaves for the next one, in one file: never trusted further than its fingerprint, and never needed."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.logistic import Scaling
from inference.neighbours import Neighbours
from inference.types import AnyFloatArray, AnyIntArray, Float64Array, Int8Array

VERSION = 1
"""Of the file and of the methods behind it: with another one everything is fitted afresh."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceState:
    """What one array of embeddings came to.

    Attributes:
        scaling, neighbours: know no labels.
        weights: (F, D + 1, K), see `logistic.FoldWeights`.
    """

    scaling: Scaling
    neighbours: Neighbours
    weights: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class FitState:
    """What a whole fit came to.

    Attributes:
        fingerprint: of what all of it depends on, see `fingerprint`.
        fold: (N,) int8.
        folds: how many.
        sources: one an array of embeddings.
    """

    fingerprint: str
    fold: Int8Array
    folds: int
    sources: tuple[SourceState, ...]


def fingerprint(embeddings: Sequence[AnyFloatArray], groups: AnyIntArray, n_classes: int, folds: int, seed: int) -> str:
    """A hash of everything but the labels: the content of the embeddings, groups, and how many classes and folds."""
    digest = hashlib.blake2b(repr((VERSION, n_classes, folds, seed)).encode(), digest_size=16)
    for array in (*embeddings, groups):
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_state(path: Path, state: FitState) -> None:
    """Write the file, whole or not at all."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "fingerprint": np.array(state.fingerprint),
        "fold": state.fold,
        "folds": np.array(state.folds),
    }
    for number, source in enumerate(state.sources):
        arrays |= {
            f"mean_{number}": source.scaling.mean,
            f"spread_{number}": source.scaling.spread,
            f"correlation_{number}": source.scaling.correlation,
            f"rows_{number}": source.neighbours.rows,
            f"similarity_{number}": source.neighbours.similarity,
            f"weights_{number}": source.weights.astype(np.float32),
        }
    write_arrays(path, arrays)


def read_state(path: Path, expected: str) -> FitState | None:
    """The state with that fingerprint; None when the file is missing, damaged, or of something else."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            if str(kept["fingerprint"]) != expected:
                return None
            sources: list[SourceState] = []
            while f"mean_{len(sources)}" in kept:
                number = len(sources)
                scaling = Scaling(*(kept[f"{name}_{number}"] for name in ("mean", "spread", "correlation")))
                neighbours = Neighbours(kept[f"rows_{number}"], kept[f"similarity_{number}"])
                sources.append(SourceState(scaling, neighbours, kept[f"weights_{number}"].astype(np.float64)))
            return FitState(expected, kept["fold"], int(kept["folds"]), tuple(sources))
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error):
        return None


def write_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write an `.npz` that is there whole or not at all, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
