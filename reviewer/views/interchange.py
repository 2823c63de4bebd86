"""Verdicts and labels in and out, for other tools."""

import hashlib
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, access_dataset
from labeling.errors import LabelingError
from labeling.exporters.records import LINES
from labeling.importers.decisions import SUFFIXES
from labeling.models import BulkKind, Dataset, Person, RunKind
from labeling.pipeline.interchange import find_reviewer
from labeling.queries.bulk import bulk_actions
from labeling.queries.interchange import LABEL_COLUMNS, VERDICT_COLUMNS, current_labels, verdict_log
from labeling.queries.runs import latest_run_of
from labeling.tasks import start_run
from reviewer.forms import VerdictsFileForm
from reviewer.http import PersonRequest, go_to

_CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}


@require_safe
def interchange(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    return _page(request, access.dataset, {"access": access, "form": VerdictsFileForm(initial=_me(request.user))})


@require_POST
def bring(request: PersonRequest, slug: str) -> HttpResponse:
    """Keep an uploaded file, and have a worker record what it decides."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    page = reverse("interchange", args=[slug])
    form = VerdictsFileForm(request.POST, request.FILES)
    if not form.is_valid():
        return go_to(request, page, notice=form.first_error())
    try:
        reviewer = find_reviewer(access.dataset, form.cleaned_data["reviewer"])
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    uploaded: UploadedFile[Any] = form.cleaned_data["file"]
    name = Path(uploaded.name or "file").name
    parameters = {"path": str(_kept(uploaded, Path(name).suffix.lower())), "reviewer": reviewer.pk, "name": name[:100]}
    start_run(dataset=access.dataset, kind=RunKind.VERDICTS, parameters=parameters, person=request.user)
    return go_to(request, page + "#importing")


@require_safe
def verdicts(request: PersonRequest, slug: str, form: str) -> StreamingHttpResponse:
    """The log of verdicts as a file."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    return _file(access.dataset, "verdicts", form)


@require_safe
def labels(request: PersonRequest, slug: str, form: str) -> StreamingHttpResponse:
    """Every current label as a file."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    return _file(access.dataset, "labels", form)


def _page(request: PersonRequest, dataset: Dataset, context: dict[str, object]) -> HttpResponse:
    shown = {
        "dataset": dataset,
        "suffixes": ",".join(SUFFIXES),
        "progress": latest_run_of(dataset, RunKind.VERDICTS),
        "acts": bulk_actions(dataset, BulkKind.IMPORT),
        "revert_key": uuid4(),
    }
    return render(request, "interchange/page.html", shown | context)


def _me(person: Person) -> dict[str, str]:
    return {"reviewer": person.username}


def _kept(uploaded: UploadedFile[Any], suffix: str) -> Path:
    """The upload under the hash of its content, so that the same file twice is kept once."""
    digest = hashlib.sha256()
    for block in uploaded.chunks():
        digest.update(block)
    root = Path(settings.UPLOADS_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{digest.hexdigest()}{suffix}"
    if not path.exists():
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            for block in uploaded.chunks():
                file.write(block)
        partial.replace(path)
    return path


def _file(dataset: Dataset, what: str, form: str) -> StreamingHttpResponse:
    if form not in LINES:
        raise Http404("No such format.")
    rows, columns = {
        "verdicts": (verdict_log, VERDICT_COLUMNS),
        "labels": (current_labels, LABEL_COLUMNS),
    }[what]
    response = StreamingHttpResponse(LINES[form](rows(dataset), columns), content_type=_CONTENT_TYPES[form])
    response.headers["Content-Disposition"] = f'attachment; filename="{dataset.slug}-{what}.{form}"'
    return response
