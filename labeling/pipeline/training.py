"""Training: a release → a model version that names it."""

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from inference.errors import InferenceError
from inference.fine_tuning import Original, original_of
from inference.head import FEWEST_TO_CALIBRATE, Head, fit_head
from inference.models.declared import Declared
from inference.models.register import register_model as convert_and_register
from inference.models.sidecar import ModelFolder
from inference.recipes import RECIPES, find_recipe, fitting_recipes
from inference.recipes.base import IMAGENET, NO_WEIGHTS, TrainingRecipe
from inference.training import (
    ALSO,
    KERAS_FILE,
    Answers,
    Choices,
    EpochFigures,
    Pictures,
    Start,
    Trained,
    TrainingProgress,
    build_from_head,
    check_also,
    train_by_recipe,
)
from labeling.actions.runs import Listener, RunReporter, running
from labeling.actions.training import NewEpoch, add_epoch, register_trained_version
from labeling.errors import NothingToDo, TrainingRefused, WrongUsage
from labeling.importers.paths import absolute_path
from labeling.models import ModelVersion, Person, Prediction, Release, ReleaseEntry, Run, RunKind, TaxonomyClass
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.model_versions import current_model, model_folder

__all__ = ["ALSO", "RECIPES", "TrainOptions", "TrainingRecipe", "check_training", "fitting_recipes", "train"]

FILES = "files"
MAX_NAME = 100
ABANDONED_AFTER_DAYS = 30
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class TrainOptions:
    """What may be chosen for a training; None and empty = as the recipe has it.

    Attributes:
        epochs, batch_size, learning_rate, patience, class_weights: see `inference.recipes.TrainingRecipe`.
        weights: where training starts: `imagenet`, `none` (from chance), the name of a registered model, or the path
            of a model file. Empty = ImageNet; for a head on embeddings the starter model.
        size: how large the backbone is made, a name of the recipe's sizes.
        seed: of everything random.
        also: further forms to keep beside the Keras file: `h5`, `savedmodel`, `tflite`.
        name: what the model is called; empty = dataset and recipe.
    """

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    patience: int | None = None
    class_weights: bool | None = None
    weights: str = ""
    size: str = ""
    seed: int = 0
    also: tuple[str, ...] = ()
    name: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "TrainOptions":
        """The options among a run's parameters."""
        known = {one.name: parameters[one.name] for one in fields(cls) if one.name in parameters}
        return cls(**known | {"also": tuple(known.get("also", ()))})


@dataclass(frozen=True)
class TrainingPlan:
    """What is settled before anything starts."""

    release: Release
    recipe: TrainingRecipe
    options: TrainOptions
    choices: Choices
    classes: tuple[TaxonomyClass, ...]
    origin: ModelVersion | None

    @property
    def answers(self) -> Answers:
        positive = None
        if self.recipe.one_output:
            harm = [known.harm_rank for known in self.classes]
            # Of two that do the same harm the second, as in every list of (negative, positive).
            positive = 0 if harm[0] > harm[1] else 1
        return Answers(
            tuple(known.name for known in self.classes), tuple(known.group for known in self.classes), positive
        )

    @property
    def name(self) -> str:
        wanted = self.options.name or f"{self.release.dataset.slug}-{self.recipe.name}"
        return _NOT_IN_NAMES.sub("-", wanted.casefold())[:MAX_NAME].strip("-")

    @property
    def trained_on(self) -> str:
        """The release; and what the model had learned from that training started from, where that was ours too."""
        own = f"{self.release.dataset.slug} {self.release.version}"
        before = self.origin.sidecar["trained_on"] if self.origin is not None and self.origin.release_id else ""
        return ", ".join(dict.fromkeys([own, *filter(None, before.split(", "))]))


@dataclass(frozen=True)
class _Row:
    """An image of the release: its keys, where it lies, its class's index, and whether it tells when to stop."""

    image: int
    root: int
    path: str
    sha256: str
    label: int
    validation: bool


@dataclass(frozen=True)
class _Made:
    """A finished training, and what registering it needs."""

    trained: Trained
    profile: str
    positive: str | None
    licence: str
    notes: tuple[str, ...]


def train(
    release: Release,
    *,
    recipe: str,
    options: TrainOptions = TrainOptions(),
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> ModelVersion:
    """Train a model on a release, as a run, and register it: compiled, with its facts, naming the release.

    Labels are the release's. Images are read where they lie and compared with the release's hashes; what is missing,
    changed or broken is left out, listed and counted, and so is what is in quarantine. Validation images tell when to
    stop; test images are not touched. A killed run goes on where it was and ends with the same weights.

    Args:
        release: with its dataset's taxonomy.
        recipe: a name in `RECIPES`.
        options: what is chosen anew.

    Raises:
        WrongUsage: the recipe does not fit the taxonomy, or the options do not fit the recipe.
        NothingToDo: the release has no images to learn from, or a head's embeddings are not there.
        TrainingRefused: weights that do not fit or cannot be had, or a loss that is no number any more.
    """
    plan = check_training(release, recipe, options)
    with running(
        dataset=release.dataset,
        kind=RunKind.TRAIN,
        parameters={"release": release.pk, "recipe": recipe, **asdict(options), "also": list(options.also)},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        try:
            model, work = _train(plan, reporter)
        except InferenceError as error:
            raise TrainingRefused(str(error)) from error
    # Only now: a run that dies between registering and its end finds its answer, and does nothing twice.
    shutil.rmtree(work, ignore_errors=True)
    return model


def check_training(release: Release, recipe: str, options: TrainOptions) -> TrainingPlan:
    """Refuse at once what could not end well.

    Raises:
        WrongUsage, NothingToDo: see `train`.
    """
    classes = tuple(release.dataset.taxonomy.classes.order_by("index"))
    try:
        known = find_recipe(recipe, len(classes))
        choices = Choices.of(
            known,
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            patience=options.patience,
            class_weights=options.class_weights,
            size=options.size,
            seed=options.seed,
        )
        check_also(options.also)
    except InferenceError as error:
        raise WrongUsage(str(error)) from error
    learned = set(
        ReleaseEntry.objects.filter(release=release, split="train").values_list("label", flat=True).distinct()
    )
    if len(learned) < 2:
        raise NothingToDo(
            f"Training needs images of two classes or more in train, but {release.dataset.slug} {release.version} has "
            f"{len(learned)}. Cut a release with more of them."
        )
    plan = TrainingPlan(release, known, options, choices, classes, _origin(known, options.weights))
    if not plan.name:
        raise WrongUsage(f"A model's name needs letters or digits, but received {options.name!r}.")
    return plan


def _origin(recipe: TrainingRecipe, weights: str) -> ModelVersion | None:
    """The registered model that training starts from; None for ImageNet, chance or a file."""
    if not recipe.backbone:
        if weights in (IMAGENET, NO_WEIGHTS) or _is_path(weights):
            raise WrongUsage(
                f"The recipe {recipe.name} needs a registered model whose embeddings are stored, but received "
                f"--weights {weights}. Name such a model, or leave it out for the starter model."
            )
        return current_model(weights or None)
    return None if weights in ("", IMAGENET, NO_WEIGHTS) or _is_path(weights) else current_model(weights)


def _is_path(weights: str) -> bool:
    return "/" in weights or "\\" in weights or bool(Path(weights).suffix)


def _train(plan: TrainingPlan, reporter: RunReporter) -> tuple[ModelVersion, Path]:
    """The model version, and the folder of the work, which is of no use once the run is done."""
    summary: dict[str, Any] = {
        "dataset": plan.release.dataset.slug,
        "version": plan.release.version,
        "recipe": plan.recipe.name,
    }
    reporter.run.summary = summary
    hidden = ReleaseEntry.everything.filter(release=plan.release).count() - plan.release.entries.count()
    if plan.recipe.backbone or plan.origin is None:
        made = _with_backbone(plan, reporter, summary)
    else:
        made = _with_head(plan, plan.origin, reporter, summary)
    model = _register(plan, made, reporter)
    summary |= {
        "model": str(model),
        "best_epoch": made.trained.best_epoch or 1,
        "refused": reporter.run.refusals.count(),
        "in_quarantine": hidden,
        "notes": [*made.notes, *made.trained.notes],
    }
    return model, made.trained.folder


def _rows(plan: TrainingPlan) -> list[_Row]:
    """The images of train and validation, ordered by content; of test none is even asked for."""
    index_of = {known.pk: known.index for known in plan.classes}
    entries = plan.release.entries.filter(split__in=("train", "validation")).order_by("sha256")
    return [
        _Row(image, root, path, sha256, index_of[label], split == "validation")
        for image, root, path, sha256, label, split in entries.values_list(
            "image", "image__root", "image__path", "sha256", "label", "split"
        ).iterator()
    ]


def _with_backbone(plan: TrainingPlan, reporter: RunReporter, summary: dict[str, Any]) -> _Made:
    reporter.stage("collecting the images")
    roots = dict(plan.release.dataset.roots.values_list("pk", "path"))
    rows, paths = [], []
    for row in _rows(plan):
        try:
            paths.append(absolute_path(roots[row.root], row.path))
        except ValueError as error:
            reporter.refuse(row.path, "link_leaves", str(error))
            continue
        rows.append(row)
    pictures = Pictures(
        paths=paths,
        sha256=[row.sha256 for row in rows],
        labels=np.array([row.label for row in rows], dtype=np.int64),
        validation=np.array([row.validation for row in rows], dtype=bool),
    )
    _count(summary, pictures.validation)
    start, licence = _start(plan)
    trained = train_by_recipe(
        plan.recipe,
        start,
        pictures,
        plan.answers,
        plan.choices,
        into=_workshop(),
        also=plan.options.also,
        progress=_follower(reporter, [row.path for row in rows]),
    )
    positive = plan.answers.positive
    return _Made(
        trained,
        plan.recipe.profile,
        None if positive is None else plan.answers.class_names[positive],
        licence,
        _never_learned(plan, rows),
    )


def _start(plan: TrainingPlan) -> tuple[Start, str]:
    """Where the weights come from, and their licence."""
    weights = plan.options.weights or IMAGENET
    if plan.origin is not None:
        return Start("file", _original(plan.origin)), str(plan.origin.sidecar.get("licence", "unknown"))
    if weights in (IMAGENET, NO_WEIGHTS):
        return Start(weights), "unknown"
    path = Path(weights).expanduser()
    if not path.exists():
        raise TrainingRefused(f"Expected a model file at {path}, there is none. Name one that is there.")
    return Start("file", Original(path, plan.recipe.profile)), "unknown"


def _original(model: ModelVersion) -> Original:
    """The Keras network of a registered model: its own copy, or the file that it was registered from.

    Raises:
        InferenceError: that file is not known, or another by now.
    """
    folder = ModelFolder.open(model_folder(model))
    own = folder.path / FILES / KERAS_FILE
    if own.is_file():
        return Original(own, folder.sidecar.profile, "", folder.sidecar.embedding_layer)
    cache = Path(settings.WINNOW_HOME) / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    return original_of(folder.sidecar, cache=cache)


def _with_head(plan: TrainingPlan, model: ModelVersion, reporter: RunReporter, summary: dict[str, Any]) -> _Made:
    reporter.stage("reading the embeddings")
    rows = _rows(plan)
    stored = dict(
        Prediction.objects.filter(model_version=model, image__dataset=plan.release.dataset)
        .values_list("image", "embedding_row")
        .iterator()
    )
    scored = [row for row in rows if row.image in stored]
    if all(row.validation for row in scored):
        raise NothingToDo(
            f"The recipe {plan.recipe.name} learns from stored embeddings, but {model} has scored no training image of "
            f"{plan.release.dataset.slug} {plan.release.version}. Score them first: manage.py score "
            f"{plan.release.dataset.slug} --model {model.name}"
        )
    for row in rows:
        if row.image not in stored:
            reporter.refuse(row.path, "not_scored", f"{model} has no embedding of it: run manage.py score")
    found = EmbeddingFile(plan.release.dataset, model).rows(np.array([stored[row.image] for row in scored]))
    validation = np.array([row.validation for row in scored], dtype=bool)
    _count(summary, validation)
    reporter.stage("fitting the head")
    head = fit_head(
        found.astype(np.float32),
        np.array([row.label for row in scored], dtype=np.int64),
        validation,
        n_classes=len(plan.classes),
        class_weights=plan.choices.class_weights,
        progress=lambda passes: reporter.advance(passes - reporter.run.done),
    )
    _keep_head_figures(reporter, head)
    summary["temperature"] = round(head.temperature, 4)
    summary["backbone"] = str(model)
    trained = build_from_head(
        plan.recipe,
        _original(model),
        head,
        plan.answers,
        into=_workshop(),
        also=plan.options.also,
        progress=_follower(reporter, []),
    )
    notes = list(_never_learned(plan, scored))
    if validation.sum() < FEWEST_TO_CALIBRATE:
        notes.append(
            f"The release has {int(validation.sum())} validation images: too few ({FEWEST_TO_CALIBRATE} are needed) to "
            "set how sure the head may be."
        )
    return _Made(trained, model.profile, None, str(model.sidecar.get("licence", "unknown")), tuple(notes))


def _keep_head_figures(reporter: RunReporter, head: Head) -> None:
    """A head is fitted in one go: one epoch."""
    figures = NewEpoch(1, head.loss, head.accuracy, head.validation_loss, head.validation_accuracy, None, 0.0)
    add_epoch(run=reporter.run, epoch=figures)


def _never_learned(plan: TrainingPlan, rows: Sequence[_Row]) -> tuple[str, ...]:
    learned = {row.label for row in rows if not row.validation}
    missing = [known.name for known in plan.classes if known.index not in learned]
    return (f"Classes without an image to learn from, never predicted: {', '.join(missing)}.",) if missing else ()


def _count(summary: dict[str, Any], validation: np.ndarray) -> None:
    summary["learned_from"], summary["validated_on"] = int((~validation).sum()), int(validation.sum())


def _workshop() -> Path:
    """Where trainings work; those that nobody took up again are forgotten, as their checkpoints can be large."""
    workshop = Path(settings.WINNOW_HOME) / "training"
    forget_abandoned(workshop)
    return workshop


def forget_abandoned(workshop: Path) -> None:
    """Remove the work of trainings in which nothing was written for `ABANDONED_AFTER_DAYS`."""
    until = time.time() - ABANDONED_AFTER_DAYS * 86_400
    for work in workshop.iterdir() if workshop.is_dir() else ():
        try:
            touched = max(path.lstat().st_mtime for path in (work, *work.rglob("*")))
        except FileNotFoundError:  # Somebody is at work in it.
            continue
        if touched < until:
            shutil.rmtree(work, ignore_errors=True)


def _follower(reporter: RunReporter, paths: list[str]) -> Callable[[TrainingProgress], None]:
    """Turns progress into the run's stage, its epochs and its refusals."""

    def follow(now: TrainingProgress) -> None:
        if now.epoch is not None:
            add_epoch(run=reporter.run, epoch=_new_epoch(now.epoch))
        elif now.refused is not None:
            reporter.refuse(paths[now.refused.row], now.refused.code, now.refused.reason)
        elif now.stage != reporter.run.stage:
            reporter.stage(now.stage, now.total, now.done)
        reporter.advance(max(0, now.done - reporter.run.done))

    return follow


def _new_epoch(epoch: EpochFigures) -> NewEpoch:
    return NewEpoch(**asdict(epoch))


def _register(plan: TrainingPlan, made: _Made, reporter: RunReporter) -> ModelVersion:
    reporter.stage("compiling and checking")
    folder = convert_and_register(
        Declared(
            path=str(made.trained.keras_file),
            name=plan.name,
            taxonomy=plan.release.dataset.taxonomy.slug,
            class_names=plan.answers.class_names,
            profile=made.profile,
            positive_class=made.positive,
            embedding_layer=made.trained.embedding_layer,
            licence=made.licence,
            trained_on=plan.trained_on,
        ),
        Path(settings.MODELS_ROOT),
        files=made.trained.answer,
        progress=lambda step: reporter.advance(0),
    )
    sidecar = folder.sidecar
    return register_trained_version(
        run=reporter.run,
        release=plan.release,
        name=sidecar.name,
        folder=folder.path.name,
        sha256=sidecar.model_sha256,
        profile=sidecar.profile,
        embedding_size=sidecar.embedding_size,
        sidecar=asdict(sidecar),
    )
