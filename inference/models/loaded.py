"""What every format's loader returns, and the questions that all of them answer in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from inference.errors import InferenceError, ModelRefused
from inference.models.compiled import first_line
from inference.types import Float32Array

Shape = Sequence[int | None]
Answer = Callable[[Float32Array], tuple[Float32Array, Float32Array]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a loader is asked for.

    Attributes:
        path: the model's file or folder.
        input_size: (height, width), for models that do not fix it themselves; None = the model says.
        embedding_layer: the layer or tensor to read embeddings from; None = the one pooled layer, if there is one.
        trust_code: whether code inside the model, such as a Lambda layer, may be run.
    """

    path: Path
    input_size: tuple[int, int] | None = None
    embedding_layer: str | None = None
    trust_code: bool = False


@dataclass(frozen=True, slots=True)
class Writer:
    """One way to a compiled model: the runtime that will run it, and what writes its file."""

    runtime: str
    write: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, whatever file it came from.

    Attributes:
        format_origin: such as `keras-h5`.
        input_size: (height, width) in pixels.
        outputs: numbers that it answers with.
        embedding_layer, embedding_size: where embeddings are read, and how long they are.
        answer: the original: prepared images (n, H, W, 3) → its own outputs (n, outputs) and embeddings (n, D).
        writers: ways to a compiled model, the best first.
        layout: order of the compiled model's input axes, `nhwc` or `nchw`.
        not_litert: why there is no way to LiteRT; empty where there is one.
        network: the Keras 3 network itself, which training starts from; None where the file holds none.
    """

    format_origin: str
    input_size: tuple[int, int]
    outputs: int
    embedding_layer: str
    embedding_size: int
    answer: Answer
    writers: tuple[Writer, ...]
    layout: str = "nhwc"
    not_litert: str = ""
    network: Any = None


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a foreign library raises at a wrong or damaged file into one line of ours."""
    try:
        yield
    except InferenceError:
        raise
    except Exception as error:
        raise ModelRefused(
            f"expected {path} to be a complete {kind}, reading it failed: {type(error).__name__}: {first_line(error)}"
        ) from error


def agreed_size(own: Shape, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """The input's (height, width), from the model and from what was declared.

    Args:
        own: what the model itself says of the two axes; None for an axis that it leaves open.
        wanted: what was declared, if anything.

    Raises:
        ModelRefused: neither says, or both and they differ.
    """
    height, width = own
    if height is None or width is None:
        if wanted is None:
            raise ModelRefused(
                "expected a fixed input size, the model leaves it open: name it with --input-size 224x224"
            )
        return wanted
    if wanted is not None and wanted != (height, width):
        raise ModelRefused(
            f"expected an input of {wanted[0]}×{wanted[1]} pixels, as declared, the model has {height}×{width}"
        )
    return height, width


def check_input(shape: Shape) -> None:
    """Refuse an input that is not (batch, height, width, 3).

    Raises:
        ModelRefused: with the shape.
    """
    if len(shape) != 4 or shape[3] != 3:
        raise ModelRefused(f"expected an input of (batch, height, width, 3), the model has {tuple(shape)}")


def choose_embedding(pooled: Mapping[str, int], flat: Mapping[str, int], named: str | None) -> str:
    """The layer or tensor to read embeddings from.

    Args:
        pooled: candidates (pooled or flattened), name → size.
        flat: everything that gives one vector an image, name → size.
        named: what was declared: a name of `flat`, or one whole part of a path such as `model/pool/Mean`.

    Raises:
        ModelRefused: unknown name; or none was named and there is not exactly one candidate.
    """
    if named is not None:
        if named in flat:
            return named
        within = [name for name in flat if named in name.split("/")]
        if len(within) == 1:
            return within[0]
        close = get_close_matches(named, within or flat, n=3, cutoff=0.4) or list(within or flat)[-5:]
        raise ModelRefused(
            f"expected a layer of the model that gives one vector an image, received {named!r}; "
            f"such layers are {_listed(close, flat)}"
        )
    if len(pooled) == 1:
        return next(iter(pooled))
    offered = list(pooled) or list(flat)
    raise ModelRefused(
        f"expected exactly one pooled or flattened layer to read embeddings from, the model has {len(pooled)}: "
        f"choose one with --embedding-layer, from {_listed(offered[-8:], flat)}"
    )


def _listed(names: Sequence[str], sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({sizes.get(name, '?')} numbers)" for name in names) or "none"
