"""The grid: a page of one confusion pair, settled by one key. Nothing is claimed inside a GET."""

from dataclasses import dataclass, replace
from urllib.parse import urlencode
from uuid import uuid4

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import REVIEWERS, access_dataset
from labeling.actions.bulk import settle_page
from labeling.actions.claims import held_claims, hold_claims, release_claims
from labeling.errors import LabelingError
from labeling.models import BulkKind, Dataset, Person, ReviewItem, TaxonomyClass
from labeling.queries.bulk import bulk_actions
from labeling.queries.grid import confusion_pairs, left_in_pair
from labeling.queries.queue import classes_of
from labeling.queue_filter import QueueFilter
from labeling.tasks import keep_estimate_fresh, keep_ranking_fresh, keep_skills_fresh
from reviewer.forms import GridForm
from reviewer.http import PersonRequest, go_to, row_number

SIZES = (24, 48, 96)


@dataclass(frozen=True)
class _Part:
    """What a URL of the grid names: the pair, how many at once, and after which item of it."""

    filters: QueueFilter
    size: int

    @classmethod
    def of(cls, query: QueryDict) -> "_Part":
        asked = QueueFilter.from_query({name: query.get(name, "") for name in query})
        size = row_number(query.get("size", ""))
        filters = QueueFilter(
            split=asked.split,
            given=asked.given,
            suggested=asked.suggested,
            everything=True,
            golden=False,
            after=_place(query.get("after", "")),
        )
        return cls(filters, size if size in SIZES else SIZES[0])

    @property
    def names_pair(self) -> bool:
        return bool(self.filters.given and self.filters.suggested)

    def query(self) -> str:
        named = {name: value for name, value in self.filters.query().items() if name != "everything"}
        after = {"after": f"{self.filters.after[1]}~{self.filters.after[0]!r}"} if self.filters.after else {}
        return urlencode(named | {"size": str(self.size)} | after)

    def from_start(self) -> "_Part":
        return replace(self, filters=replace(self.filters, after=None))

    def past(self, place: tuple[float, int] | None) -> "_Part":
        return replace(self, filters=replace(self.filters, after=place)) if place else self


def _open_to_grids(dataset: Dataset) -> None:
    """Refuse datasets whose images are not for one person to settle at a glance.

    Raises:
        PermissionDenied: several people judge each image, or a share of them is judged blind.
    """
    if dataset.verdicts_wanted > 1 or dataset.blind_share:
        raise PermissionDenied(
            "A grid shows labels and settles images by one person's word; in this dataset several people judge an "
            "image, or some are judged blind. Review them one by one, or change that on the page Team."
        )


@require_safe
def grid(request: PersonRequest, slug: str) -> HttpResponse:
    """The items of the pair that this person holds, or where to start."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    part = _Part.of(request.GET)
    dataset = access.dataset
    _open_to_grids(dataset)
    classes = {known.name: known for known in classes_of(dataset)}
    given, suggested = classes.get(part.filters.given), classes.get(part.filters.suggested)
    items = _held_items(request.user, dataset, part, given, suggested) if given and suggested else []
    return render(
        request,
        "grid/page.html",
        {
            "access": access,
            "dataset": dataset,
            "part": part,
            "filters": part.filters,
            "query": part.query(),
            "first_query": part.from_start().query(),
            "sizes": SIZES,
            "given": given,
            "suggested": suggested,
            "items": items,
            "left": left_in_pair(dataset, part.filters) if given and suggested else None,
            "pairs": [] if items else confusion_pairs(dataset),
            "acts": bulk_actions(dataset, BulkKind.GRID),
            "key": uuid4(),
            "revert_key": uuid4(),
        },
    )


@require_POST
def claim(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug, *REVIEWERS)
    part = _Part.of(request.GET)
    _open_to_grids(access.dataset)
    if part.names_pair:
        hold_claims(dataset=access.dataset, reviewer=request.user, filters=part.filters, hold=part.size)
    return redirect(f"{reverse('grid', args=[slug])}?{part.query()}")


@require_POST
def settle(request: PersonRequest, slug: str) -> HttpResponse:
    """Settle the selected items of the page as suggested, leave the others open, and hold the next page."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    dataset = access.dataset
    _open_to_grids(dataset)
    part = _Part.of(request.GET)
    form = GridForm(request.POST, classes=classes_of(dataset))
    if not form.is_valid():
        return go_to(request, f"{reverse('grid', args=[slug])}?{part.query()}", notice=form.first_error())
    shown, selected = form.cleaned_data["shown"], form.cleaned_data["selected"]
    last = dataset.items.filter(pk__in=shown).order_by("-priority", "-id").values_list("priority", "id").first()
    try:
        done = settle_page(
            dataset=dataset,
            reviewer=request.user,
            shown=shown,
            selected=selected,
            label=form.cleaned_data["label"],
            key=form.cleaned_data["key"],
        )
    except LabelingError as error:
        return go_to(request, f"{reverse('grid', args=[slug])}?{part.query()}", notice=str(error))
    keep_estimate_fresh(dataset, audit=False)
    keep_ranking_fresh(dataset, request.user)
    keep_skills_fresh(dataset)
    part = part.past(last)
    hold_claims(dataset=dataset, reviewer=request.user, filters=part.filters, hold=part.size)
    lost = f" {done.lost:,} had been taken or settled by others and were left alone." if done.lost else ""
    left = len(set(shown) - set(selected))
    notice = f"Settled {done.settled:,} as {form.cleaned_data['label'].name}, left {left:,} open.{lost}"
    return go_to(request, f"{reverse('grid', args=[slug])}?{part.query()}", notice=notice)


@require_POST
def leave(request: PersonRequest, slug: str) -> HttpResponse:
    """Give the images back, and go to the overview, or to focus mode on the same pair."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    release_claims(dataset=access.dataset, reviewer=request.user)
    if request.POST.get("to") == "focus":
        query = urlencode(_Part.of(request.GET).from_start().filters.query())
        return go_to(request, f"{reverse('review', args=[slug])}?{query}")
    return go_to(request, reverse("overview", args=[slug]))


def _held_items(
    person: Person, dataset: Dataset, part: _Part, given: TaxonomyClass, suggested: TaxonomyClass
) -> list[ReviewItem]:
    """What the person holds of the pair.

    An image that came back by undo is held too, whatever its pair: it waits in focus mode and is not settled here.
    """
    claims = held_claims(dataset=dataset, reviewer=person, filters=part.filters)
    pair = (given.pk, suggested.pk)
    of_pair = [claim.item for claim in claims if (claim.item.given_class_id, claim.item.suggested_class_id) == pair]
    return of_pair[: part.size]


def _place(text: str) -> tuple[float, int] | None:
    """A place in the queue as the URL has it, `item~priority`; None for what is none."""
    key, _, value = text.partition("~")
    try:
        priority = float(value)
    except ValueError:
        return None
    return (priority, row_number(key)) if row_number(key) and abs(priority) < 1e6 else None
