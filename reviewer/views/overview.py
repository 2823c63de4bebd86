"""A dataset at a glance."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from labeling.access import access_dataset
from labeling.queries import overview as queries
from labeling.queries.runs import latest_runs
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
            "runs": latest_runs(access.dataset),
        },
    )
