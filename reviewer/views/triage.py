"""Triage: the images that a policy cannot decide, and people do."""

from uuid import uuid4

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, REVIEWERS, access_dataset
from labeling.actions.triage import set_triage_within
from labeling.models import BulkKind
from labeling.queries.bulk import bulk_actions
from labeling.queries.policies import band_counts, policy_in_force, scoring_models
from labeling.queries.triage import triage_state
from labeling.queue_filter import BAND_ORDERS
from reviewer.exposure import Care
from reviewer.forms import TriageForm
from reviewer.http import PersonRequest, go_to


@require_safe
def triage(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug, *REVIEWERS)
    dataset = access.dataset
    policy = policy_in_force(dataset)
    return render(
        request,
        "triage/page.html",
        {
            "access": access,
            "dataset": dataset,
            "policy": policy,
            "scored": policy is not None or bool(scoring_models(dataset)),
            "bands": band_counts(dataset) if policy else None,
            "state": triage_state(dataset) if policy else None,
            "orders": BAND_ORDERS.items(),
            "form": TriageForm(initial={"hours": dataset.triage_hours}),
            "notice": Care(request.user).notice,
            "acts": bulk_actions(dataset, BulkKind.KNOWN),
            "revert_key": uuid4(),
        },
    )


@require_POST
def within(request: PersonRequest, slug: str) -> HttpResponse:
    """Within how many hours unknown images are to be decided."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    form = TriageForm(request.POST)
    page = reverse("triage", args=[slug])
    if not form.is_valid():
        return go_to(request, page, notice=f"Nothing was changed: hours: {form.errors['hours'][0]}")
    set_triage_within(dataset=access.dataset, hours=form.cleaned_data["hours"])
    return go_to(request, page, notice="Saved.")
