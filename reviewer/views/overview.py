"""A dataset at a glance."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from labeling.access import access_dataset
from labeling.models import QueueOrder
from labeling.queries import overview as queries
from labeling.queries.audits import audit_state
from labeling.queries.runs import latest_runs
from reviewer import charts
from reviewer.http import PersonRequest


@require_safe
def overview(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    return render(
        request,
        "overview/page.html",
        {
            "access": access,
            "dataset": access.dataset,
            "overview": queries.overview(access.dataset),
            "audit": audit_state(access.dataset),
            "pictures": charts.pictures(access.dataset),
            "orders": QueueOrder.choices,
            "runs": latest_runs(access.dataset),
        },
    )
