"""Sources: noise by host or folder, and one decision about all of a source."""

from uuid import uuid4

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, access_dataset
from labeling.actions.bulk import decide_source
from labeling.errors import LabelingError
from labeling.models import BulkKind, Source
from labeling.queries.audits import audit_state
from labeling.queries.bulk import bulk_actions
from labeling.queries.queue import classes_of
from labeling.queries.sources import source_list
from labeling.queue_filter import storable
from reviewer.charts import intervals
from reviewer.forms import DecisionForm
from reviewer.http import PersonRequest, go_to


@require_safe
def sources(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    named = storable(request.GET.get("named", ""))
    found = source_list(access.dataset, named=named)
    return render(
        request,
        "sources/list.html",
        {
            "access": access,
            "dataset": access.dataset,
            "found": found,
            "rows": [(row, uuid4()) for row in found.sources],
            "chart": intervals(found.sources),
            "audit": audit_state(access.dataset),
            "named": named,
            "classes": classes_of(access.dataset),
            "acts": bulk_actions(access.dataset, BulkKind.SOURCE),
            "revert_key": uuid4(),
        },
    )


@require_POST
def decide(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """One decision for every image of a source that nobody has decided yet."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    source = get_object_or_404(Source.objects.select_related("dataset"), dataset=access.dataset, pk=pk)
    form = DecisionForm(request.POST, classes=classes_of(access.dataset))
    page = reverse("sources", args=[slug])
    if not form.is_valid():
        return go_to(request, page, notice=form.first_error())
    decision, key = form.parsed()
    try:
        act = decide_source(source=source, person=request.user, kind=decision.kind, label=decision.label, key=key)
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    return go_to(request, page, notice=f"Saved: {act.summary}. It can be taken back below.")
