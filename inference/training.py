"""Train a model by a recipe: from image files and labels to a folder with a Keras file and whatever else was asked for.

A process of its own (`python -m inference.training_child FOLDER`) loads TensorFlow and does the work.
Everything lies in one folder, named after a hash of all that the result depends on: a call that was killed goes on
where it was, and ends with the very weights that an undisturbed one ends with.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.errors import ArrayRefused, BuildFailed, ModelRefused
from inference.fine_tuning import Original
from inference.fit_state import write_arrays
from inference.head import Head
from inference.models.child import run_module
from inference.models.register import source_hash
from inference.recipes.base import IMAGENET, NO_WEIGHTS, RANGES, TrainingRecipe
from inference.types import AnyIntArray, BoolArray

VERSION = 1
"""Of the files in a folder: another version's are not gone on with."""

REQUEST, ARRAYS, ANSWER, FACTS = "request.json", "arrays.npz", "answer", "facts.json"
KERAS_FILE, H5_FILE, SAVED_MODEL, TFLITE_FILE, LABELS_FILE = (
    "model.keras",
    "model.h5",
    "saved_model",
    "model.tflite",
    "class_labels.txt",
)
ALSO: Mapping[str, str] = {"h5": H5_FILE, "savedmodel": SAVED_MODEL, "tflite": TFLITE_FILE}
"""What may be asked for beside the Keras file → its name."""

CHECKPOINT_SECONDS = 120.0
MAX_EPOCHS, MAX_BATCH = 1000, 1024


@dataclass(frozen=True, slots=True)
class Start:
    """The weights that training starts from.

    Attributes:
        kind: `imagenet`, `none` (random, because somebody said so), or `file`.
        original: the file, for `file`.
    """

    kind: str
    original: Original | None = None

    def __post_init__(self) -> None:
        if self.kind not in (IMAGENET, NO_WEIGHTS, "file") or (self.kind == "file") != (self.original is not None):
            raise ModelRefused(f"expected weights of {IMAGENET}, {NO_WEIGHTS} or a file, received {self.kind!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What to learn from: N image files.

    Attributes:
        paths: where they lie.
        sha256: of each, as hex digits; a file with other bytes is refused and left out.
        labels: (N,) class indices.
        validation: (N,) which tell when to stop, and are never learned from.
    """

    paths: Sequence[Path]
    sha256: Sequence[str]
    labels: AnyIntArray
    validation: BoolArray


@dataclass(frozen=True, slots=True)
class Answers:
    """What the network answers with.

    Attributes:
        class_names: in the order of every answer.
        groups: the group of each class, such as `safe`.
        positive: for a network with one output, the index of the class that its number is the probability of.
    """

    class_names: tuple[str, ...]
    groups: tuple[str, ...]
    positive: int | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What of a recipe may be chosen anew.

    Attributes:
        epochs, batch_size, learning_rate, patience, class_weights, size: see `TrainingRecipe`.
        seed: of everything random.
        checkpoint_seconds: how often the state is kept within an epoch; at the end of each it always is.
        mixed: whether to compute in 16 bits where that is exact enough; None = where there is a GPU, which alone gains.

    Raises:
        ArrayRefused: a number out of range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    class_weights: bool
    size: str
    seed: int = 0
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    mixed: bool | None = None

    def __post_init__(self) -> None:
        sound = 1 <= self.epochs <= MAX_EPOCHS and 1 <= self.batch_size <= MAX_BATCH and self.patience >= 1
        if not sound or not 0 < self.learning_rate <= 10 or not 0 <= self.seed < 2**31:
            raise ArrayRefused(
                f"expected 1 to {MAX_EPOCHS} epochs, batches of 1 to {MAX_BATCH}, a patience of 1 or more, a learning "
                f"rate above 0 and a seed from 0, received {asdict(self)}"
            )

    @classmethod
    def of(
        cls,
        recipe: TrainingRecipe,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        patience: int | None = None,
        class_weights: bool | None = None,
        size: str = "",
        seed: int = 0,
    ) -> Choices:
        """The recipe's own, but for what is named.

        Raises:
            ArrayRefused: a number out of range.
            ModelRefused: a size that the recipe does not have.
        """
        chosen = size or next(iter(recipe.sizes))
        recipe.arguments(chosen)
        return cls(
            epochs=recipe.epochs if epochs is None else epochs,
            batch_size=recipe.batch_size if batch_size is None else batch_size,
            learning_rate=recipe.learning_rate if learning_rate is None else learning_rate,
            patience=recipe.patience if patience is None else patience,
            class_weights=recipe.class_weights if class_weights is None else class_weights,
            size=chosen,
            seed=seed,
        )


@dataclass(frozen=True, slots=True)
class EpochFigures:
    """What one epoch came to.

    Attributes:
        number: from 1.
        loss, accuracy: of its batches, as they were met, augmented and with dropout; the loss with class weights.
        validation_loss, validation_accuracy: of the validation images afterwards; None without any.
        validation_group_accuracy: whether the group was right, such as safe or adult; None without groups.
        seconds: how long it took; after a kill, since then.
    """

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_group_accuracy: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class RefusedPicture:
    """A picture that was left out: row number, a code for programs, a reason for people."""

    row: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far it is; exactly one of `epoch` and `refused` is set where one came, else neither.

    Attributes:
        stage: in words.
        done, total: batches of this stage; None = nobody knows.
        epoch: the one that has just ended, or that an earlier call had ended.
        refused: a picture that turned out not to be usable.
    """

    stage: str
    done: int
    total: int | None
    epoch: EpochFigures | None = None
    refused: RefusedPicture | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training.

    Attributes:
        folder: the whole work; the caller removes it when the answer is kept elsewhere.
        answer: the folder with `KERAS_FILE`, `LABELS_FILE` and what was asked for beside them.
        embedding_layer: where the network's embedding is read.
        epochs: every epoch.
        best_epoch: the one whose weights were kept.
        refused: pictures that were left out.
        notes: what had to be done differently, in words.
    """

    folder: Path
    answer: Path
    embedding_layer: str
    epochs: tuple[EpochFigures, ...]
    best_epoch: int
    refused: tuple[RefusedPicture, ...]
    notes: tuple[str, ...]

    @property
    def keras_file(self) -> Path:
        return self.answer / KERAS_FILE


Listener = Callable[[TrainingProgress], None]


def train_by_recipe(
    recipe: TrainingRecipe,
    start: Start,
    pictures: Pictures,
    answers: Answers,
    choices: Choices,
    *,
    into: Path,
    also: Sequence[str] = (),
    progress: Listener | None = None,
) -> Trained:
    """Train a network; early stopping looks at the validation pictures alone.

    Args:
        recipe: how; one with a backbone.
        start: where its weights come from.
        pictures: what to learn from.
        answers: what it shall answer with.
        choices: what of the recipe is chosen anew.
        into: the folder of such works.
        also: names in `ALSO`.
        progress: called every second or so, and after every epoch; what it raises ends the work, which the next call
            goes on with.

    Raises:
        ArrayRefused: pictures that do not fit together, or nothing to learn from.
        ModelRefused: weights that do not fit, or a loss that is no number any more.
        FetchFailed: ImageNet weights that cannot be had; with the file's name and where it belongs.
    """
    labels, validation = np.asarray(pictures.labels, dtype=np.int64), np.asarray(pictures.validation, dtype=bool)
    _check_pictures(pictures, labels, validation, len(answers.class_names))
    request = _request(recipe.name, start, answers, also) | {
        "choices": asdict(choices),
        "paths": [str(path) for path in pictures.paths],
        "sha256": list(pictures.sha256),
    }
    return _carry_out(request, {"labels": labels, "validation": validation}, into, progress)


def build_from_head(
    recipe: TrainingRecipe,
    original: Original,
    head: Head,
    answers: Answers,
    *,
    into: Path,
    also: Sequence[str] = (),
    progress: Listener | None = None,
) -> Trained:
    """The network that a fitted head makes together with the model whose embeddings it was fitted on.

    Raises:
        ModelRefused: the file holds no Keras network, or its embedding has another size.
    """
    request = _request(recipe.name, Start("file", original), answers, also)
    return _carry_out(request, {"kernel": head.kernel, "bias": head.bias}, into, progress)


def check_also(names: Sequence[str]) -> None:
    """Refuse formats that nobody writes.

    Raises:
        ModelRefused: with those that there are.
    """
    unknown = [name for name in names if name not in ALSO]
    if unknown:
        raise ModelRefused(f"expected formats of {', '.join(ALSO)}, received {', '.join(unknown)}")


def _check_pictures(pictures: Pictures, labels: AnyIntArray, validation: BoolArray, n_classes: int) -> None:
    count = len(pictures.paths)
    if len(pictures.sha256) != count or labels.shape != (count,) or validation.shape != (count,):
        raise ArrayRefused(
            f"expected as many hashes, labels and marks of validation as paths, received {len(pictures.sha256)}, "
            f"{labels.shape} and {validation.shape} for {count}"
        )
    learned = np.bincount(labels[~validation], minlength=n_classes)
    if len(learned) > n_classes or np.count_nonzero(learned) < 2:
        raise ArrayRefused(
            f"expected images of two or more of {n_classes} classes to learn from, received "
            f"{np.count_nonzero(learned)} of {len(learned)}"
        )


def _request(recipe: str, start: Start, answers: Answers, also: Sequence[str]) -> dict[str, Any]:
    check_also(also)
    original = start.original
    if original is not None and original.profile not in RANGES:
        raise ModelRefused(
            f"expected a model with a profile of {', '.join(RANGES)} to start from, received {original.profile}"
        )
    return {
        "version": VERSION,
        "recipe": recipe,
        "start": start.kind,
        "original": None
        if original is None
        else {**asdict(original), "path": str(original.path.resolve()), "sha256": source_hash(original.path)},
        "answers": asdict(answers),
        "also": sorted(set(also)),
    }


def _carry_out(
    request: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], into: Path, progress: Listener | None
) -> Trained:
    folder = into / _fingerprint(request, arrays)
    if not (folder / REQUEST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(folder / ARRAYS, arrays)
        write_json(folder / REQUEST, request)
    answer = folder / ANSWER
    listener = _Listener(progress)
    if not answer.is_dir():
        _run_child(folder, str(request["recipe"]), listener)
    facts = json.loads((answer / FACTS).read_text(encoding="utf-8"))
    epochs = tuple(EpochFigures(**epoch) for epoch in facts["epochs"])
    refused = tuple(RefusedPicture(*one) for one in facts["refused"])
    listener.repeat(epochs, refused)
    return Trained(
        folder=folder,
        answer=answer,
        embedding_layer=facts["embedding_layer"],
        epochs=epochs,
        best_epoch=facts["best_epoch"],
        refused=refused,
        notes=tuple(facts["notes"]),
    )


def _run_child(folder: Path, recipe: str, listener: Callable[[str], None]) -> None:
    try:
        run_module("inference.training_child", [str(folder)], what=recipe, say=listener, doing="training", gpus=True)
    except BuildFailed:
        # It was killed, or had no memory or disk left: the next call goes on with what is there.
        raise
    except ModelRefused:
        # What was refused ends the same way each time; the next one is another training.
        shutil.rmtree(folder, ignore_errors=True)
        raise


class _Listener:
    """Turns the child's lines into calls of `progress`."""

    def __init__(self, progress: Listener | None) -> None:
        self._progress = progress
        self._now = TrainingProgress("loading the network", 0, None)
        self._told: set[tuple[str, int]] = set()

    def __call__(self, line: str) -> None:
        # Keras and TensorFlow may say something of their own.
        if not line.startswith("{"):
            return
        said = json.loads(line)
        if "stage" in said:
            self._now = TrainingProgress(said["stage"], said["done"], said["total"])
            if self._progress is not None:
                self._progress(self._now)
        elif "epoch" in said:
            self._epoch(EpochFigures(**said["epoch"]))
        elif "refused" in said:
            self._refused(RefusedPicture(*said["refused"]))

    def repeat(self, epochs: Sequence[EpochFigures], refused: Sequence[RefusedPicture]) -> None:
        """Tell what an earlier call had found, where nobody heard it yet."""
        for epoch in epochs:
            self._epoch(epoch)
        for one in refused:
            self._refused(one)

    def _epoch(self, epoch: EpochFigures) -> None:
        if self._is_new("epoch", epoch.number) and self._progress is not None:
            now = self._now
            self._progress(TrainingProgress(now.stage, now.done, now.total, epoch=epoch))

    def _refused(self, one: RefusedPicture) -> None:
        if self._is_new("refused", one.row) and self._progress is not None:
            now = self._now
            self._progress(TrainingProgress(now.stage, now.done, now.total, refused=one))

    def _is_new(self, kind: str, number: int) -> bool:
        new = (kind, number) not in self._told
        self._told.add((kind, number))
        return new


def write_json(path: Path, value: Any) -> None:
    """Write a file that is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def _fingerprint(request: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> str:
    # How often the state is kept changes nothing about the result.
    counted = {key: value for key, value in request.items() if key != "choices"}
    choices = {key: value for key, value in request.get("choices", {}).items() if key != "checkpoint_seconds"}
    digest = hashlib.sha256(json.dumps([counted, choices], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return f"{request['recipe']}-{digest.hexdigest()[:16]}"
