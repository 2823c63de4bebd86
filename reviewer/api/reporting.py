"""Reports of mistakes from products."""

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import ValidationError

from labeling.actions.reports import take_report
from labeling.models import Image, ReportKind, Scope
from labeling.pipeline.filing import file_picture
from labeling.pipeline.moderating import moderator_of
from reviewer.api.auth import Caller, Token
from reviewer.api.problems import Problem
from reviewer.api.routes import json_answer
from reviewer.api.schemas import BINARY, ReportAnswer, ReportFields, with_problems
from reviewer.api.uploads import FIELD, MULTIPART, content, read_form

router = Router()
_FORM = {
    "type": "object",
    "properties": {**ReportFields.model_json_schema()["properties"], FIELD: BINARY},
    "required": ["kind"],
}


@router.post(
    "/reports",
    auth=Token(Scope.REPORT),
    tags=["Moderation"],
    response={**with_problems(ReportAnswer, 404), 201: ReportAnswer},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": ReportFields.model_json_schema()},
                MULTIPART: {"schema": _FORM},
            },
        },
    },
    summary="A decision about an image was wrong: have people look",
)
def report(request: HttpRequest) -> HttpResponse:
    """The image is named by its number or its sha256, or sent. Webhooks tell what people decide.

    201 for a new report, 200 for one whose `reference` was reported before.
    """
    caller: Caller = request.auth  # type: ignore[attr-defined]
    if caller.token is None:
        raise Problem(401, "token_missing", "Expected a token with the scope report, received none. Send one.")
    picture: bytes | None = None
    try:
        if (request.content_type or "").lower() == "application/json":
            fields = ReportFields.model_validate_json(request.body)
        else:
            read_form(request)
            files = [file for name in request.FILES for file in request.FILES.getlist(name)]
            if len(files) > 1 or (files and FIELD not in request.FILES):
                raise Problem(400, "two_images", f"Expected at most one file, in the field {FIELD}.")
            picture = content(files[0]) if files else None
            fields = ReportFields.model_validate(request.POST.dict())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Problem(422, "invalid", f"Expected what /api/docs describes; {place}: {first['msg']}.") from error
    named = [one for one in (fields.image_id, fields.sha256, picture) if one is not None]
    if len(named) != 1:
        raise Problem(
            400, "no_image", f"Expected one of image_id, sha256 and a file in the field {FIELD}, received {len(named)}."
        )
    image = _image(caller, fields, picture)
    taken = take_report(
        token=caller.token,
        image=image,
        kind=ReportKind(fields.kind),
        reason=fields.reason.strip(),
        reference=fields.reference.strip(),
    )
    answer = json_answer({"report": taken.report.pk, "image": taken.report.image_id, "appeal": taken.report.appeal})
    answer.status_code = 201 if taken.new else 200
    return answer


def _image(caller: Caller, fields: ReportFields, picture: bytes | None) -> Image:
    assert caller.token is not None  # noqa: S101  (checked before)
    dataset = caller.token.dataset
    if picture is not None:
        moderated = moderator_of(dataset).moderate(picture)
        source = f"API: {caller.token.name}"
        image = file_picture(dataset, picture, moderated.predicted, source=source).image
    else:
        images = Image.objects.filter(dataset=dataset).select_related("dataset")
        named = images.filter(pk=fields.image_id) if fields.image_id else images.filter(sha256=fields.sha256)
        image = named.order_by("pk").first()
    if image is None:
        raise Problem(
            404,
            "unknown_image",
            f"The dataset {dataset.slug} has no such image. Send the image itself with the report.",
        )
    return image
