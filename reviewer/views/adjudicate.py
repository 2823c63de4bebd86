"""Adjudication: what people disagree about or were unsure of, who said what, and one key that settles it."""

from uuid import uuid4

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import REVIEWERS, DatasetAccess, access_dataset
from labeling.actions.verdicts import adjudicate as settle_item
from labeling.actions.verdicts import undo_last
from labeling.errors import LabelingError
from labeling.models import ReviewItem
from labeling.queries.queue import CLASS_KEYS, classes_of
from labeling.queries.team import next_disagreement
from reviewer.forms import DecisionForm, KeyForm
from reviewer.http import PersonRequest, go_to, row_number


@require_safe
def adjudicate(request: PersonRequest, slug: str) -> HttpResponse:
    access = _access(request, slug)
    shown = next_disagreement(access.dataset, after=row_number(request.GET.get("after", "")))
    classes = classes_of(access.dataset)
    return render(
        request,
        "adjudicate/page.html",
        {
            "access": access,
            "dataset": access.dataset,
            "shown": shown,
            "answers": [
                (label, CLASS_KEYS[place] if place < len(CLASS_KEYS) else "") for place, label in enumerate(classes)
            ],
            "verdict_key": uuid4(),
            "undo_key": uuid4(),
        },
    )


@require_POST
def settle(request: PersonRequest, slug: str, item_id: int) -> HttpResponse:
    access = _access(request, slug)
    item = get_object_or_404(ReviewItem.objects.select_related("image", "dataset"), dataset=access.dataset, pk=item_id)
    form = DecisionForm(request.POST, classes=classes_of(access.dataset))
    page = reverse("adjudicate", args=[slug])
    if not form.is_valid():
        return _refused(request, page, form.first_error())
    decision, key = form.parsed()
    try:
        saved = settle_item(item=item, person=request.user, kind=decision.kind, label=decision.label, key=key)
    except LabelingError as error:
        return _refused(request, page, str(error))
    words = saved.label.name if saved.label else saved.get_kind_display()
    return go_to(request, page, notice=f"Settled image {item.image_id}: {words}.")


@require_POST
def undo(request: PersonRequest, slug: str) -> HttpResponse:
    """Take back one's own last verdict in this dataset."""
    access = _access(request, slug)
    page = reverse("adjudicate", args=[slug])
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _refused(request, page, "Nothing was taken back: the request had no key. Reload the page.")
    try:
        undone = undo_last(dataset=access.dataset, reviewer=request.user, key=form.cleaned_data["key"])
    except LabelingError as error:
        return _refused(request, page, str(error))
    return go_to(request, page, notice=f"Undone: image {undone.image_id}." if undone else "There is nothing to undo.")


def _access(request: PersonRequest, slug: str) -> DatasetAccess:
    access = access_dataset(request.user, slug, *REVIEWERS)
    if not access.may_adjudicate:
        raise PermissionDenied(
            f"Only an ML engineer, an admin or a senior of {slug} settles what people disagree about. A lead can make "
            "you a senior on the page Team."
        )
    return access


def _refused(request: PersonRequest, page: str, problem: str) -> HttpResponse:
    messages.error(request, problem)
    return go_to(request, page)
