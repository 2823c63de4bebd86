"""The API's edges: bodies that are too large are refused before anything reads them, and every refusal is JSON."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from reviewer.api.problems import Problem, problem_of_status, problem_response

ROUTES = frozenset({"/health", "/health/ready", "/predict", "/nsfw", "/compute", "/moderate", "/batch", "/reports"})
_DRAIN_BYTES = 256 << 20
_DRAIN_SECONDS = 5.0
_PIECE = 1 << 20


class ApiAnswers:
    """For the API's addresses: bound the body, and word answers of Django itself (405, 400, 500) as the API does."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_api(request.path_info):
            return self.get_response(request)
        refused = _body_problem(request)
        if refused is not None:
            _drain(request)
            return problem_response(refused)
        response = self.get_response(request)
        if response.status_code < 400 or response.headers.get("Content-Type", "").startswith("application/json"):
            return response
        worded = problem_response(problem_of_status(response.status_code))
        if "Allow" in response.headers:
            worded.headers["Allow"] = response.headers["Allow"]
        return worded


def is_api(path: str) -> bool:
    """Whether programs are answered at this path, and not people."""
    return path in ROUTES or path.startswith("/api/")


def _body_problem(request: HttpRequest) -> Problem | None:
    if "HTTP_TRANSFER_ENCODING" in request.META:
        return Problem(411, "length_required", "Expected the header Content-Length, received a chunked body. Send it.")
    length = request.META.get("CONTENT_LENGTH") or "0"
    most = settings.API_MAX_BODY_MB << 20
    if not length.isdecimal() or len(length) > 18:
        return Problem(400, "bad_request", "Expected Content-Length to be a number of bytes, received something else.")
    if int(length) > most:
        return Problem(
            413,
            "body_too_large",
            f"Expected at most {settings.API_MAX_BODY_MB} MB, received {int(length) / (1 << 20):,.0f} MB. Send smaller "
            "images or fewer at once.",
        )
    return None


def _drain(request: HttpRequest) -> None:
    """Read away a moderate body that is refused: many clients look at the answer only once they have sent it all."""
    deadline, left = time.monotonic() + _DRAIN_SECONDS, _DRAIN_BYTES
    while left > 0 and time.monotonic() < deadline:
        try:
            piece = request.read(_PIECE)
        except OSError:
            return
        if not piece:
            return
        left -= len(piece)
