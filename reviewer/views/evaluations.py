"""Evaluations: what each model is worth on the releases, and why."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset
from labeling.errors import LabelingError
from labeling.exporters.matrix import draw_matrix
from labeling.models import Evaluation, LabelsUsed, Level, RunKind
from labeling.pipeline.evaluating import (
    AnsweredImage,
    Answers,
    Comparison,
    answered_images,
    answers_of,
    check_evaluable,
    compare,
)
from labeling.queries.counts import KEEPER
from labeling.queries.evaluations import (
    comparable_with,
    evaluation_of,
    levels_of,
    newest_evaluations,
    stopped_by,
    title_of,
)
from labeling.queries.runs import latest_run_of
from labeling.tasks import start_run
from reviewer import charts
from reviewer.forms import EvaluationForm
from reviewer.http import PersonRequest, go_to, row_number

SHOWN = 48


@dataclass(frozen=True)
class ShownImages:
    """A page of images that the model has wrong, or of one cell; `after` starts the next page."""

    label: str
    said: str
    images: tuple[AnsweredImage, ...]
    total: int
    after: int | None

    @property
    def of_cell(self) -> bool:
        return bool(self.label)


@require_safe
def evaluations(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    return _page(request, access, EvaluationForm(dataset=access.dataset))


@require_POST
def evaluate(request: PersonRequest, slug: str) -> HttpResponse:
    """Have a worker measure a model: what it has not scored yet is scored first."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    page = reverse("evaluations", args=[slug])
    form = EvaluationForm(request.POST, dataset=access.dataset)
    if not form.is_valid():
        return go_to(request, page, notice=form.first_error())
    model, release, split = (form.cleaned_data[name] for name in ("model", "release", "split"))
    try:
        check_evaluable(model, release, split)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    parameters = {
        "model": model.pk,
        "release": release.pk,
        "split": split,
        "labels": LabelsUsed(form.cleaned_data["labels"]).value,
        "class_map": {},
    }
    start_run(dataset=access.dataset, kind=RunKind.EVALUATE, parameters=parameters, person=request.user)
    return go_to(request, page + "#evaluating")


@require_safe
def evaluation(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """One evaluation: its figures, its matrix, the images behind a cell, and another one beside it."""
    access = access_dataset(request.user, slug)
    found = _evaluation(access, pk)
    levels = levels_of(found)
    shown = next((one for one in levels if one.level == request.GET.get("level")), levels[0])
    others = comparable_with(found)
    other = next((one for one in others if str(one.pk) == request.GET.get("with")), None)
    asked = {name: value for name in ("level", "with") if (value := request.GET.get(name))}
    context: dict[str, Any] = {
        "access": access,
        "dataset": access.dataset,
        "evaluation": found,
        "title": title_of(found),
        "levels": levels,
        "shown": shown,
        "reliability": charts.reliability(shown.figures["calibration"]["bins"]),
        "stopped_by": stopped_by(found),
        "others": others,
        "other": other,
        "comparison": _comparison(found, other) if other else None,
        "query": urlencode(asked),
        "images": _images(request, found, shown.level),
        "labels_used": LabelsUsed,
    }
    return render(request, "evaluations/evaluation.html", context)


@require_safe
def matrix(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """The confusion matrix as a PNG."""
    access = access_dataset(request.user, slug)
    found = _evaluation(access, pk)
    level = request.GET.get("level", found.level)
    if level not in found.figures:
        raise Http404("No such level.")
    figures = found.figures[level]
    picture = draw_matrix(figures["names"], figures["confusion"], title=title_of(found))
    response = HttpResponse(picture, content_type="image/png")
    response.headers["Content-Disposition"] = f'attachment; filename="confusion-{slug}-{found.pk}-{level}.png"'
    return response


def _page(request: PersonRequest, access: DatasetAccess, form: EvaluationForm) -> HttpResponse:
    context = {
        "access": access,
        "dataset": access.dataset,
        "form": form,
        "evaluations": newest_evaluations(access.dataset),
        "releases": access.dataset.releases.exists(),
        "progress": latest_run_of(access.dataset, RunKind.EVALUATE),
    }
    return render(request, "evaluations/list.html", context)


def _evaluation(access: DatasetAccess, pk: int) -> Evaluation:
    try:
        return evaluation_of(access.dataset, pk)
    except Evaluation.DoesNotExist as error:
        raise Http404("No such evaluation.") from error


def _answers(found: Evaluation, level: Level) -> Answers:
    # Of a large split that takes a second, and a page of images asks for the same again.
    return KEEPER.counted(("answers", found.pk, level), lambda: answers_of(found, level)).value


def _comparison(found: Evaluation, other: Evaluation) -> Comparison | None:
    try:
        return KEEPER.counted(("comparison", found.pk, other.pk), lambda: compare(found, other)).value
    except LabelingError:
        return None


def _images(request: PersonRequest, found: Evaluation, level: Level) -> ShownImages:
    answers = _answers(found, level)
    label, said = request.GET.get("label", ""), request.GET.get("said", "")
    if label in answers.names and said in answers.names:
        rows = answers.rows_of(label, said)
    else:
        label, said, rows = "", "", answers.wrong_first
    start = row_number(request.GET.get("after", ""))
    end = start + SHOWN
    return ShownImages(
        label,
        said,
        tuple(answered_images(answers, rows[start:end])),
        len(rows),
        end if end < len(rows) else None,
    )
