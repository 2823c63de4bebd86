"""A dataset's settings: the queue's order, and when a figure becomes an image quality finding."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, access_dataset
from labeling.errors import LabelingError
from labeling.models import QueueOrder
from labeling.pipeline.quality_limits import change_quality_limits, limits_of
from reviewer.forms import limits_form
from reviewer.http import PersonRequest, go_to


@require_safe
def settings(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug, *ENGINEERS)
    limits = limits_of(access.dataset)
    return render(
        request,
        "settings/page.html",
        {
            "access": access,
            "dataset": access.dataset,
            "form": limits_form(limits),
            "orders": QueueOrder.choices,
        },
    )


@require_POST
def quality(request: PersonRequest, slug: str) -> HttpResponse:
    """Store thresholds; the next `find_issues` uses them."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    page = reverse("settings", args=[slug])
    form = limits_form(limits_of(access.dataset), request.POST)
    if not form.is_valid():
        name, errors = next(iter(form.errors.items()))
        return go_to(request, page, notice=f"Nothing was changed: {name}: {errors[0]}")
    try:
        change_quality_limits(access.dataset, form.cleaned_data)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    return go_to(request, page, notice="Saved. Find issues again to apply them.")
