"""From embeddings and labels to one out-of-sample opinion an image: members, their weights, and what was refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from django.conf import settings

from inference import ensembles
from inference.cross_validation import (
    LINEAR,
    VOTE,
    Member,
    out_of_sample,
    possible,
    refit,
    scoring_model_opinion,
)
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import Dataset, Image, ModelVersion, Prediction, TaxonomyClass
from labeling.pipeline.embeddings import EmbeddingFile
from labeling.pipeline.shapes import shapes_of
from labeling.queries.learned import learned_images
from labeling.taxonomies import ClassSpec
from labeling.taxonomies.class_maps import ClassMap, map_classes

FOLDS = 5
UNLABELLED = -1
SURE = 0.5

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """The images that a model has scored, in the order of their keys; `N` of them.

    Attributes:
        pks, paths, splits, sha256, pixel_sha256: one an image.
        groups: (N,) near-duplicate group: the key of its centre, or the image's own.
        label: (N,) class index of the current label; -1 for an image out of the dataset, which is judged by nobody.
        embeddings: one (N, D) array a model, and the shapes last where they are looked at; rows of NaN where that
            model has not scored the image.
        opinions: one (N, K') array a model: its own probabilities, in its own classes; NaN likewise.
    """

    pks: tuple[int, ...]
    paths: tuple[str, ...]
    splits: tuple[str, ...]
    sha256: tuple[str, ...]
    pixel_sha256: tuple[str, ...]
    groups: Integers
    label: Integers
    embeddings: tuple[Halves, ...]
    opinions: tuple[Floats, ...]

    @property
    def ranked(self) -> Integers:
        """Places of the images that are still in the dataset."""
        return np.flatnonzero(self.label != UNLABELLED)


@dataclass(frozen=True, eq=False)
class GroupOpinion:
    """What a model of another taxonomy says about the groups: (N,) the likelier group and its probability 0..1."""

    model: str
    group: tuple[str | None, ...]
    probability: Floats


@dataclass(frozen=True)
class WeighedMember:
    """A member of the ensemble: its share 0..1, its temperature, and the model it came from."""

    name: str
    weight: float
    temperature: float
    model_version: ModelVersion | None


@dataclass(frozen=True, eq=False)
class Judgement:
    """Out-of-sample probabilities (N, K) of every image, and how they came about."""

    probabilities: Floats
    fold: Integers
    folds: int
    members: tuple[WeighedMember, ...]
    group_opinions: tuple[GroupOpinion, ...]
    missing: Bools
    notes: tuple[str, ...]


def load_scored(
    dataset: Dataset,
    models: Sequence[ModelVersion],
    classes: Sequence[TaxonomyClass],
    *,
    shapes: bool = False,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> ScoredImages:
    """Everything about the images that the first of the models has scored; with `shapes`, those of the pictures too."""
    index_of = {known.pk: known.index for known in classes}
    images = list(
        Image.objects.filter(dataset=dataset, predictions__model_version=models[0])
        .order_by("pk")
        .values_list(
            "pk",
            "path",
            "split",
            "sha256",
            "pixel_sha256",
            "duplicate_group_id",
            "current_class_id",
            "excluded",
        )
    )
    place = {row[0]: at for at, row in enumerate(images)}
    embeddings, opinions = zip(*(_of_model(dataset, model, place) for model in models), strict=True)
    if shapes:
        seen = shapes_of(dataset, [row[3] for row in images], progress=progress)
        # Without a single thumbnail there is nothing to look at.
        embeddings = (*embeddings, seen) if np.isfinite(seen).all(axis=1).any() else embeddings
    return ScoredImages(
        pks=tuple(row[0] for row in images),
        paths=tuple(row[1] for row in images),
        splits=tuple(row[2] for row in images),
        sha256=tuple(row[3] for row in images),
        pixel_sha256=tuple(row[4] for row in images),
        groups=np.array([row[5] or row[0] for row in images], dtype=np.int64),
        label=np.array([UNLABELLED if row[7] else index_of[row[6]] for row in images], dtype=np.int64),
        embeddings=embeddings,
        opinions=opinions,
    )


def _of_model(dataset: Dataset, model: ModelVersion, place: Mapping[int, int]) -> tuple[Halves, Floats]:
    rows = [
        row
        for row in Prediction.objects.filter(image__dataset=dataset, model_version=model)
        .order_by("image_id")
        .values_list("image_id", "embedding_row", "probabilities")
        if row[0] in place
    ]
    at = np.array([place[row[0]] for row in rows], dtype=np.int64)
    found = EmbeddingFile(dataset, model).rows(np.array([row[1] for row in rows], dtype=np.int64))
    said = np.frombuffer(b"".join(bytes(row[2]) for row in rows), dtype="<f4").reshape(len(rows), -1)
    if len(rows) == len(place):
        return found, said
    embeddings = np.full((len(place), found.shape[1]), np.nan, dtype=np.float16)
    opinions = np.full((len(place), said.shape[1]), np.nan, dtype=np.float32)
    embeddings[at], opinions[at] = found, said
    return embeddings, opinions


def refuse_in_sample(dataset: Dataset, models: Sequence[ModelVersion]) -> None:
    """Refuse models that learned from this dataset's labels: they would confirm the errors that they learned.

    Raises:
        WrongUsage: a model's sidecar names the dataset, or one of its releases, as what it was trained on.
    """
    for model in models:
        if trained_on(model, dataset):
            raise WrongUsage(
                f"{model} was trained on {model.sidecar['trained_on']}, so what it says about {dataset.slug} is not "
                "out of sample: it would confirm the wrong labels that it learned. Use another model with --model, or "
                "--fine-tune, which trains one model a fold and judges each image by the one that never saw it."
            )


def trained_on(model: ModelVersion, dataset: Dataset) -> bool:
    """Whether the sidecar says that the model learned from this dataset or a release of it ("slug", "slug 1.0")."""
    said = str(model.sidecar.get("trained_on", ""))
    return any(part.strip().split(" ")[0] == dataset.slug for part in said.split(","))


def class_map_of(model: ModelVersion, dataset: Dataset, explicit: Mapping[str, str] | None = None) -> ClassMap:
    """What the model's classes mean in the dataset's taxonomy.

    Raises:
        UnknownClass: `explicit` names a class that is in neither.
    """
    own = dataset.taxonomy.classes.order_by("index")
    return map_classes([_spec(one) for one in _classes_of(model)], [_spec(one) for one in own], explicit)


@dataclass(frozen=True)
class Judges:
    """Who judges the labels of a dataset.

    Attributes:
        models: whose embeddings are used, none of which learned from the dataset; the first decides which images there
            are.
        learned: a model that did learn from it, embeddings and all: it has its say about the images it never saw.
    """

    models: tuple[ModelVersion, ...]
    learned: ModelVersion | None = None


def impartial_judges(dataset: Dataset, current: ModelVersion, starter: str) -> Judges:
    """The judges of a dataset that works with `current`.

    A model that was trained on the dataset confirms the wrong labels that it learned. A head on frozen embeddings has
    learned nothing into these, so they are used, and its own opinion only where it never looked. Of a model that was
    trained throughout, another's embeddings are used: the starter model's, else those of the newest model that has
    scored the dataset.

    Raises:
        NothingToDo: there is no such other model.
    """
    if not trained_on(current, dataset) or _embeds_impartially(current, dataset):
        return Judges((current,))
    scored = Prediction.objects.filter(image__dataset=dataset).order_by().values("model_version").distinct()
    found = [
        model
        for model in ModelVersion.objects.filter(pk__in=scored).select_related("taxonomy").order_by("-pk")
        if not trained_on(model, dataset)
    ]
    if not found:
        raise NothingToDo(
            f"{current} has learned from {dataset.slug}, embeddings and all, and no other model has scored it. Score "
            f"it with one that never saw these labels: manage.py score {dataset.slug} --model {starter}"
        )
    return Judges((next((model for model in found if model.name == starter), found[0]),), current)


def _embeds_impartially(model: ModelVersion, dataset: Dataset) -> bool:
    """Whether the model is a head on the frozen embeddings of one that never learned from the dataset."""
    backbone = str(model.trained_by.summary.get("backbone", "")) if model.trained_by else ""
    name, _, version = backbone.rpartition(" v")
    if not version.isdecimal():
        return False
    origin = ModelVersion.objects.filter(name=name, version=int(version)).first()
    return origin is not None and (not trained_on(origin, dataset) or _embeds_impartially(origin, dataset))


def without_in_sample(dataset: Dataset, models: Sequence[ModelVersion], scored: ScoredImages) -> ScoredImages:
    """The same without what models say about images that they have learned from."""
    opinions = [
        _silenced(said, _learned(dataset, model, scored)) if trained_on(model, dataset) else said
        for model, said in zip(models, scored.opinions, strict=True)
    ]
    return replace(scored, opinions=tuple(opinions))


def opinion_where_never_seen(
    dataset: Dataset, model: ModelVersion, classes: Sequence[TaxonomyClass], scored: ScoredImages
) -> Member | None:
    """What the model says about images that it never learned from; None where its classes are others."""
    mapped = class_map_of(model, dataset)
    if not mapped.by_class:
        return None
    _, said = _of_model(dataset, model, {pk: at for at, pk in enumerate(scored.pks)})
    silenced = _silenced(said, _learned(dataset, model, scored))
    return Member(f"{model} where it never learned", _own_opinion(silenced, mapped, len(classes)))


def _learned(dataset: Dataset, model: ModelVersion, scored: ScoredImages) -> Bools:
    learned = set(learned_images(model, dataset).values_list("pk", flat=True).iterator())
    return np.array([pk in learned for pk in scored.pks], dtype=np.bool_)


def _silenced(said: Floats, where: Bools) -> Floats:
    answer = np.array(said, dtype=np.float32)
    answer[where] = np.nan
    return answer


def judge(
    dataset: Dataset,
    models: Sequence[ModelVersion],
    classes: Sequence[TaxonomyClass],
    scored: ScoredImages,
    *,
    class_map: Mapping[str, str],
    further: Sequence[Member] = (),
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Let several members judge every image out of sample, and weigh them by evidence in the given labels.

    Args:
        class_map: model's class → dataset's class, where names, aliases and groups do not tell.
        further: members from elsewhere, such as fine-tuned ones.
        again: use what the last fit of the same images left behind (after new verdicts).

    Raises:
        ArrayRefused, NotEnoughLabels: the labels do not allow a judgement.
    """
    specs = [_spec(known) for known in classes]
    maps = [map_classes([_spec(one) for one in _classes_of(model)], specs, class_map) for model in models]
    names = [known.name for known in classes]
    own = [
        Member(f"{model} itself", _own_opinion(said, mapped, len(classes)))
        for model, said, mapped in zip(models, scored.opinions, maps, strict=True)
        if mapped.by_class
    ]
    judged = (refit if again else out_of_sample)(
        list(scored.embeddings),
        scored.label,
        n_classes=len(classes),
        groups=scored.groups,
        folds=FOLDS,
        class_names=names,
        further=[*own, *further],
        state=_state_file(dataset, models, shapes=len(scored.embeddings) > len(models)),
        combine=lambda members, _: members[0].probabilities,
        progress=progress,
    )
    groups = [
        _group_opinion(str(model), said, mapped)
        for model, said, mapped in zip(models, scored.opinions, maps, strict=True)
        if not mapped.by_class and mapped.by_group
    ]
    opinions = _without_silence(
        [*judged.opinions, *(_within_groups(one, judged.opinions[0], classes) for one in groups)],
        [*_silent(scored), *(_nothing_said(one) for one in (*own, *further))],
    )
    said = [one.probabilities for one in opinions]
    joint = ensembles.combine(scored.label, said, names=[one.name for one in opinions], calibrate_one=True)
    return Judgement(
        probabilities=possible(joint.probabilities, said),
        fold=judged.fold.astype(np.int64),
        folds=len(set(judged.fold.tolist())),
        members=tuple(
            WeighedMember(_called(one.name, models), one.weight, one.temperature, _model_of(one.name, models))
            for one in joint.members
        ),
        group_opinions=tuple(groups),
        missing=judged.missing,
        notes=(*judged.notes, *joint.notes, *_notes_on_maps(models, maps)),
    )


def _silent(scored: ScoredImages) -> list[Bools]:
    """For each member that learned from embeddings, the images without one: both members of each model, then of all."""
    without = [np.isnan(rows[:, 0]) for rows in scored.embeddings]
    each = [mask for mask in without for _ in (LINEAR, VOTE)]
    return [*each, np.any(without, axis=0)] if len(without) > 1 else each


def _nothing_said(member: Member) -> Bools:
    silent: Bools = np.asarray(np.isnan(member.probabilities).any(axis=1))
    return silent


def _without_silence(opinions: Sequence[Member], silent: Sequence[Bools]) -> list[Member]:
    """Where a member has not seen an image, let it repeat what the others say on average.

    The classes' shares, which it would say otherwise, would make a label of a rare class look wrong.
    """
    masks = [*silent, *([np.zeros_like(silent[0])] * (len(opinions) - len(silent)))]
    some = np.any(masks, axis=0) & ~np.all(masks, axis=0)
    if not some.any():
        return list(opinions)
    heard = np.stack([~mask[some] for mask in masks]).astype(np.float32)[:, :, None]
    said = np.stack([one.probabilities[some] for one in opinions])
    mean = (said * heard).sum(axis=0) / heard.sum(axis=0)
    answers = []
    for one, mask in zip(opinions, masks, strict=True):
        filled = np.array(one.probabilities, dtype=np.float32)
        filled[mask & some] = mean[mask[some]]
        answers.append(Member(one.name, filled))
    return answers


def _state_file(dataset: Dataset, models: Sequence[ModelVersion], *, shapes: bool) -> Path:
    name = "-".join([*(str(model.pk) for model in models), *(["shapes"] if shapes else [])])
    return Path(settings.EMBEDDINGS_ROOT) / str(dataset.pk) / f"{name}.fit.npz"


def _classes_of(model: ModelVersion) -> list[TaxonomyClass]:
    return list(model.taxonomy.classes.order_by("index"))


def _spec(known: TaxonomyClass) -> ClassSpec:
    return ClassSpec(known.name, known.group, known.harm_rank, tuple(known.aliases))


def _own_opinion(said: Floats, mapped: ClassMap, n_classes: int) -> Floats:
    return scoring_model_opinion(said, mapped.classes, n_classes=n_classes, trained_on_these=False).probabilities


def _group_opinion(model: str, said: Floats, mapped: ClassMap) -> GroupOpinion:
    groups = sorted({group for group in mapped.groups if group is not None})
    sums = np.stack([said[:, [group == one for group in mapped.groups]].sum(axis=1) for one in groups], axis=1).astype(
        np.float32
    )
    likelier = np.where(np.isnan(sums).any(axis=1), -1, np.nan_to_num(sums).argmax(axis=1))
    return GroupOpinion(
        model,
        tuple(groups[at] if at >= 0 else None for at in likelier.tolist()),
        np.nan_to_num(sums).max(axis=1).astype(np.float32),
    )


def _within_groups(opinion: GroupOpinion, head: Member, classes: Sequence[TaxonomyClass]) -> Member:
    """The model's probabilities of the groups, and within a group the classes as the head sees them."""
    answer = np.array(head.probabilities, dtype=np.float32)
    names = sorted({known.group for known in classes})
    for group in names:
        own = [known.index for known in classes if known.group == group]
        others = [known.index for known in classes if known.group != group]
        said = np.array([one == group for one in opinion.group])
        inside = np.maximum(answer[said][:, own].sum(axis=1, keepdims=True), 1e-6)
        outside = np.maximum(answer[said][:, others].sum(axis=1, keepdims=True), 1e-6)
        share = opinion.probability[said][:, None]
        part = answer[said]
        part[:, own] *= share / inside
        part[:, others] *= (1 - share) / outside
        answer[said] = part / part.sum(axis=1, keepdims=True)
    return Member(f"{opinion.model} itself, by group", answer)


def _called(name: str, models: Sequence[ModelVersion]) -> str:
    """A member's name with its model's."""
    for number, model in enumerate(models, start=1):
        if name.endswith(f" of model {number}"):
            return name.removesuffix(f"model {number}") + str(model)
    if name in {LINEAR, VOTE}:
        return f"{name} of {models[0]}"
    return name.replace(f"model {len(models) + 1}", "shapes").replace("of all models", "of all")


def _model_of(name: str, models: Sequence[ModelVersion]) -> ModelVersion | None:
    called = _called(name, models)
    # What is joined of several, or of shapes, is no one model's.
    return next((model for model in models if str(model) in called), None)


def _notes_on_maps(models: Sequence[ModelVersion], maps: Sequence[ClassMap]) -> list[str]:
    notes = []
    for model, mapped in zip(models, maps, strict=True):
        if mapped.by_class:
            continue
        if mapped.by_group:
            notes.append(f"{model} knows other classes: where it disagrees is judged by group.")
        else:
            notes.append(
                f"{model} knows other classes and no group of this taxonomy: its own opinion is left out, its "
                "embeddings are used. --map MODEL_CLASS=CLASS tells what its classes mean."
            )
    return notes
