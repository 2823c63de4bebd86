"""Evaluations as people read them: the newest of each question, and the figures of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, QuerySet

from labeling.models import Dataset, Evaluation, LabelsUsed, Level, ModelVersion, Prediction
from labeling.queries.learned import looked_at


@dataclass(frozen=True)
class EvaluationRow:
    """One evaluation with its headline figures, each {point, low, high}; `by_class` is None for groups only."""

    evaluation: Evaluation
    by_class: Mapping[str, float] | None
    by_group: Mapping[str, float] | None
    missed: Mapping[str, float] | None
    f1: float


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix: images of a label that the model answered so; `heat` 0..5 by the share of the row."""

    label: str
    said: str
    images: int
    share: float
    heat: int

    @property
    def right(self) -> bool:
        return self.label == self.said


@dataclass(frozen=True)
class FiguresRow:
    """A class or group with its figures (see `inference.metrics.ClassMetrics`) and its row of the matrix."""

    name: str
    harm_rank: int
    figures: Mapping[str, Any]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class LevelFigures:
    """The figures at one level; `rows` in the order of the taxonomy, `harm_first` by harm rank."""

    level: Level
    names: tuple[str, ...]
    rows: tuple[FiguresRow, ...]
    figures: Mapping[str, Any]

    @property
    def harm_first(self) -> list[FiguresRow]:
        return sorted(self.rows, key=lambda row: -row.harm_rank)


def title_of(evaluation: Evaluation) -> str:
    """An evaluation in one line."""
    release = evaluation.release
    cleaned = "" if evaluation.labels == LabelsUsed.RELEASE else ", labels as given"
    return f"{evaluation.model_version} on {evaluation.split} of {release.dataset.slug} {release.version}{cleaned}"


def newest_evaluations(dataset: Dataset) -> list[EvaluationRow]:
    """The newest evaluation of each model, release, split and kind of labels, newest first; two SQL queries."""
    of_dataset = Evaluation.objects.filter(release__dataset=dataset)
    newest = of_dataset.order_by().values("release", "model_version", "split", "labels").annotate(newest=Max("pk"))
    found = _read(Evaluation.objects.filter(pk__in=newest.values("newest"))).order_by("-pk")
    return [_row(one) for one in found]


def evaluations_of(dataset: Dataset, model: ModelVersion) -> list[EvaluationRow]:
    """Those of one model, newest first."""
    return [row for row in newest_evaluations(dataset) if row.evaluation.model_version_id == model.pk]


def evaluation_of(dataset: Dataset, pk: int) -> Evaluation:
    """One evaluation with its model, release and dataset.

    Raises:
        Evaluation.DoesNotExist: the dataset has no such evaluation.
    """
    return _read(Evaluation.objects.all()).get(pk=pk, release__dataset=dataset)


def comparable_with(evaluation: Evaluation) -> list[Evaluation]:
    """The newest other evaluations on the same images: other models, and other labels of the same one."""
    same = Evaluation.objects.filter(release=evaluation.release_id, split=evaluation.split).exclude(
        model_version=evaluation.model_version_id, labels=evaluation.labels
    )
    newest = same.order_by().values("model_version", "labels").annotate(newest=Max("pk"))
    return list(_read(Evaluation.objects.filter(pk__in=newest.values("newest"))).order_by("-pk"))


def levels_of(evaluation: Evaluation) -> list[LevelFigures]:
    """The figures of an evaluation, its own level first."""
    own = Level(evaluation.level)
    others = [level for level in Level if level != own and level in evaluation.figures]
    return [_level(level, evaluation.figures[level]) for level in (own, *others)]


def stopped_by(evaluation: Evaluation) -> bool:
    """Whether the split is the one that told the training of this model when to stop."""
    return evaluation.split == "validation" and looked_at(evaluation.model_version, evaluation.release)


def models_to_evaluate(dataset: Dataset) -> list[ModelVersion]:
    """Registered models: first those that have scored an image of the dataset, newest first."""
    scored = set(
        Prediction.objects.filter(image__dataset=dataset).order_by().values_list("model_version", flat=True).distinct()
    )
    models = ModelVersion.objects.select_related("taxonomy").order_by("-pk")
    return sorted(models, key=lambda model: model.pk not in scored)


def _read(evaluations: QuerySet[Evaluation]) -> QuerySet[Evaluation]:
    return evaluations.select_related("model_version__taxonomy", "release__dataset__taxonomy", "run")


def _row(evaluation: Evaluation) -> EvaluationRow:
    by_class, by_group = evaluation.figures.get(Level.CLASS), evaluation.figures.get(Level.GROUP)
    own = evaluation.figures[evaluation.level]
    return EvaluationRow(
        evaluation=evaluation,
        by_class=by_class["accuracy"] if by_class else None,
        by_group=by_group["accuracy"] if by_group else None,
        missed=(by_group or own)["missed"],
        f1=own["f1"],
    )


def _level(level: Level, figures: Mapping[str, Any]) -> LevelFigures:
    names: Sequence[str] = figures["names"]
    rows = []
    for at, name in enumerate(names):
        counts = figures["confusion"][at]
        total = sum(counts)
        cells = tuple(
            Cell(name, said, count, count / total if total else 0.0, _heat(count, total))
            for said, count in zip(names, counts, strict=True)
        )
        rows.append(FiguresRow(name, figures["harm_rank"][at], figures["classes"][at], cells))
    return LevelFigures(level, tuple(names), tuple(rows), figures)


def _heat(count: int, total: int) -> int:
    """0 for none, 1 to 5 by the share of the row."""
    return 0 if not count else min(5, 1 + int(5 * count / total))
