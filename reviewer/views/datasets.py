"""The first page."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from labeling.access import datasets_of
from labeling.queries.overview import dataset_cards
from reviewer.http import PersonRequest


@require_safe
def datasets(request: PersonRequest) -> HttpResponse:
    return render(request, "datasets/list.html", {"cards": dataset_cards(datasets_of(request.user))})
