"""The team: who does what, what they hold, how far they agree, and the rules by which their verdicts count."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import uuid4

from django import forms
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from labeling.access import ENGINEERS, access_dataset
from labeling.actions.bulk import revert_work, send_again, set_review_rule
from labeling.actions.claims import release_claim
from labeling.actions.datasets import set_shares
from labeling.actions.golden import remove_golden, set_golden
from labeling.actions.people import set_senior
from labeling.errors import LabelingError
from labeling.importers.golden import read_golden
from labeling.models import BulkKind, Claim, Consensus, Dataset, Image, Person
from labeling.pipeline.agreement import LAST, measure_agreement
from labeling.queries.bulk import bulk_actions
from labeling.queries.queue import classes_of
from labeling.queries.team import settled_items, team_page
from reviewer.forms import AgainForm, GoldenForm, RuleForm, SharesForm, SinceForm
from reviewer.http import PersonRequest, go_to

F = TypeVar("F", bound=forms.Form)


@require_safe
def team(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug, *ENGINEERS)
    dataset = access.dataset
    rule = {"key": uuid4(), "verdicts_wanted": dataset.verdicts_wanted, "consensus": dataset.consensus}
    shares = {"blind_share": 100 * dataset.blind_share, "golden_rate": 100 * dataset.golden_rate}
    return render(
        request,
        "team/page.html",
        {
            "access": access,
            "dataset": dataset,
            "team": team_page(dataset),
            "agreement": measure_agreement(dataset),
            "last": LAST,
            "rule": RuleForm(initial=rule),
            "shares": SharesForm(initial=shares),
            "again": AgainForm(initial={"key": uuid4()}, people=_people(dataset), classes=classes_of(dataset)),
            "golden": GoldenForm(),
            "acts": bulk_actions(dataset, BulkKind.PERSON, BulkKind.AGAIN, BulkKind.RULE),
            "revert_key": uuid4(),
            "today": timezone.localtime().replace(hour=0, minute=0),
        },
    )


@require_POST
def rule(request: PersonRequest, slug: str) -> HttpResponse:
    """How many verdicts an image wants, and how they become one."""

    def change(dataset: Dataset, form: RuleForm) -> str:
        act = set_review_rule(
            dataset=dataset,
            verdicts_wanted=form.cleaned_data["verdicts_wanted"],
            consensus=Consensus(form.cleaned_data["consensus"]),
            person=request.user,
            key=form.cleaned_data["key"],
        )
        return f"Saved. It {act.summary}." if act else "Saved. What is settled stays settled."

    return _carry_out(request, slug, RuleForm(request.POST), change)


@require_POST
def shares(request: PersonRequest, slug: str) -> HttpResponse:
    """How much is shown blind, and how many golden images are mixed in."""

    def change(dataset: Dataset, form: SharesForm) -> str:
        blind_share, golden_rate = form.shares()
        set_shares(dataset=dataset, blind_share=blind_share, golden_rate=golden_rate)
        return "Saved. It holds for the images that are claimed from now on."

    return _carry_out(request, slug, SharesForm(request.POST), change)


@require_POST
def again(request: PersonRequest, slug: str) -> HttpResponse:
    """Settled images are reviewed again: by one more person, or from the start."""
    dataset = access_dataset(request.user, slug, *ENGINEERS).dataset
    form = AgainForm(request.POST, people=_people(dataset), classes=classes_of(dataset))

    def change(dataset: Dataset, form: AgainForm) -> str:
        act = send_again(
            dataset=dataset,
            items=settled_items(dataset, form.filters()),
            person=request.user,
            reopen=form.cleaned_data["how"] == "reopen",
            key=form.cleaned_data["key"],
        )
        return f"Done: {act.summary}. It can be taken back below."

    return _carry_out(request, slug, form, change)


@require_POST
def golden(request: PersonRequest, slug: str) -> HttpResponse:
    """Mark images as golden."""

    def change(dataset: Dataset, form: GoldenForm) -> str:
        done = set_golden(dataset=dataset, labels=read_golden(form.lines()), person=request.user)
        refused = "".join(f" {path}: {reason}." for path, reason in done.refusals[:5])
        more = f" {done.refused:,} rows were refused.{refused}" if done.refused else ""
        return f"{done.golden:,} golden images were set.{more}"

    return _carry_out(request, slug, GoldenForm(request.POST, request.FILES), change)


@require_POST
def remove_golden_image(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    access = access_dataset(request.user, slug, *ENGINEERS)
    image = get_object_or_404(Image, dataset=access.dataset, pk=pk)
    removed = remove_golden(dataset=access.dataset, image=image)
    words = "is golden no more" if removed else "was not golden"
    return go_to(request, reverse("team", args=[slug]), notice=f"Image {pk} {words}.")


@require_POST
def release(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Give back what somebody holds."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    claim = Claim.objects.filter(item__dataset=access.dataset, pk=pk).select_related("reviewer", "item").first()
    if claim is None:
        return go_to(request, reverse("team", args=[slug]), notice="This claim has ended already.")
    release_claim(claim=claim)
    notice = f"Image {claim.item.image_id} is no longer held by {claim.reviewer.username}."
    return go_to(request, reverse("team", args=[slug]), notice=notice)


@require_POST
def senior(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Make a person a senior, or not."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    person = get_object_or_404(_people(access.dataset), pk=pk)
    wanted = "senior" in request.POST
    set_senior(dataset=access.dataset, person=person, senior=wanted)
    words = "settles disagreements now" if wanted else "settles disagreements no more"
    return go_to(request, reverse("team", args=[slug]), notice=f"{person.username} {words}.")


@require_POST
def revert(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Take back what a person decided since a moment."""
    access = access_dataset(request.user, slug, *ENGINEERS)
    of = get_object_or_404(Person.objects.filter(verdicts__image__dataset=access.dataset).distinct(), pk=pk)

    def change(dataset: Dataset, form: SinceForm) -> str:
        since: datetime = form.cleaned_data["since"]
        done = revert_work(dataset=dataset, of=of, since=since, person=request.user, key=form.cleaned_data["key"])
        left = f" {done.left:,} stay, as others decided those images since." if done.left else ""
        return f"Taken back: {done.verdicts:,} verdicts of {of.username}.{left} It can be brought again below."

    return _carry_out(request, slug, SinceForm(request.POST), change)


def _carry_out(request: PersonRequest, slug: str, form: F, change: Callable[[Dataset, F], str]) -> HttpResponse:
    access = access_dataset(request.user, slug, *ENGINEERS)
    page = reverse("team", args=[slug])
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        return go_to(request, page, notice=f"Nothing was changed: {field}: {errors[0]}")
    try:
        return go_to(request, page, notice=change(access.dataset, form))
    except LabelingError as error:
        return go_to(request, page, notice=f"Nothing was changed: {error}")


def _people(dataset: Dataset) -> QuerySet[Person]:
    return Person.objects.filter(memberships__dataset=dataset).order_by("username")
