"""Models: listing them, one with its facts and files, and training on a release."""

import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset
from labeling.errors import LabelingError
from labeling.models import Dataset, ModelVersion, Release, RunKind
from labeling.pipeline.training import check_training
from labeling.queries.evaluations import evaluations_of
from labeling.queries.model_versions import ModelPage, model_page, model_rows
from labeling.queries.runs import latest_run_of
from labeling.tasks import start_run
from reviewer.http import PersonRequest
from reviewer.learning_chart import learning_chart
from reviewer.training_form import TrainForm


@require_safe
def models(request: PersonRequest, slug: str) -> HttpResponse:
    """The models that may be known in this dataset, newest first."""
    access = access_dataset(request.user, slug)
    context = {
        "access": access,
        "dataset": access.dataset,
        "rows": model_rows(access.dataset),
        "last_release": access.dataset.releases.first(),
        "progress": latest_run_of(access.dataset, RunKind.TRAIN),
    }
    return render(request, "models/list.html", context)


@require_safe
def model(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    access = access_dataset(request.user, slug)
    page = _page_of(access.dataset, pk)
    context = {
        "access": access,
        "dataset": access.dataset,
        "page": page,
        "model": page.row.model,
        "chart": learning_chart(page.epochs),
        "evaluations": evaluations_of(access.dataset, page.row.model),
    }
    return render(request, "models/model.html", context)


@require_safe
def model_file(request: PersonRequest, slug: str, pk: int, name: str) -> FileResponse:
    """One file of a model, to take along; a folder comes as a zip."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    for file in _page_of(access.dataset, pk).files:
        if file.name == name:
            content = _zipped(file.path) if file.path.is_dir() else file.path.open("rb")
            return FileResponse(content, as_attachment=True, filename=name, content_type="application/octet-stream")
    raise Http404("The model has no such file.")


@require_safe
def train_page(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    access = access_dataset(request.user, slug, *ENGINEERS)
    release = _release(access, pk)
    return _train_page(request, access, release, TrainForm(release))


@require_POST
def train(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Have a worker train on the release; what could not end well is refused at once."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    release = _release(access, pk)
    form = TrainForm(release, request.POST)
    if form.is_valid():
        recipe, options = form.cleaned_data["recipe"], form.options()
        try:
            check_training(release, recipe, options)
            parameters = {"release": release.pk, "recipe": recipe, **asdict(options), "also": list(options.also)}
            run = start_run(dataset=access.dataset, kind=RunKind.TRAIN, parameters=parameters, person=request.user)
        except LabelingError as error:
            form.add_error(None, str(error))
        else:
            return redirect("run", run.pk)
    return _train_page(request, access, release, form, status=422)


def _train_page(
    request: PersonRequest, access: DatasetAccess, release: Release, form: TrainForm, *, status: int = 200
) -> HttpResponse:
    context = {"access": access, "dataset": access.dataset, "release": release, "form": form}
    return render(request, "models/train.html", context, status=status)


def _release(access: DatasetAccess, pk: int) -> Release:
    return get_object_or_404(Release.objects.select_related("dataset__taxonomy"), dataset=access.dataset, pk=pk)


def _page_of(dataset: Dataset, pk: int) -> ModelPage:
    try:
        return model_page(dataset, pk)
    except ModelVersion.DoesNotExist as error:
        raise Http404("No such model.") from error


def _zipped(folder: Path) -> "tempfile._TemporaryFileWrapper[bytes]":
    # Weights do not compress; storing them takes a moment.
    made = tempfile.NamedTemporaryFile(prefix="winnow-model-")  # noqa: SIM115 - the response closes it
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, Path(folder.name) / file.relative_to(folder))
    made.seek(0)
    return made
