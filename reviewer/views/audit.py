"""The audit: a random, blind sample, and what it tells of the errors that remain."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, access_dataset
from labeling.errors import LabelingError
from labeling.models import RunKind
from labeling.queries.audits import audit_state
from labeling.queries.runs import latest_run_of
from labeling.tasks import refresh_estimate, start_run
from reviewer.forms import AuditForm
from reviewer.http import PersonRequest, go_to


@require_safe
def audit(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    return render(
        request,
        "audit/page.html",
        {
            "access": access,
            "dataset": access.dataset,
            "audit": audit_state(access.dataset),
            "form": AuditForm(),
            "ranked": access.dataset.items.exists(),
            "progress": latest_run_of(access.dataset, RunKind.AUDIT),
        },
    )


@require_POST
def draw(request: PersonRequest, slug: str) -> HttpResponse:
    """Draw a sample, or add to the one that there is."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    page = reverse("audit", args=[slug])
    form = AuditForm(request.POST)
    if not form.is_valid():
        return go_to(request, page, notice=f"Nothing was drawn: {next(iter(form.errors.values()))[0]}")
    parameters = {"half_width": form.cleaned_data["half_width"] / 100, "extend": "extend" in request.POST}
    try:
        start_run(dataset=access.dataset, kind=RunKind.AUDIT, parameters=parameters, person=request.user)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    return go_to(request, page)


@require_POST
def estimate(request: PersonRequest, slug: str) -> HttpResponse:
    """Have the estimate computed again."""
    access = access_dataset(request.user, slug)
    refresh_estimate.enqueue(access.dataset.pk)
    return go_to(request, reverse("audit", args=[slug]), notice="The estimate is being computed; reload in a moment.")
