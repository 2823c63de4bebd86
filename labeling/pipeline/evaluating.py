"""Evaluating: what a model version is worth on a release's split, and which of two is better."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from inference.metrics import PairedTest, by_group, mcnemar, measure, worst_first
from labeling.actions.evaluations import record_evaluation
from labeling.actions.runs import Listener, RunReporter, running, when_free
from labeling.errors import NothingToDo, UnknownSplit, WrongUsage, nearest
from labeling.models import (
    SPLITS,
    Evaluation,
    Image,
    LabelsUsed,
    Level,
    ModelVersion,
    Person,
    Prediction,
    Release,
    ReleaseEntry,
    Run,
    RunKind,
    TaxonomyClass,
)
from labeling.pipeline.judging import class_map_of
from labeling.pipeline.model_versions import has_network, reference_to
from labeling.pipeline.scoring import ReleasePart, score, unscored
from labeling.queries.learned import learned_images
from labeling.taxonomies.class_maps import ClassMap

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LABEL = {LabelsUsed.RELEASE: "label__index", LabelsUsed.GIVEN: "image__given_class__index"}


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says about the images of a release's split, beside their labels; N images in the order of `pks`.

    Attributes:
        pks: keys of the images.
        names: of the K classes, or of the K groups.
        harm_rank: (K,) of a group the highest rank of its classes.
        labels: (N,) the label, as an index into `names`.
        probabilities: (N, K).
    """

    pks: tuple[int, ...]
    names: tuple[str, ...]
    harm_rank: Integers
    labels: Integers
    probabilities: Floats

    @property
    def said(self) -> Integers:
        """(N,) the model's answers."""
        answers: Integers = self.probabilities.argmax(axis=1).astype(np.int64)
        return answers

    @property
    def right(self) -> Bools:
        """(N,) whether each is the label."""
        return np.asarray(self.said == self.labels)

    @property
    def wrong_first(self) -> Integers:
        """(M,) the rows that are wrong, harm that was called harmless first, then by confidence."""
        return worst_first(self.labels, self.probabilities, self.harm_rank)

    def rows_of(self, label: str, said: str) -> Integers:
        """The rows of one cell of the confusion matrix, those first of which the model was surest."""
        at, to = self.names.index(label), self.names.index(said)
        rows = np.flatnonzero((self.labels == at) & (self.said == to))
        ordered: Integers = rows[np.lexsort((rows, -self.probabilities[rows, to]))]
        return ordered

    def groups(self, classes: Sequence[TaxonomyClass]) -> "Answers":
        """The same one level up; `classes` are those that `names` names."""
        names = group_names(classes)
        labels, probabilities = by_group(
            self.labels, self.probabilities, np.array([names.index(known.group) for known in classes])
        )
        return Answers(self.pks, names, _group_ranks(names, classes), labels, probabilities)


@dataclass(frozen=True)
class Comparison:
    """Two evaluations on the same images: of two models, or of one model before and after cleaning.

    Attributes:
        level: at which both can be compared.
        images: that both have an answer for.
        relabelled: of these, how many have another label in the one evaluation than in the other.
        test: McNemar's, first against second.
    """

    level: Level
    images: int
    relabelled: int
    test: PairedTest


def evaluate(
    model_version: ModelVersion,
    release: Release,
    *,
    split: str = "test",
    labels: LabelsUsed = LabelsUsed.RELEASE,
    class_map: Mapping[str, str] | None = None,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> Evaluation:
    """Measure a model version on a split of a release, as a run; what it has not seen yet is scored first.

    A model of another taxonomy is judged class by class where each of its classes means one class of the dataset, and
    by group where only the groups correspond. Evaluating again adds nothing while nothing has changed.

    Args:
        split: train, validation or test.
        labels: `RELEASE` measures on the labels of the release; `GIVEN` on those that the very same images came with,
            which tells what cleaning the test labels changes about the figures.
        class_map: model's class → dataset's class, where names, aliases and groups do not tell.

    Raises:
        UnknownSplit, UnknownClass: a word that the release or a taxonomy does not know.
        WrongUsage: the model's classes mean nothing in this dataset.
        NothingToDo: the split has no image.
    """
    said = dict(sorted((class_map or {}).items()))
    check_evaluable(model_version, release, split, said)
    with running(
        dataset=release.dataset,
        kind=RunKind.EVALUATE,
        parameters={
            "model": model_version.pk,
            "release": release.pk,
            "split": split,
            "labels": LabelsUsed(labels).value,
            "class_map": said,
        },
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        part = ReleasePart(release, split)
        _score_missing(model_version, part, reporter)
        reporter.stage("measuring")
        evaluation = _measure(model_version, part, LabelsUsed(labels), said, reporter)
        reporter.run.summary = summary_of(evaluation)
    return evaluation


def check_evaluable(
    model_version: ModelVersion, release: Release, split: str, class_map: Mapping[str, str] | None = None
) -> None:
    """Refuse what cannot be measured before anything starts; the errors of `evaluate`."""
    if split not in SPLITS:
        raise UnknownSplit(f"Expected a split of {', '.join(SPLITS)}, received {split!r}.{nearest(split, SPLITS)}")
    if not release.entries.filter(split=split).exists():
        held = sorted(set(release.entries.order_by().values_list("split", flat=True).distinct()), key=SPLITS.index)
        raise NothingToDo(
            f"Release {release.version} of {release.dataset.slug} has no image in {split} (there is "
            f"{', '.join(held) or 'nothing in it'})."
        )
    _class_map(model_version, release, class_map or {})


def _score_missing(model_version: ModelVersion, part: ReleasePart, reporter: RunReporter) -> None:
    # What was imported as a file of answers has no network; images that it says nothing about are counted.
    if not has_network(model_version) or not unscored(part.images(), model_version).exists():
        return

    reporter.stage("scoring what is missing")
    model, person = reference_to(model_version), reporter.run.created_by
    when_free(
        reporter, lambda follow: score(part.release.dataset, model=model, part=part, person=person, listener=follow)
    )


def _measure(
    model_version: ModelVersion,
    part: ReleasePart,
    labels: LabelsUsed,
    class_map: Mapping[str, str],
    reporter: RunReporter,
) -> Evaluation:
    release, split = part.release, part.split
    answers = _answers(model_version, release, split, labels, class_map)
    if not answers.pks:
        raise NothingToDo(
            f"No image of {split} in release {release.version} could be scored by {model_version}; the refused files "
            "of the scoring run say why."
        )
    classes = _classes(release)
    level = Level.CLASS if answers.names == tuple(known.name for known in classes) else Level.GROUP
    levels = [(level, answers)]
    if level == Level.CLASS and 1 < len(group_names(classes)) < len(classes):
        levels.append((Level.GROUP, answers.groups(classes)))
    learned = set(learned_images(model_version, release.dataset).values_list("pk", flat=True).iterator())
    everything = ReleaseEntry.everything.filter(release=release, split=split).count()
    shown = release.entries.filter(split=split).count()
    return record_evaluation(
        run=reporter.run,
        release=release,
        model_version=model_version,
        split=split,
        labels=labels,
        class_map=dict(class_map),
        level=level,
        images=len(answers.pks),
        in_sample=sum(pk in learned for pk in answers.pks),
        unscored=shown - len(answers.pks),
        hidden=everything - shown,
        figures={
            Level(one).value: {
                "names": list(said.names),
                "harm_rank": said.harm_rank.tolist(),
                **asdict(measure(said.labels, said.probabilities, harmful=said.harm_rank > 0)),
            }
            for one, said in levels
        },
    )


def summary_of(evaluation: Evaluation) -> dict[str, object]:
    """What the evaluation's run says it found, in a few words and numbers."""
    figures = evaluation.figures[evaluation.level]
    return {
        "evaluation": evaluation.pk,
        "model": str(evaluation.model_version),
        "release": evaluation.release.version,
        "split": evaluation.split,
        "labels": evaluation.labels,
        "level": evaluation.level,
        "images": evaluation.images,
        "in_sample": evaluation.in_sample,
        "accuracy": round(figures["accuracy"]["point"], 6),
        "unscored": evaluation.unscored,
    }


def answers_of(evaluation: Evaluation, level: Level | None = None) -> Answers:
    """What the model said, image by image, read from its stored predictions.

    Images that went into quarantine since are left out.

    Args:
        level: None: the evaluation's own.

    Raises:
        WrongUsage: the class level of a model that knows the groups only.
    """
    release = evaluation.release
    answers = _answers(
        evaluation.model_version, release, evaluation.split, LabelsUsed(evaluation.labels), evaluation.class_map
    )
    if level in {None, evaluation.level}:
        return answers
    if evaluation.level == Level.GROUP:
        raise WrongUsage(f"{evaluation.model_version} knows the groups of {release.dataset.taxonomy} only.")
    return answers.groups(_classes(release))


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Two evaluations on the same images, by McNemar's exact test.

    Raises:
        WrongUsage: they are on different splits or releases, or no image has an answer in both.
    """
    if (first.release_id, first.split) != (second.release_id, second.split):
        raise WrongUsage(
            f"Expected two evaluations on the same images, received one on {first.split} of {first.release.version} "
            f"and one on {second.split} of {second.release.version}. Evaluate one of the models there too."
        )
    level = Level.GROUP if Level.GROUP in {first.level, second.level} else Level.CLASS
    one, other = answers_of(first, level), answers_of(second, level)
    common, at, to = np.intersect1d(one.pks, other.pks, assume_unique=True, return_indices=True)
    if not len(common):
        raise WrongUsage("No image has an answer of both models any more.")
    return Comparison(
        level=level,
        images=len(common),
        relabelled=int((one.labels[at] != other.labels[to]).sum()),
        test=mcnemar(one.right[at], other.right[to]),
    )


@dataclass(frozen=True)
class AnsweredImage:
    """An image with its label, what the model said, and how sure it was, 0..1."""

    image: Image
    label: str
    said: str
    confidence: float


def answered_images(answers: Answers, rows: Integers) -> list[AnsweredImage]:
    """The images of some rows, in their order; one SQL query. Those that went into quarantine are left out."""
    found = Image.objects.select_related("given_class", "current_class").in_bulk([answers.pks[row] for row in rows])
    said = answers.said
    return [
        AnsweredImage(
            found[answers.pks[row]],
            answers.names[answers.labels[row]],
            answers.names[said[row]],
            float(answers.probabilities[row, said[row]]),
        )
        for row in rows.tolist()
        if answers.pks[row] in found
    ]


def _answers(
    model_version: ModelVersion, release: Release, split: str, labels: LabelsUsed, class_map: Mapping[str, str]
) -> Answers:
    classes = _classes(release)
    entries = release.entries.filter(split=split)
    label_of = dict(entries.order_by("image_id").values_list("image_id", _LABEL[labels]))
    rows = [
        row
        for row in Prediction.objects.filter(model_version=model_version, image__in=entries.values("image"))
        .order_by("image_id")
        .values_list("image_id", "probabilities")
        if row[0] in label_of
    ]
    said = np.frombuffer(b"".join(bytes(row[1]) for row in rows), dtype="<f4").reshape(len(rows), -1)
    truth = np.array([label_of[row[0]] for row in rows], dtype=np.int64)
    mapped = _class_map(model_version, release, class_map)
    names, ranks = tuple(known.name for known in classes), np.array([known.harm_rank for known in classes])
    to: tuple[int | None, ...] = mapped.classes
    if not mapped.by_class:
        groups = group_names(classes)
        truth = np.array([groups.index(known.group) for known in classes])[truth]
        names, ranks = groups, _group_ranks(groups, classes)
        to = tuple(None if group is None else groups.index(group) for group in mapped.groups)
    summed = np.zeros((len(rows), len(names)))
    if rows:
        for column, place in enumerate(to):
            if place is not None:
                summed[:, place] += said[:, column]
    return Answers(tuple(row[0] for row in rows), names, ranks, truth, summed)


def _class_map(model_version: ModelVersion, release: Release, said: Mapping[str, str]) -> ClassMap:
    mapped = class_map_of(model_version, release.dataset, said)
    if not mapped.by_class and not mapped.by_group:
        raise WrongUsage(
            f"{model_version} has the classes of {model_version.taxonomy}, of which not all mean a class or a group of "
            f"{release.dataset.taxonomy}. Say what they mean with --map MODEL_CLASS=CLASS."
        )
    return mapped


def group_names(classes: Sequence[TaxonomyClass]) -> tuple[str, ...]:
    """The groups in the order in which the classes name them first."""
    return tuple(dict.fromkeys(known.group for known in classes))


def _group_ranks(names: Sequence[str], classes: Sequence[TaxonomyClass]) -> Integers:
    return np.array([max(known.harm_rank for known in classes if known.group == name) for name in names])


def _classes(release: Release) -> list[TaxonomyClass]:
    return list(release.dataset.taxonomy.classes.order_by("index"))
