"""The stateless routes: a picture goes in, what the model says comes out, and nothing is kept."""

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from labeling.models import Scope
from labeling.pipeline.readiness import readiness
from labeling.pipeline.serving import Predicted, predict
from reviewer.api.auth import Token
from reviewer.api.fetching import fetch_picture
from reviewer.api.problems import NOT_READY_RETRY_SECONDS, Problem
from reviewer.api.schemas import (
    BinaryAnswer,
    ClassAnswer,
    ComputeAnswer,
    FlatAnswer,
    Health,
    ProblemShape,
    Ready,
    form_of,
    with_problems,
)
from reviewer.api.shapes import binary, computed, flat, nsfwjs
from reviewer.api.uploads import FIELD, read_form, sent_picture

router = Router()
_predict = Token(Scope.PREDICT, stateless=True)


def json_answer(value: Any) -> HttpResponse:
    """The value as it is: what the shapes of other systems hold is not validated a second time."""
    return HttpResponse(json.dumps(value), content_type="application/json")


@router.get("/health", response={200: Health}, summary="Is the web server there?", tags=["Health"])
@router.api_operation(["HEAD"], "/health", include_in_schema=False)
def health(request: HttpRequest) -> HttpResponse:
    return json_answer({"status": "ok"})


@router.get(
    "/health/ready",
    response={200: Ready, 503: ProblemShape},
    summary="Can it answer: database, model, worker?",
    tags=["Health"],
)
@router.api_operation(["HEAD"], "/health/ready", include_in_schema=False)
def ready(request: HttpRequest) -> HttpResponse:
    found = readiness()
    if found.missing:
        raise Problem(503, "not_ready", " ".join(found.missing), {"Retry-After": str(NOT_READY_RETRY_SECONDS)})
    return json_answer({"status": "ready", "model": found.model})


@router.post(
    "/predict",
    auth=_predict,
    tags=["What a model says"],
    response=with_problems(FlatAnswer | BinaryAnswer),
    openapi_extra=form_of(required=False),
    summary="Probabilities of the picture at a URL, or NSFW or SFW for a picture that is sent",
)
def predict_picture(
    request: HttpRequest,
    url: str | None = Query(None, description="Where the picture is; only where the server is set to fetch URLs."),  # type: ignore[type-arg]
) -> HttpResponse:
    """With `url` the answer is a flat object of class → probability; with a file, `prediction` and `confidence`."""
    if url is not None:
        read_form(request)
        if request.FILES:
            raise Problem(400, "two_images", f"Expected a url or a file in the field {FIELD}, received both.")
        return json_answer(flat(predict(fetch_picture(url))))
    said = binary(_sent_prediction(request))
    if said is None:
        raise Problem(
            409,
            "model_does_not_fit",
            f"The model {settings.API_MODEL} does not tell adult from safe classes; ask POST /nsfw for its classes.",
        )
    return json_answer(said)


@router.post(
    "/nsfw",
    auth=_predict,
    tags=["What a model says"],
    response=with_problems(list[ClassAnswer]),
    openapi_extra=form_of(required=True),
    summary="Every class with its probability, the most probable first",
)
def classes(request: HttpRequest) -> HttpResponse:
    return json_answer(nsfwjs(_sent_prediction(request)))


@router.post(
    "/compute",
    auth=_predict,
    tags=["What a model says"],
    response=with_problems(ComputeAnswer),
    openapi_extra=form_of(required=True),
    summary="Category and sub-category, with all scores as strings",
)
def compute(request: HttpRequest) -> HttpResponse:
    return json_answer(computed(_sent_prediction(request)))


def _sent_prediction(request: HttpRequest) -> Predicted:
    return predict(sent_picture(request))
