"""The shapes of the API, as its OpenAPI page shows them."""

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import Field

Probability = Annotated[float, Field(ge=0, le=1)]


class ProblemShape(Schema):
    """Every answer that is no success."""

    code: str = Field(description="One lower-case word with underscores, for programs.", examples=["no_image"])
    message: str = Field(description="What was expected, what was received, and what to do.")


class Health(Schema):
    status: Literal["ok"]


class Ready(Schema):
    status: Literal["ready"]
    model: str = Field(description="The model version that answers.")


class BinaryAnswer(Schema):
    prediction: Literal["NSFW", "SFW"]
    confidence: Probability = Field(description="How probable this prediction is, from 0.5 to 1.")


class ClassAnswer(Schema):
    className: str  # noqa: N815  (nsfwjs' own spelling)
    probability: Probability


class ComputeAnswer(Schema):
    prediction_category: str
    prediction_subcategory: str
    scores_dict_cat: dict[str, str]
    scores_dict_sub_cat: dict[str, str]


FlatAnswer = dict[str, Probability]

_PROBLEM_STATUSES = (400, 401, 403, 411, 413, 415, 422, 429, 500, 502, 503, 504)


def with_problems(success: Any, *more: int) -> dict[int, Any]:
    """The answers of a route: its success, and the problems that any route may have."""
    return {200: success, **dict.fromkeys((*_PROBLEM_STATUSES, *more), ProblemShape)}


def form_of(*, required: bool, many: bool = False) -> dict[str, Any]:
    """The OpenAPI description of a form with one picture, or with many."""
    name = "images" if many else "image"
    picture = {"type": "string", "format": "binary"}
    field = {"type": "array", "items": picture, "minItems": 1} if many else picture
    schema = {"type": "object", "properties": {name: field}, "required": [name]}
    return {"requestBody": {"required": required, "content": {"multipart/form-data": {"schema": schema}}}}
