"""Requests and answers of the web interface: one URL gives the whole page or the part of it that htmx asked for."""

from collections.abc import Generator, Iterator, Mapping
from threading import BoundedSemaphore
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from labeling.models import Person


class PersonRequest(HttpRequest):
    """A request as the views see it: somebody is signed in (LoginRequiredMiddleware) and htmx is known."""

    user: Person
    htmx: HtmxDetails


class Counted:
    """Blocks of a response that hold a place, which is free again when the response is over, however it ended."""

    def __init__(self, blocks: Iterator[bytes], places: BoundedSemaphore) -> None:
        self._blocks, self._places, self._holds = blocks, places, True

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        """Called by Django when the last byte is sent or nobody listens any longer."""
        if isinstance(self._blocks, Generator):
            self._blocks.close()
        if self._holds:
            self._holds = False
            self._places.release()


def row_number(text: str) -> int:
    """A keyset position from a URL; 0 for anything that no row can have."""
    return int(text) if text.isdecimal() and len(text) <= 18 else 0


def wants_part(request: PersonRequest) -> bool:
    """Whether to answer with a fragment.

    False for a history restore: htmx sends HX-Request there too, but then needs the whole page.
    """
    return bool(request.htmx) and not request.htmx.history_restore_request


def page_or_part(
    request: PersonRequest, page: str, part: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render `part` for htmx and `page`, which includes it, for everybody else."""
    response = render(request, part if wants_part(request) else page, dict(context), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def go_to(request: PersonRequest, url: str, *, notice: str = "") -> HttpResponse:
    """Send the browser to another page, whether a form or htmx asked; `notice` is shown there."""
    if notice:
        messages.info(request, notice)
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
