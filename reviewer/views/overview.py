"""A dataset at a glance."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from labeling.access import access_dataset
from labeling.models import QueueOrder
from labeling.queries import overview as queries
from labeling.queries.audits import audit_state
from labeling.queries.counts import KEEPER
from labeling.queries.policies import band_counts, policy_in_force
from labeling.queries.runs import latest_runs
from reviewer import charts
from reviewer.http import PersonRequest


@require_safe
def overview(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    runs = latest_runs(access.dataset)
    # Numbers of a large dataset are kept for a while, but not past the end of a run that may have changed them.
    part = (access.dataset.pk, tuple((progress.run.pk, progress.run.state) for progress in runs))
    counted = KEEPER.counted(("overview", *part), lambda: queries.overview(access.dataset))
    return render(
        request,
        "overview/page.html",
        {
            "access": access,
            "dataset": access.dataset,
            "overview": counted.value,
            "counted_before": counted.age,
            "audit": audit_state(access.dataset),
            "pictures": KEEPER.counted(("pictures", *part), lambda: charts.pictures(access.dataset)).value,
            "orders": QueueOrder.choices,
            "bands": band_counts(access.dataset) if policy_in_force(access.dataset) else None,
            "runs": runs,
        },
    )
