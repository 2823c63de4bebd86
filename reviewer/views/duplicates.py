"""Near-duplicate groups: conflicts first, and one decision for a whole group."""

from urllib.parse import urlencode
from uuid import uuid4

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import REVIEWERS, access_dataset
from labeling.actions.bulk import decide_group
from labeling.errors import LabelingError
from labeling.models import BulkKind, Image
from labeling.queries.bulk import bulk_actions
from labeling.queries.duplicates import GroupFilter, duplicate_groups
from labeling.queries.queue import classes_of
from reviewer.forms import DecisionForm
from reviewer.http import PersonRequest, go_to, row_number


@require_safe
def duplicates(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    filters = GroupFilter(request.GET.get("show", ""), row_number(request.GET.get("after", "")))
    found = duplicate_groups(access.dataset, filters)
    return render(
        request,
        "duplicates/list.html",
        {
            "access": access,
            "dataset": access.dataset,
            "found": found,
            "groups": [(group, uuid4()) for group in found.groups],
            "filters": filters,
            "query": urlencode(filters.query()),
            "classes": classes_of(access.dataset),
            "acts": bulk_actions(access.dataset, BulkKind.GROUP),
            "revert_key": uuid4(),
        },
    )


@require_POST
def decide(request: PersonRequest, slug: str, centre: int) -> HttpResponse:
    """One decision for every image of a group."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    image = get_object_or_404(Image.objects.select_related("dataset"), dataset=access.dataset, pk=centre)
    form = DecisionForm(request.POST, classes=classes_of(access.dataset))
    page = reverse("duplicates", args=[slug]) + (f"?{request.GET.urlencode()}" if request.GET else "")
    if not form.is_valid():
        return go_to(request, page, notice=form.first_error())
    decision, key = form.parsed()
    try:
        act = decide_group(centre=image, person=request.user, kind=decision.kind, label=decision.label, key=key)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    return go_to(request, page, notice=f"Saved: {act.summary}.")
