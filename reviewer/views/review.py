"""Focus mode: one image, one key, the next image. Nothing is claimed or chosen inside a GET."""

import json
from uuid import uuid4

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from labeling.access import REVIEWERS, DatasetAccess, access_dataset
from labeling.actions.claims import held_claims, hold_claims, release_claims, skip_item
from labeling.actions.verdicts import record_verdict, redo_last, review_separately, undo_last
from labeling.errors import LabelingError
from labeling.models import SPLITS, Claim, ReviewItem
from labeling.queries import queue
from labeling.queue_filter import QueueFilter
from labeling.tasks import keep_estimate_fresh, keep_ranking_fresh, keep_skills_fresh
from reviewer.exposure import Care
from reviewer.focus_items import HOLD, before_in_words, held_facts, in_words
from reviewer.forms import KeyForm, VerdictForm
from reviewer.http import PersonRequest, go_to, page_or_part, wants_part


@require_safe
def review(request: PersonRequest, slug: str) -> HttpResponse:
    """The image that this person holds, or where to start."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    care = Care(request.user)
    filters = care.apply(QueueFilter.from_query(request.GET.dict()))
    claims = held_claims(dataset=access.dataset, reviewer=request.user, filters=filters)
    return _show(request, access, filters, claims, care)


@require_POST
def claim(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug, *REVIEWERS)
    return _next(request, access)


@require_POST
def verdict(request: PersonRequest, slug: str, item_id: int) -> HttpResponse:
    access = access_dataset(request.user, slug, *REVIEWERS)
    item = get_object_or_404(ReviewItem.objects.select_related("image", "dataset"), dataset=access.dataset, pk=item_id)
    form = VerdictForm(request.POST, classes=queue.classes_of(access.dataset))
    if not form.is_valid():
        return _next(request, access, problem=_first_error(form))
    decision, key, seconds = form.parsed()
    try:
        saved = record_verdict(
            item=item,
            reviewer=request.user,
            kind=decision.kind,
            label=decision.label,
            key=key,
            seconds=seconds,
            shown=form.shown(),
            blind=QueueFilter.from_query(request.GET.dict()).blind,
        )
    except LabelingError as error:
        return _next(request, access, problem=str(error))
    keep_estimate_fresh(access.dataset, audit=saved.blind)
    keep_ranking_fresh(access.dataset, request.user)
    keep_skills_fresh(access.dataset)
    care = Care(request.user)
    care.count_seen(item)
    return _next(request, access, care, saved=in_words(saved))


@require_POST
def separate(request: PersonRequest, slug: str, item_id: int) -> HttpResponse:
    """The near duplicates of this item are not alike after all: each is decided by itself."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    item = get_object_or_404(ReviewItem, dataset=access.dataset, pk=item_id)
    freed = review_separately(item=item)
    return _next(request, access, saved=f"{freed} images are now reviewed by themselves.")


@require_POST
def skip(request: PersonRequest, slug: str, item_id: int) -> HttpResponse:
    access = access_dataset(request.user, slug, *REVIEWERS)
    item = get_object_or_404(ReviewItem, dataset=access.dataset, pk=item_id)
    skip_item(item=item, reviewer=request.user)
    care = Care(request.user)
    care.count_seen(item)
    return _next(request, access, care, saved="Skipped, not now.")


@require_POST
def undo(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug, *REVIEWERS)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _next(request, access, problem=_first_error(form))
    try:
        undone = undo_last(dataset=access.dataset, reviewer=request.user, key=form.cleaned_data["key"])
    except LabelingError as error:
        return _next(request, access, problem=str(error))
    if undone is None:
        return _next(request, access, problem="There is nothing to undo: you have no standing verdict here.")
    return _next(request, access, saved="Undone: this image is open again.")


@require_POST
def redo(request: PersonRequest, slug: str) -> HttpResponse:
    """Put back what was undone last."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _next(request, access, problem=_first_error(form))
    try:
        redone = redo_last(dataset=access.dataset, reviewer=request.user, key=form.cleaned_data["key"])
    except LabelingError as error:
        return _next(request, access, problem=str(error))
    if redone is None:
        return _next(
            request, access, problem="There is nothing to put back: you undid nothing since your last verdict."
        )
    return _next(request, access, saved="Put back: your verdict stands again.")


@require_POST
def leave(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug, *REVIEWERS)
    release_claims(dataset=access.dataset, reviewer=request.user)
    return go_to(request, reverse("overview", args=[slug]))


def _next(
    request: PersonRequest, access: DatasetAccess, care: Care | None = None, *, saved: str = "", problem: str = ""
) -> HttpResponse:
    """Hold the next items and show the first: as a fragment for htmx, by a redirect without JavaScript."""
    care = care or Care(request.user)
    filters = care.apply(QueueFilter.from_query(request.GET.dict()))
    claims = hold_claims(dataset=access.dataset, reviewer=request.user, filters=filters, hold=HOLD)
    if wants_part(request):
        return _show(request, access, filters, claims, care, saved=saved, problem=problem)
    if problem:
        messages.error(request, problem)
    elif saved:
        messages.success(request, saved)
    parameters = filters.query() | ({} if claims else {"done": "1"})
    query = urlencode(parameters)
    return redirect(reverse("review", args=[access.dataset.slug]) + (f"?{query}" if query else ""))


def _show(
    request: PersonRequest,
    access: DatasetAccess,
    filters: QueueFilter,
    claims: list[Claim],
    care: Care,
    *,
    saved: str = "",
    problem: str = "",
) -> HttpResponse:
    dataset = access.dataset
    classes = queue.classes_of(dataset)
    progress = queue.progress(dataset, request.user, filters)
    held = queue.shown_items(claims, classes, blind=filters.blind, comfort=care.comfort)
    # Empty-handed after asking for work; a mere GET has asked for nothing yet.
    asked = request.method == "POST" or "done" in request.GET
    context = {
        "access": access,
        "dataset": dataset,
        "filters": filters,
        "query": urlencode(filters.query()),
        "shown": held[0] if held else None,
        "held": json.dumps(held_facts(dataset, held, aged=bool(filters.band))),
        "answers": queue.answers_of(classes),
        "progress": progress,
        "left": None if claims else queue.what_is_left(dataset, request.user, filters),
        "nothing_for_you": not claims and (asked or not progress.open),
        "classes": classes,
        "splits": SPLITS,
        "before": before_in_words(held[0].before) if held and held[0].before else "",
        "verdict_key": uuid4(),
        "undo_key": uuid4(),
        "redo_key": uuid4(),
        "saved": saved,
        "problem": problem,
        "notice": care.notice,
    }
    return page_or_part(request, "review/page.html", "review/_focus.html", context)


def _first_error(form: VerdictForm | KeyForm) -> str:
    field, errors = next(iter(form.errors.items()))
    return f"Not saved: {field}: {errors[0]}"
