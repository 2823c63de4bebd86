"""Long jobs: starting, watching and stopping them."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, DatasetAccess, access_dataset, datasets_of
from labeling.actions.runs import request_stop
from labeling.errors import LabelingError
from labeling.models import ModelVersion, QueueOrder, Run, RunKind
from labeling.queries.runs import progress_of, runs_of
from labeling.queries.training import epochs_of
from labeling.tasks import start_run
from reviewer.forms import OrderForm
from reviewer.http import PersonRequest, go_to, row_number, wants_part
from reviewer.learning_chart import learning_chart

_PAGE = 50
_REFUSALS_PAGE = 200


@require_safe
def runs(request: PersonRequest) -> HttpResponse:
    """The runs of every dataset of this person."""
    found = runs_of(
        datasets_of(request.user), before=row_number(request.GET.get("before", "")) or None, limit=_PAGE + 1
    )
    context = {
        "runs": found[:_PAGE],
        "next_before": found[_PAGE - 1].run.pk if len(found) > _PAGE else None,
    }
    return render(request, "runs/list.html", context)


@require_safe
def run(request: PersonRequest, pk: int) -> HttpResponse:
    access, found = _access_run(request, pk)
    refusals = list(found.refusals.filter(pk__gt=row_number(request.GET.get("after", "")))[: _REFUSALS_PAGE + 1])
    return render(
        request,
        "runs/run.html",
        {
            "access": access,
            "dataset": access.dataset,
            **_learning(found),
            "refusals": refusals[:_REFUSALS_PAGE],
            "next_after": refusals[_REFUSALS_PAGE - 1].pk if len(refusals) > _REFUSALS_PAGE else None,
        },
    )


@require_safe
def progress(request: PersonRequest, pk: int) -> HttpResponse:
    """One run as it is now; pages ask for this again and again while it moves."""
    access, found = _access_run(request, pk)
    if not wants_part(request):
        return redirect("run", pk=pk)
    now = progress_of(found)
    context = {"access": access, "progress": now, "show_dataset": "dataset" in request.GET}
    response = render(request, "runs/_progress.html", context)
    if not now.moving:
        # The figures around it are now out of date; the page fetches them again.
        response.headers["HX-Trigger"] = "run-finished"
    return response


@require_safe
def epochs(request: PersonRequest, pk: int) -> HttpResponse:
    """How a model learns, while it does; the page asks for this again and again."""
    access, found = _access_run(request, pk)
    if not wants_part(request):
        return redirect("run", pk=pk)
    return render(request, "runs/_learning.html", {"access": access, **_learning(found)})


@require_POST
def stop(request: PersonRequest, pk: int) -> HttpResponse:
    access, found = _access_run(request, pk)
    if not access.is_engineer and found.created_by_id != request.user.pk:
        raise PermissionDenied("Only an ML engineer, an admin or the person who started a run can stop it.")
    request_stop(run=found)
    return redirect("run", pk=found.pk)


@require_POST
def score(request: PersonRequest, slug: str) -> HttpResponse:
    return _start(request, access_dataset(request.user, slug, *ENGINEERS), RunKind.SCORE)


@require_POST
def find_issues(request: PersonRequest, slug: str) -> HttpResponse:
    return _start(request, access_dataset(request.user, slug, *ENGINEERS), RunKind.FIND_ISSUES)


@require_POST
def rerank(request: PersonRequest, slug: str) -> HttpResponse:
    """Rank the open images again with the labels as they are now."""
    return _start(request, access_dataset(request.user, slug, *ENGINEERS), RunKind.RERANK)


@require_POST
def order_queue(request: PersonRequest, slug: str) -> HttpResponse:
    """Choose the strategy by which the queue is ordered."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    form = OrderForm(request.POST)
    if not form.is_valid():
        known = ", ".join(order.value for order in QueueOrder)
        return go_to(request, reverse("overview", args=[slug]), notice=f"The order is one of {known}.")
    return _start(request, access, RunKind.REORDER, {"order": form.cleaned_data["order"]})


def _learning(found: Run) -> dict[str, Any]:
    """The progress of a run, and of one that trains its epochs and the model at its end."""
    context: dict[str, Any] = {"progress": progress_of(found)}
    if found.kind == RunKind.TRAIN:
        context["epochs"] = epochs_of(found)
        context["chart"] = learning_chart(context["epochs"])
        context["trained"] = ModelVersion.objects.filter(trained_by=found).first()
    return context


def _start(
    request: PersonRequest, access: DatasetAccess, kind: RunKind, parameters: dict[str, Any] | None = None
) -> HttpResponse:
    page = reverse("overview", args=[access.dataset.slug])
    try:
        start_run(dataset=access.dataset, kind=kind, parameters=parameters or {}, person=request.user)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    return go_to(request, page + "#runs")


def _access_run(request: PersonRequest, pk: int) -> tuple[DatasetAccess, Run]:
    found = Run.objects.select_related("dataset", "created_by").filter(pk=pk).first()
    if found is None:
        raise Http404("No such run.")
    return access_dataset(request.user, found.dataset.slug), found
