"""What the API says when it cannot do what it was asked: one shape, `{"code": …, "message": …}`, everywhere."""

import json
import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.core.exceptions import (
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, ValidationError

from labeling.errors import AddressRefused, DeliveryFailed, LabelingError, TokenRefused
from labeling.pipeline.serving import Busy, ImageRefused, ModelNotReady

logger = logging.getLogger(__name__)

NOT_READY_RETRY_SECONDS = 30
_IMAGE_STATUS = {
    "empty": 400,
    "not_an_image": 415,
    "unsupported": 415,
    "too_many_pixels": 413,
    "too_many_bytes": 413,
}
_TOKEN_STATUS = {"scope_missing": 403, "rate_limited": 429}
_ADDRESS_STATUS = {"fetch_off": 403}
_DELIVERY_STATUS = {"fetch_timeout": 504, "fetch_failed": 502}
_STATUS_CODES = {
    400: ("bad_request", "The request cannot be read: expected what /api/docs describes."),
    403: ("forbidden", "This may not be done with what was sent."),
    404: ("not_found", "There is nothing here; /api/docs lists what there is."),
    405: ("method_not_allowed", "This address takes another method; /api/docs says which."),
    413: ("body_too_large", "The request holds more than this server takes."),
    500: ("server_error", "A fault of the server; its log says more. Try again, or tell the administrator."),
}


class Problem(Exception):
    """An answer that is no success.

    Args:
        status: of the HTTP answer.
        code: one lower-case word with underscores, for programs.
        message: what was expected, what was received, what to do.
        headers: further ones, such as Retry-After.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        super().__init__(message)


def problem_response(problem: Problem) -> HttpResponse:
    body = json.dumps({"code": problem.code, "message": problem.message})
    return HttpResponse(body, status=problem.status, content_type="application/json", headers=problem.headers)


def problem_of_status(status: int) -> Problem:
    """The problem for an answer that something outside of the API made."""
    code, message = _STATUS_CODES.get(status) or _STATUS_CODES[500 if status >= 500 else 400]
    return Problem(status, code, message)


def problem_of(error: Exception) -> Problem:  # noqa: C901  (a table of kinds, in the order of the tree)
    """The one place where exceptions become answers; what is in no branch is a fault of ours."""
    match error:
        case Problem():
            return error
        case Busy():
            return Problem(503, "busy", _sentence(str(error)), _retry(error.retry_after))
        case ModelNotReady():
            return Problem(503, "model_not_ready", str(error), _retry(NOT_READY_RETRY_SECONDS))
        case ImageRefused():
            return Problem(_IMAGE_STATUS.get(error.code, 422), f"image_{error.code}", _sentence(error.reason))
        case TokenRefused():
            status = _TOKEN_STATUS.get(error.code, 401)
            return Problem(status, error.code, str(error), {"WWW-Authenticate": "Bearer"} if status == 401 else {})
        case AddressRefused():
            return Problem(_ADDRESS_STATUS.get(error.code, 422), error.code, str(error))
        case DeliveryFailed():
            return Problem(_DELIVERY_STATUS.get(error.code, 422), error.code, str(error))
        case AuthenticationError():
            return Problem(
                401,
                "token_missing",
                "Expected the header Authorization: Bearer TOKEN, received none. Make a token in the dataset's "
                "settings or with manage.py api_token.",
                {"WWW-Authenticate": "Bearer"},
            )
        case ValidationError():
            return Problem(422, "invalid", _validation_message(error))
        case RequestDataTooBig() | TooManyFieldsSent() | TooManyFilesSent():
            return Problem(
                413, "body_too_large", "Expected fewer fields and files, or smaller ones. Send less at once."
            )
        case MultiPartParserError():
            return Problem(400, "bad_multipart", "Expected multipart/form-data with its boundary; it cannot be read.")
        case SuspiciousOperation():
            return problem_of_status(400)
        case Http404():
            return problem_of_status(404)
        case LabelingError():
            return Problem(422, "refused", str(error))
        case OSError() if type(error).__name__ == "UnreadablePostError":
            return Problem(400, "body_cut_off", "The connection ended before the body did. Send it again.")
        case _:
            logger.error("The API failed.", exc_info=error)
            return problem_of_status(500)


def answer_with_problems(api: NinjaAPI) -> None:
    """Let the API answer every exception in the one shape; no traceback ever leaves."""

    def handler(request: HttpRequest, error: Any) -> HttpResponse:
        return problem_response(problem_of(error))

    # ninja looks along the tree of exceptions, and has handlers of its own for some.
    for kind in (Exception, Http404, ValidationError, AuthenticationError):
        api.add_exception_handler(kind, partial(handler))


def _retry(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _validation_message(error: ValidationError) -> str:
    said = []
    for one in error.errors[:3]:
        place = ".".join(str(part) for part in one.get("loc", ())[1:]) or "the request"
        said.append(f"{place}: {one.get('msg', 'not valid')}")
    return f"Expected what /api/docs describes; {'; '.join(said)}."
