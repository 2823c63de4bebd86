"""Bulk actions: taking one back."""

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from labeling.access import REVIEWERS, access_dataset
from labeling.actions.bulk import revert_bulk_action
from labeling.errors import LabelingError
from labeling.models import BulkAction, BulkKind
from reviewer.forms import KeyForm
from reviewer.http import PersonRequest, go_to

_PAGES = {
    BulkKind.GROUP: "duplicates",
    BulkKind.SOURCE: "sources",
    BulkKind.EXPLORER: "images",
    BulkKind.GRID: "grid",
    BulkKind.KNOWN: "triage",
    BulkKind.PERSON: "team",
    BulkKind.AGAIN: "team",
    BulkKind.RULE: "team",
}


@require_POST
def revert(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Take back one bulk action: one's own, or as an ML engineer anybody's. A revert is taken back the same way."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    action = get_object_or_404(BulkAction.objects.select_related("dataset", "reverts"), dataset=access.dataset, pk=pk)
    if not access.is_engineer and action.person_id != request.user.pk:
        raise PermissionDenied("Only an ML engineer, an admin or the person who did it can take a bulk action back.")
    origin = action
    while origin.reverts is not None:
        origin = origin.reverts
    page = reverse(_PAGES.get(BulkKind(origin.kind), "overview"), args=[slug])
    form = KeyForm(request.POST)
    if not form.is_valid():
        return go_to(request, page, notice="Nothing was taken back: the request had no key. Reload the page.")
    try:
        done = revert_bulk_action(action=action, person=request.user, key=form.cleaned_data["key"])
    except LabelingError as error:
        return go_to(request, page, notice=str(error))
    left = f" {done.left:,} images were decided again since and stay as they are." if done.left else ""
    return go_to(request, page, notice=f"Taken back: {done.verdicts:,} verdicts.{left}")
