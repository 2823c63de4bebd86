"""Out-of-sample probabilities by fine-tuning: the model's own network, trained once a fold, never on what it judges.

For sets that frozen embeddings describe badly: on 8,000 images of CIFAR-10N, with the starter model at 96 pixels, three
folds and six epochs, the average precision of the label errors was .542, frozen .253.

Slow: a process of its own (`python -m inference.fine_tuning FOLDER`) loads TensorFlow and trains the folds one by one.
Everything lies in one folder, named after a hash of all that the result depends on, so that a call that was killed goes
on where it was: behind the last epoch of its fold.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from inference.cross_validation import UNLABELLED, Member, OutOfSample, assign_folds, with_prior
from inference.errors import ArrayRefused, HashMismatch, ImageRefused, ModelRefused
from inference.fit_state import write_arrays
from inference.models import catalogue, npm, tfjs
from inference.models.child import child_main, run_module, say_facts
from inference.models.formats import load_model
from inference.models.loaded import Request
from inference.models.register import model_path, source_hash
from inference.models.sidecar import Sidecar
from inference.predict import available_cores
from inference.preprocess import decode, find_profile, prepare
from inference.splits import stratify_groups
from inference.train import Epoch, Lesson, Recipe, predict, train, trainable_network
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float32Array, Float64Array, Int64Array

MEMBER = "fine-tuned network"
VERSION = 1
"""Of the files in a folder: another version's are not gone on with."""

MAGNIFIED = 3
SIDE_STEP = 32
LEAST_SIDE = 96
_REQUEST, _ARRAYS, _IMAGES, _PREPARED = "request.json", "labels.npz", "images.f16", "images.json"
_SAMPLE = 64
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Original:
    """The file that holds the network to start from.

    Attributes:
        path: a model file or folder that holds a Keras network; or the npm package of a catalogue model.
        profile: name of the preprocessing profile that it was trained with.
        catalogue_name: name of the catalogue model in the package; empty for a file of one's own.
        embedding_layer: where its embedding is read; None = the one pooled layer.
        trust_code: whether code inside the file may be run.
    """

    path: Path
    profile: str
    catalogue_name: str = ""
    embedding_layer: str | None = None
    trust_code: bool = False


@dataclass(frozen=True, slots=True)
class FineTuningProgress:
    """How far it is.

    Attributes:
        fold, folds: the fold at work, from 1; 0 while pictures are prepared.
        done, total: pictures prepared, or epochs of all folds, where a fold that ended early counts as whole.
        epoch: what the epoch came to that has just ended; None in between.
    """

    fold: int
    folds: int
    done: int
    total: int
    epoch: Epoch | None


def fine_tune(
    original: Original,
    paths: Sequence[Path],
    labels: AnyIntArray,
    *,
    n_classes: int,
    into: Path,
    groups: AnyIntArray | None = None,
    weights: AnyFloatArray | None = None,
    folds: int = 5,
    fold_seed: int = 0,
    side: int | None = None,
    recipe: Recipe | None = None,
    progress: Callable[[FineTuningProgress], None] | None = None,
) -> OutOfSample:
    """Train the network once a fold and judge each image by the one that never saw it, nor one of its group.

    Early stopping looks at a part of the images to learn from, never at those to judge. Folds are those that
    `out_of_sample` makes of the same labels, groups and seed, so both may be members of one ensemble.

    Args:
        original: where to start.
        paths: N image files.
        labels: (N,) class indices 0..K−1, or -1 for an unlabelled image, which is judged and not learned from.
        n_classes: K.
        into: a folder for fine-tuning of this dataset and model alone: what an earlier call with other labels left in
            it is removed. Answers stay for the next call; prepared pictures go when the last fold is done.
        groups: (N,) near-duplicate group ids; a group stays in one fold.
        weights: (N,) how much an image counts, 1 where nothing is said.
        folds, fold_seed: as in `out_of_sample`.
        side: height and width of the pictures to train on; None = `training_side`.
        recipe: how to train; None = `Recipe()`.
        progress: called every few seconds, and after every epoch; what it raises ends the work, which the next call
            goes on with.

    Returns:
        The probabilities, with one member. Images that cannot be read get the prior and are marked.

    Raises:
        NotEnoughLabels, ArrayRefused: as in `out_of_sample`.
        ModelRefused: the file holds no Keras network; or training does not converge.
        MissingTool, BuildFailed: see `inference.errors`.
    """
    recipe = recipe or Recipe()
    plan = assign_folds(labels, n_classes=n_classes, groups=groups, folds=folds, seed=fold_seed)
    counted = np.ones(len(plan.labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(paths) != len(plan.labels) or counted.shape != plan.labels.shape or not (counted >= 0).all():
        raise ArrayRefused(
            f"expected as many paths and weights of 0 or more as labels, received {len(paths)}, {counted.shape} and "
            f"{len(plan.labels)}"
        )
    find_profile(original.profile)
    request: dict[str, Any] = {
        "version": VERSION,
        "original": {**asdict(original), "path": str(original.path.resolve()), "sha256": source_hash(original.path)},
        "paths": [str(path) for path in paths],
        "states": [_state(path) for path in paths],
        "n_classes": n_classes,
        "folds": plan.folds,
        "side": side,
        "recipe": asdict(recipe),
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "labels": plan.labels,
        "groups": plan.groups,
        "fold": plan.fold,
        "weights": counted,
    }
    folder = into / _fingerprint(request, arrays)
    _clear_others(into, folder)
    if not (folder / _REQUEST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(folder / _ARRAYS, arrays)
        _write_json(folder / _REQUEST, request)
    if not all(_answer_file(folder, fold).is_file() for fold in range(plan.folds)):
        run_module(
            "inference.fine_tuning",
            [str(folder)],
            what=original.catalogue_name or original.path.name,
            say=_Listener(plan.folds, recipe.epochs, progress),
            doing="fine-tuning",
        )
    probabilities = np.empty((len(paths), n_classes), dtype=np.float32)
    for fold in range(plan.folds):
        with np.load(_answer_file(folder, fold)) as answer:
            probabilities[answer["rows"]] = answer["probabilities"]
    prepared = json.loads((folder / _PREPARED).read_text(encoding="utf-8"))
    unread = np.zeros(len(paths), dtype=bool)
    unread[[int(row) for row in prepared["unread"]]] = True
    notes = [*plan.notes, *prepared["notes"]]
    if unread.any():
        probabilities[unread] = plan.prior
        notes.append(f"{int(unread.sum())} images cannot be read: they were given the classes' shares.")
    member = Member(MEMBER, probabilities)
    return OutOfSample(probabilities, plan.fold, (member,), unread, tuple(notes))


def original_of(sidecar: Sidecar, *, cache: Path, path: Path | None = None, trust_code: bool = False) -> Original:
    """The file that a registered model was made from, checked to be the very same.

    Args:
        sidecar: of the registered model.
        cache: the folder where packages of catalogue models are kept; one that is missing is fetched.
        path: where the file of a model of one's own lies; a catalogue model needs none.
        trust_code: as it was registered.

    Raises:
        ModelRefused: a model of one's own without a path, or whose path is gone.
        HashMismatch: the file is another than the one that was registered.
        MissingTool, FetchFailed: a package that has to be fetched again.
    """
    entry = catalogue.CATALOGUE.get(sidecar.name)
    if entry is not None and entry.integrity == sidecar.source_integrity:
        npm.pack(entry.package, entry.version, entry.integrity, cache=cache)
        return Original(npm.kept_path(entry.package, entry.version, cache), entry.profile, entry.name)
    if path is None or not path.exists():
        raise ModelRefused(
            f"expected the file that {sidecar.name} was registered from ({sidecar.source}), received "
            f"{path or 'no path'}: fine-tuning starts from the original network, say where it lies"
        )
    found = f"sha256-{source_hash(model_path(path))}"
    if found != sidecar.source_integrity:
        raise HashMismatch(
            f"expected the file that {sidecar.name} was registered from, {sidecar.source_integrity}, received {path} "
            f"with {found}: name the same file, or register this one"
        )
    return Original(model_path(path), sidecar.profile, "", sidecar.embedding_layer, trust_code)


def training_side(sides: Sequence[int], own: int, *, resizable: bool) -> int:
    """Height and width to train on: thrice the pictures' own, so that small ones do not cost what large ones do.

    A MobileNetV2 sees a 32-pixel photograph at 96 pixels in a fifth of the time that it needs at 224, and nothing
    was in between the pixels.

    Args:
        sides: shorter sides of some pictures.
        own: the model's.
        resizable: whether the profile allows another than the model's own.

    Returns:
        A multiple of `SIDE_STEP` from `LEAST_SIDE` on, at most the model's own side; or that.
    """
    if not sides or not resizable:
        return own
    wanted = MAGNIFIED * float(np.median(sides))
    return min(own, max(LEAST_SIDE, int(np.ceil(wanted / SIDE_STEP)) * SIDE_STEP))


class _Listener:
    """Turns the child's lines into calls of `progress`."""

    def __init__(self, folds: int, epochs: int, progress: Callable[[FineTuningProgress], None] | None) -> None:
        self._folds, self._epochs, self._progress = folds, epochs, progress
        self._last = FineTuningProgress(0, folds, 0, folds * epochs, None)

    def __call__(self, line: str) -> None:
        # Keras and TensorFlow may say something of their own.
        if self._progress is None or not line.startswith("{"):
            return
        said = json.loads(line)
        if "prepared" in said:
            self._last = FineTuningProgress(0, self._folds, said["prepared"], said["of"], None)
        elif "number" in said:
            epoch = Epoch(said["number"], said["loss"], said["validation_loss"])
            done = said["fold"] * self._epochs + epoch.number
            self._last = FineTuningProgress(said["fold"] + 1, self._folds, done, self._folds * self._epochs, epoch)
        self._progress(self._last)
        self._last = replace(self._last, epoch=None)


def _state(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _fingerprint(request: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return f"fine-tuning-{digest.hexdigest()[:16]}"


def _clear_others(into: Path, folder: Path) -> None:
    """Pictures prepared for labels that are not asked for any more are only in the way."""
    for other in into.glob("fine-tuning-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _answer_file(folder: Path, fold: int) -> Path:
    return folder / f"fold-{fold}.npz"


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


# What follows runs in the child.


def work(folder: Path) -> None:
    """Train every fold of a folder that has no answer yet.

    Raises:
        ModelRefused, MissingTool: the network.
    """
    # The child of a caller that was killed may still be at its last steps.
    with FileLock(folder / ".lock"):
        _work(folder)


def _work(folder: Path) -> None:
    request = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
    with np.load(folder / _ARRAYS) as arrays:
        labels, groups, fold, weights = (arrays[name] for name in ("labels", "groups", "fold", "weights"))
    described = {key: value for key, value in request["original"].items() if key != "sha256"}
    original = Original(**{**described, "path": Path(described["path"])})
    recipe = Recipe(**request["recipe"])
    network, embedding_layer = load_network(original)
    own = int(network.inputs[0].shape[1])
    images, unread = _prepared(folder, request, original, network, embedding_layer, own)
    usable = ~unread & (labels != UNLABELLED) & (weights > 0)
    counts = np.bincount(labels[labels != UNLABELLED], minlength=request["n_classes"])
    prior = counts / counts.sum()
    for number in range(request["folds"]):
        if _answer_file(folder, number).is_file():
            continue
        rows = np.flatnonzero(usable & (fold != number))
        held_out = np.flatnonzero((fold == number) & ~unread)
        learned = np.bincount(labels[rows], minlength=request["n_classes"]) > 0
        probabilities = np.tile(prior, (len(held_out), 1))
        checkpoint = folder / f"fold-{number}.epochs.npz"
        if learned.sum() > 1:
            seeded = replace(recipe, seed=recipe.seed * 1000 + number)
            lesson = _lesson(images, labels, groups, weights, rows, seeded)
            learner = trainable_network(network, embedding_layer, images.shape[1], len(prior), seeded.seed)
            train(learner, lesson, seeded, checkpoint, partial(_say_epoch, number), partial(say_facts, alive=True))
            said = predict(learner, images, held_out, mirrored=recipe.augment)
            probabilities = with_prior(said, learned, prior)
        write_arrays(_answer_file(folder, number), {"rows": held_out, "probabilities": probabilities})
        checkpoint.unlink(missing_ok=True)
    (folder / _IMAGES).unlink(missing_ok=True)


def load_network(original: Original) -> tuple[Any, str]:
    """The Keras network of a file, and the name of the layer that its embedding is read from. Loads TensorFlow.

    Raises:
        ModelRefused: the file holds no network that Keras 3 can train.
        MissingTool: a library that its format needs is not installed.
    """
    if original.catalogue_name:
        entry = catalogue.find(original.catalogue_name)
        package = original.path.read_bytes()
        npm.check_integrity(package, entry.integrity, what=entry.source)
        layers_model = tfjs.read_layers_model(
            npm.read_member(package, entry.topology_member).decode("utf-8"),
            lambda shard: npm.read_member(package, entry.shard_member.format(shard=shard)).decode("utf-8"),
        )
        return tfjs.build_keras_model(layers_model), entry.embedding_layer
    loaded = load_model(
        Request(original.path, embedding_layer=original.embedding_layer, trust_code=original.trust_code)
    )
    if loaded.network is None:
        raise ModelRefused(
            f"expected a network that Keras can train, the format {loaded.format_origin} of {original.path} holds a "
            "finished graph: register its .keras or .h5 file, or leave --fine-tune out"
        )
    return loaded.network, loaded.embedding_layer


def _prepared(
    folder: Path, request: dict[str, Any], original: Original, network: Any, embedding_layer: str, own: int
) -> tuple[npt.NDArray[np.float16], BoolArray]:
    """The prepared pictures as a memory map, and which of them cannot be read. Made once a folder."""
    paths = [Path(path) for path in request["paths"]]
    facts = folder / _PREPARED
    if not (facts.is_file() and (folder / _IMAGES).is_file()):
        side, notes = _agreed_side(request["side"], paths, original, network, embedding_layer, own)
        refused = _prepare_all(folder / _IMAGES, paths, original.profile, side)
        _write_json(facts, {"side": side, "unread": refused, "notes": notes})
    known = json.loads(facts.read_text(encoding="utf-8"))
    images = np.memmap(
        folder / _IMAGES, dtype=np.float16, mode="r", shape=(len(paths), known["side"], known["side"], 3)
    )
    unread = np.zeros(len(paths), dtype=bool)
    unread[known["unread"]] = True
    return images, unread


def _agreed_side(
    asked: int | None, paths: list[Path], original: Original, network: Any, embedding_layer: str, own: int
) -> tuple[int, list[str]]:
    resizable = find_profile(original.profile).only_size is None
    wanted = training_side(_sides(paths), own, resizable=resizable) if asked is None else asked
    got = int(trainable_network(network, embedding_layer, wanted, 2, 0).inputs[0].shape[1]) if resizable else own
    notes = [f"Pictures were trained on at {got}×{got} pixels; the model's own size is {own}×{own}."] * (got != own)
    if asked is not None and got != asked:
        notes.append(f"{asked}×{asked} pixels were asked for, but this network keeps its own {own}×{own}.")
    return got, notes


def _sides(paths: list[Path]) -> list[int]:
    sides = []
    for path in paths[:: max(1, len(paths) // _SAMPLE)]:
        try:
            image = decode(path)
        except ImageRefused:
            continue
        sides.append(min(image.width, image.height))
    return sides


def _prepare_all(out: Path, paths: list[Path], profile: str, side: int) -> list[int]:
    """Write all pictures one behind the other; the row numbers of those that cannot be read, which are black."""

    def prepared(path: Path) -> Float32Array | None:
        try:
            return prepare(decode(path), profile, (side, side))
        except ImageRefused:
            return None

    unread: list[int] = []
    black = np.zeros((side, side, 3), dtype=np.float16)
    # Written, not mapped: a disk that is full then says so.
    with ThreadPoolExecutor(available_cores()) as pool, out.open("wb") as file:
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            for row, picture in enumerate(pool.map(prepared, chunk), start):
                if picture is None:
                    unread.append(row)
                file.write((black if picture is None else picture.astype(np.float16)).tobytes())
            say_facts(prepared=start + len(chunk), of=len(paths))
        file.flush()
        os.fsync(file.fileno())
    return unread


def _lesson(
    images: npt.NDArray[np.float16],
    labels: AnyIntArray,
    groups: AnyIntArray,
    weights: Float64Array,
    rows: Int64Array,
    recipe: Recipe,
) -> Lesson:
    """A part of the images to learn from, groups whole, is kept back to tell when to stop."""
    share = recipe.validation_share
    judge = stratify_groups(labels[rows], groups[rows], [1 - share, share], seed=recipe.seed) == 1
    if judge.all() or not judge.any():
        # Of a handful of images nothing can be kept back: those that are learned from must tell.
        return Lesson(images, labels, weights, rows, rows)
    return Lesson(images, labels, weights, rows[~judge], rows[judge])


def _say_epoch(fold: int, epoch: Epoch) -> None:
    say_facts(fold=fold, **asdict(epoch))


if __name__ == "__main__":
    sys.exit(child_main("inference.fine_tuning", __doc__, work))
