"""The restricted area: cases, and two different people who decide. No preview; every look is asked for and logged.

A look is written down where it happens, also in a GET: it is the one thing that a GET of Winnow writes.
"""

import io
import json
import zipfile
from collections.abc import Callable
from typing import TypeVar
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_POST, require_safe

from labeling.access import access_escalations
from labeling.actions.escalations import (
    decide_case,
    log_export,
    log_listed,
    log_look,
    log_opened,
    set_legal_hold,
)
from labeling.errors import LabelingError
from labeling.models import Escalation, EscalationState, Image
from labeling.pipeline.evidence import evidence_of
from labeling.queries.escalations import CasePage, case_facts, case_list, case_page
from reviewer.escalation_forms import CaseFileForm, HoldForm, LookForm, VoteForm
from reviewer.http import PersonRequest, row_number
from reviewer.views.images import as_untrusted, content_type_of

F = TypeVar("F", bound=forms.Form)


@require_safe
def escalations(request: PersonRequest) -> HttpResponse:
    person = access_escalations(request.user)
    show = request.GET.get("show", EscalationState.OPEN)
    show = show if show in EscalationState.values else ""
    found = case_list(show=show, before=row_number(request.GET.get("before", "")))
    log_listed(person=person)
    return render(request, "escalations/list.html", {"found": found, "show": show, "states": EscalationState.choices})


@require_safe
def case(request: PersonRequest, pk: int) -> HttpResponse:
    """One case with its history and its log, and nothing of the image."""
    person = access_escalations(request.user)
    log_opened(case=_case(pk), person=person)
    return render(request, "escalations/case.html", {"page": _page(pk), "vote_key": uuid4(), "hold_key": uuid4()})


@require_POST
def vote(request: PersonRequest, pk: int) -> HttpResponse:
    """Say that the case is to be released, or kept."""

    def decide(found: Escalation, form: VoteForm) -> str:
        release = form.cleaned_data["vote"] == "release"
        decided = decide_case(
            case=found,
            person=request.user,
            release=release,
            note=form.cleaned_data["note"],
            key=form.cleaned_data["key"],
        )
        if decided.state == EscalationState.RELEASED:
            return "Two people agree: it is released, and its images are back where they were."
        if decided.state == EscalationState.KEPT and not release:
            return "Two people agree: it stays in quarantine."
        return "Noted. A second authorised person has to agree."

    return _carry_out(request, pk, VoteForm(request.POST), decide)


@require_POST
def hold(request: PersonRequest, pk: int) -> HttpResponse:
    """Begin or end a legal hold."""

    def change(found: Escalation, form: HoldForm) -> str:
        on = form.cleaned_data["hold"] == "on"
        set_legal_hold(
            case=found, person=request.user, on=on, note=form.cleaned_data["note"], key=form.cleaned_data["key"]
        )
        return "Under legal hold: nothing of it is removed." if on else "The legal hold has ended."

    return _carry_out(request, pk, HoldForm(request.POST), change)


@require_POST
def look(request: PersonRequest, pk: int) -> HttpResponse:
    """The image itself, after the look and its reason are in the log."""
    person = access_escalations(request.user)
    page = _page(pk)
    form = LookForm(request.POST)
    if not form.is_valid():
        return _refused(request, pk, "Not shown. Say why you look at it.")
    try:
        image = _evidence(page)
        log_look(case=page.case, person=person, image=image, reason=form.cleaned_data["reason"])
        content = evidence_of(image)
    except LabelingError as error:
        return _refused(request, pk, f"Not shown. {error}")
    return as_untrusted(HttpResponse(content, content_type=content_type_of(image)))


@require_POST
def case_file(request: PersonRequest, pk: int) -> HttpResponse:
    """The case as a zip: hashes, what is known, the log; the image only when it is asked for."""
    person = access_escalations(request.user)
    page = _page(pk)
    form = CaseFileForm(request.POST)
    if not form.is_valid():
        return _refused(request, pk, "No file was made: the reason is too long.")
    with_image = form.cleaned_data["image"]
    try:
        image = _evidence(page) if with_image else None
        log_export(case=page.case, person=person, reason=form.cleaned_data["reason"], with_image=with_image)
        content = evidence_of(image) if image else b""
    except LabelingError as error:
        return _refused(request, pk, f"No file was made. {error}")
    # Read again, so that the file tells of its own making too.
    facts = case_facts(_page(pk))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("case.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        if image is not None:
            archive.writestr(f"{image.sha256}.{slugify(image.format) or 'img'}", content)
    response = HttpResponse(packed.getvalue(), content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="case-{page.case.pk}.zip"'
    return response


def _case(pk: int) -> Escalation:
    found = Escalation.objects.filter(pk=pk).first()
    if found is None:
        raise Http404("No such case.")
    return found


def _page(pk: int) -> CasePage:
    return case_page(_case(pk).pk)


def _evidence(page: CasePage) -> Image:
    """An image of the case whose file can be read, or the first one, whose error says why none can."""
    if page.first is None:
        raise LabelingError("No image has these bytes any more; the hash and the log are kept.")
    for one in page.images:
        try:
            evidence_of(one.image)
        except LabelingError:
            continue
        return one.image
    return page.first.image


def _carry_out(request: PersonRequest, pk: int, form: F, change: Callable[[Escalation, F], str]) -> HttpResponse:
    access_escalations(request.user)
    found = _case(pk)
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        return _refused(request, pk, f"Nothing was changed: {field}: {errors[0]}")
    try:
        words = change(found, form)
    except LabelingError as error:
        return _refused(request, pk, f"Nothing was changed. {error}")
    messages.info(request, words)
    return redirect("escalation", pk)


def _refused(request: PersonRequest, pk: int, why: str) -> HttpResponse:
    messages.error(request, why)
    return redirect("escalation", pk)
