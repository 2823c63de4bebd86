"""Moderation by a dataset's policy, of one picture or of many; on request the picture is filed in the dataset."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router, Schema
from pydantic import ValidationError

from labeling.models import Dataset, Scope
from labeling.pipeline.filing import file_picture, filed_before
from labeling.pipeline.moderating import Moderated, Moderator, blurred, moderator_of
from labeling.pipeline.serving import Busy
from labeling.tasks import keep_groups_fresh
from reviewer.api.auth import Caller, Token
from reviewer.api.fetching import fetch_picture
from reviewer.api.problems import Problem, problem_of
from reviewer.api.routes import json_answer
from reviewer.api.schemas import BINARY, BatchLine, ModerateAnswer, Urls, form_of, with_problems
from reviewer.api.uploads import FIELD, content, read_form, sent_picture

router = Router()
MOST_PICTURES = settings.DATA_UPLOAD_MAX_NUMBER_FILES
_BUSY_TRIES = 20
_BATCH_FIELD = "images"
Keep = Literal["none", "unknown", "all"]


class Filing(Schema):
    """What is to become of a picture, beside the answer."""

    dataset: str | None = None
    keep: Keep = "none"
    label: str = ""


@dataclass(frozen=True)
class _Work:
    """One request's policy, and where its pictures are filed."""

    dataset: Dataset | None
    moderator: Moderator
    keep: Keep
    label: str
    source: str

    def carry_out(self, picture: bytes) -> dict[str, Any]:
        moderated = self.moderator.moderate(picture)
        return _said(moderated, self.dataset, self._file(picture, moderated))

    def _file(self, picture: bytes, moderated: Moderated) -> int | None:
        if self.dataset is None or self.keep == "none":
            return None
        if self.keep == "unknown" and moderated.decision.band != "unknown":
            before = filed_before(self.dataset, picture)
            return before.pk if before else None
        filed = file_picture(self.dataset, picture, moderated.predicted, source=self.source, label=self.label)
        if filed.new:
            keep_groups_fresh(self.dataset)
        return filed.image.pk if filed.image else None


@router.post(
    "/moderate",
    auth=Token(Scope.MODERATE, stateless=True),
    tags=["Moderation"],
    response=with_problems(ModerateAnswer, 404),
    openapi_extra={**form_of(required=False), "responses": {200: {"content": {"image/jpeg": {"schema": BINARY}}}}},
    summary="What a dataset's policy makes of a picture",
)
def moderate(
    request: HttpRequest,
    filing: Query[Filing],
    url: str | None = Query(None, description="Where the picture is, in place of a file."),  # type: ignore[type-arg]
    render: Literal["blur"] | None = Query(None, description="blur: answer the picture itself, blurred."),  # type: ignore[type-arg]
) -> HttpResponse:
    """Band, action, probabilities, model and policy version; with `render=blur` a JPEG, and these in its headers."""
    work = _work(request, filing)
    if url is not None:
        read_form(request)
        if request.FILES:
            raise Problem(400, "two_images", f"Expected a url or a file in the field {FIELD}, received both.")
        picture = fetch_picture(url)
    else:
        picture = sent_picture(request)
    said = work.carry_out(picture)
    if render is None:
        return json_answer(said)
    return HttpResponse(
        blurred(picture),
        content_type="image/jpeg",
        headers={
            "X-Winnow-Band": said["band"],
            "X-Winnow-Action": said["action"],
            "X-Winnow-Model": said["model"],
            "X-Winnow-Policy": str(said["policy"] or ""),
        },
    )


@router.post(
    "/batch",
    auth=Token(Scope.MODERATE),
    tags=["Moderation"],
    response={status: shape for status, shape in with_problems(None, 404).items() if status != 200},
    openapi_extra={
        "responses": {
            200: {
                "description": "OK",
                "content": {"application/x-ndjson": {"schema": BatchLine.model_json_schema()}},
            },
        },
        "requestBody": {
            "required": True,
            "content": {
                **form_of(required=True, many=True)["requestBody"]["content"],
                "application/json": {"schema": Urls.model_json_schema()},
            },
        },
    },
    summary="Moderate many pictures; one line of JSON each, as they are answered",
)
def batch(request: HttpRequest, filing: Query[Filing]) -> StreamingHttpResponse:
    """Files in the field `images`, or a JSON object with `urls`. Each line has the picture's `index` in the request.

    A picture that cannot be used has `code` and `message` in its line; the others go on.
    """
    work = _work(request, filing)
    if (request.content_type or "").lower() == "application/json":
        sources: list[bytes | str] = list(_urls(request))
    else:
        read_form(request)
        wrong = [name for name in request.FILES if name != _BATCH_FIELD]
        if wrong:
            raise Problem(400, "no_image", f"Expected files in the field {_BATCH_FIELD}, received one in {wrong[0]}.")
        sources = [content(file) for file in request.FILES.getlist(_BATCH_FIELD)]
    if not sources:
        raise Problem(400, "no_image", f"Expected files in the field {_BATCH_FIELD} or urls, received none.")
    if len(sources) > MOST_PICTURES:
        raise Problem(413, "too_many_images", f"Expected at most {MOST_PICTURES} pictures, received {len(sources)}.")
    return StreamingHttpResponse(_lines(work, sources), content_type="application/x-ndjson")


def _lines(work: _Work, sources: list[bytes | str]) -> Iterator[bytes]:
    """One answer a picture. One at a time: the model has no more hands than other requests leave it."""
    for index in range(len(sources)):
        # Each picture's bytes are let go of once it is answered.
        source, sources[index] = sources[index], b""
        try:
            picture = fetch_picture(source) if isinstance(source, str) else source
            said = _patiently(work, picture)
        except Exception as error:  # `problem_of` logs what is a fault of ours
            problem = problem_of(error)
            said = {"code": problem.code, "message": problem.message}
        yield json.dumps({"index": index, **said}).encode() + b"\n"


def _patiently(work: _Work, picture: bytes) -> dict[str, Any]:
    """Wait for a place in the queue: the answer has begun, and 503 cannot be said any more."""
    for _ in range(_BUSY_TRIES):
        try:
            return work.carry_out(picture)
        except Busy as busy:
            time.sleep(min(busy.retry_after, 2.0))
    return work.carry_out(picture)


def _work(request: HttpRequest, filing: Filing) -> _Work:
    caller: Caller = request.auth  # type: ignore[attr-defined]
    token = caller.token
    if token is None:
        if filing.dataset is not None or filing.keep != "none":
            raise Problem(401, "token_missing", "Expected a token for a dataset's policy or to keep images; send one.")
        return _Work(None, moderator_of(None), "none", "", "")
    if filing.dataset is not None and filing.dataset != token.dataset.slug:
        # A dataset of somebody else and one that is not there cannot be told apart.
        raise Problem(404, "unknown_dataset", f"Expected the token's dataset, {token.dataset.slug}, or none.")
    if filing.keep != "none" and Scope.SUBMIT not in token.scopes:
        raise Problem(403, "scope_missing", "Expected a token with the scope submit to keep images. Ask for another.")
    return _Work(token.dataset, moderator_of(token.dataset), filing.keep, filing.label, f"API: {token.name}")


def _urls(request: HttpRequest) -> list[str]:
    try:
        return Urls.model_validate_json(request.body).urls
    except ValidationError as error:
        first = error.errors()[0]
        raise Problem(
            422, "invalid", f'Expected a JSON object {{"urls": ["https://…"]}}; {first["msg"].lower()}.'
        ) from error


def _said(moderated: Moderated, dataset: Dataset | None, image: int | None) -> dict[str, Any]:
    decision = moderated.decision
    return {
        "band": decision.band.value,
        "action": decision.action.value,
        "scores": dict(decision.scores),
        "reasons": list(decision.reasons),
        "probabilities": moderated.predicted.by_class(),
        "model": str(moderated.predicted.served.version),
        "policy": moderated.policy,
        "dataset": dataset.slug if dataset else None,
        "image": image,
    }
