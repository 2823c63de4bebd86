"""The explorer: every image of a dataset by filters, and what is done to a selection of them."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from labeling.access import REVIEWERS, access_dataset
from labeling.actions.bulk import MOST_AT_ONCE, decide_selection
from labeling.actions.put_first import put_back, put_first
from labeling.errors import LabelingError
from labeling.explorer_filter import SHOWS, SORTS, STATES, ExplorerFilter
from labeling.exporters.records import csv_lines
from labeling.models import SPLITS, BandName, BulkKind, Dataset, Image, IssueKind, Person, Source, TaxonomyClass
from labeling.queries.bulk import bulk_actions
from labeling.queries.explorer import Place, count_images, explorer_page, matching_images, newest_model
from labeling.queries.images import ImagePage, image_page
from labeling.queries.policies import policy_in_force
from labeling.queries.queue import classes_of
from reviewer.forms import FIRST, Decision, SelectionForm
from reviewer.http import PersonRequest, go_to, row_number

_SOURCES_OFFERED = 200
_COLUMNS = (
    "path",
    "split",
    "source",
    "given_label",
    "current_label",
    "suggested_label",
    "label_quality",
    "risk",
    "state",
    "excluded",
    "sha256",
)


@require_safe
def images(request: PersonRequest, slug: str) -> HttpResponse:
    access = access_dataset(request.user, slug)
    dataset = access.dataset
    filters = ExplorerFilter.from_query(request.GET.dict())
    after = Place.parse(request.GET.get("after", ""), filters.sort)
    classes = classes_of(dataset)
    model = newest_model(dataset)
    return render(
        request,
        "images/explorer.html",
        {
            "access": access,
            "dataset": dataset,
            "filters": filters,
            "query": urlencode(filters.query()),
            "after": after,
            "here": request.GET.urlencode(),
            "found": explorer_page(dataset, filters, after),
            "page": _open_image(dataset, request.GET.get("image", "")),
            "classes": classes,
            "predictable": _classes_of_model(model.taxonomy_id) if model else [],
            "same_taxonomy": model is not None and model.taxonomy_id == dataset.taxonomy_id,
            "splits": SPLITS,
            "sorts": SORTS.items(),
            "shows": SHOWS.items(),
            "states": STATES.items(),
            "issues": IssueKind.choices,
            "bands": BandName.choices if policy_in_force(dataset) else [],
            "sources": Source.objects.filter(dataset=dataset).order_by("name")[:_SOURCES_OFFERED],
            "people": _people(dataset),
            "may_decide": access.role in REVIEWERS or access.is_engineer,
            "may_escalate": access.role in REVIEWERS or access.is_engineer,
            "most_at_once": MOST_AT_ONCE,
            "acts": bulk_actions(dataset, BulkKind.EXPLORER),
            "key": uuid4(),
            "revert_key": uuid4(),
        },
    )


@require_safe
def count(request: PersonRequest, slug: str) -> HttpResponse:
    """How many images match: asked for after the page, where it takes longer than the page."""
    access = access_dataset(request.user, slug)
    filters = ExplorerFilter.from_query(request.GET.dict())
    return render(request, "images/_count.html", {"count": count_images(access.dataset, filters)})


@require_POST
def act(request: PersonRequest, slug: str) -> HttpResponse:
    """Do one thing to the ticked images, or as an ML engineer to all that match."""
    access = access_dataset(request.user, slug, *REVIEWERS)
    dataset = access.dataset
    page = reverse("images", args=[slug]) + (f"?{request.GET.urlencode()}" if request.GET else "")
    form = SelectionForm(request.POST, classes=classes_of(dataset))
    if not form.is_valid():
        return go_to(request, page, notice=form.first_error())
    everything = form.cleaned_data["scope"] == "matching"
    if everything and not access.is_engineer:
        raise PermissionDenied("Only an ML engineer or an admin decides about all images that match; select some.")
    chosen = (
        matching_images(dataset, ExplorerFilter.from_query(request.GET.dict()))
        if everything
        else Image.objects.filter(dataset=dataset, pk__in=form.cleaned_data["image"])
    )
    expected = form.cleaned_data["expected"] if everything else None
    decision = form.cleaned_data["decision"]
    try:
        if isinstance(decision, Decision):
            done = decide_selection(
                dataset=dataset,
                images=chosen,
                person=request.user,
                kind=decision.kind,
                label=decision.label,
                key=form.cleaned_data["key"],
                expected=expected,
            )
            said = f"Saved: {done.summary}. It can be taken back below."
        elif decision == FIRST:
            moved = put_first(dataset=dataset, images=chosen, expected=expected)
            many = f"{moved:,} images are now first in the queue."
            said = many if moved != 1 else "1 image is now first in the queue."
        else:
            moved = put_back(dataset=dataset, images=chosen, expected=expected)
            many = f"{moved:,} images are back at their place in the queue."
            said = many if moved != 1 else "1 image is back at its place in the queue."
    except LabelingError as error:
        said = str(error)
    return go_to(request, page, notice=said)


@require_safe
def export(request: PersonRequest, slug: str) -> StreamingHttpResponse:
    """The list as a CSV file, in the order of the import."""
    access = access_dataset(request.user, slug)
    filters = ExplorerFilter.from_query(request.GET.dict())
    response = StreamingHttpResponse(_rows(access.dataset, filters), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{slug}-images.csv"'
    return response


def _rows(dataset: Dataset, filters: ExplorerFilter) -> Iterator[str]:
    listed = matching_images(dataset, filters).order_by("pk")
    rows: Iterable[tuple[Any, ...]] = listed.values_list(
        "path",
        "split",
        "source__name",
        "given_class__name",
        "current_class__name",
        "item__suggested_class__name",
        "item__label_quality",
        "item__risk",
        "item__state",
        "excluded",
        "sha256",
    ).iterator(chunk_size=2000)
    return csv_lines((dict(zip(_COLUMNS, row, strict=True)) for row in rows), _COLUMNS)


def _open_image(dataset: Dataset, key: str) -> ImagePage | None:
    pk = row_number(key)
    if not pk:
        return None
    try:
        return image_page(dataset, pk)
    except Image.DoesNotExist:
        return None


def _classes_of_model(taxonomy_id: int) -> list[TaxonomyClass]:
    return list(TaxonomyClass.objects.filter(taxonomy=taxonomy_id).order_by("index"))


def _people(dataset: Dataset) -> list[str]:
    """Who may have decided: members, and admins of everything."""
    people = Person.objects.filter(Q(memberships__dataset=dataset) | Q(is_superuser=True)).distinct()
    return list(people.order_by("username").values_list("username", flat=True))
