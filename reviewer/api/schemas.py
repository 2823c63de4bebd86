"""The shapes of the API, as its OpenAPI page shows them."""

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import Field, field_validator

from labeling.importers.paths import is_storable

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


class ModerateAnswer(Schema):
    band: Literal["safe", "unknown", "adult"]
    action: Literal["allow", "blur", "review", "block"]
    scores: dict[str, Probability] = Field(description="unsafe and adult: what the thresholds are compared with.")
    reasons: list[str]
    probabilities: dict[str, Probability]
    model: str
    policy: int | None = Field(description="The version that decided; null for the thresholds that hold without one.")
    dataset: str | None
    image: int | None = Field(description="The image in the dataset, where it is kept there.")


class BatchLine(Schema):
    """One line: an answer as of /moderate, or a problem; with the picture's place in the request."""

    index: int
    band: Literal["safe", "unknown", "adult"] | None = None
    action: Literal["allow", "blur", "review", "block"] | None = None
    scores: dict[str, Probability] | None = None
    reasons: list[str] | None = None
    probabilities: dict[str, Probability] | None = None
    model: str | None = None
    policy: int | None = None
    dataset: str | None = None
    image: int | None = None
    code: str | None = None
    message: str | None = None


class ReportFields(Schema):
    """A report. The image is named by `image_id` or `sha256`, or sent as a file."""

    kind: Literal["false_positive", "false_negative"] = Field(
        description="false_positive: held back, but harmless; false_negative: let through, but harmful."
    )
    image_id: int | None = Field(None, ge=1, lt=2**63)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    reason: str = Field("", max_length=500, description="In words, for the people who look.")
    reference: str = Field(
        "", max_length=200, description="The product's own name for it; the same one again is the same report."
    )

    @field_validator("reason", "reference")
    @classmethod
    def _storable(cls, text: str) -> str:
        if not is_storable(text):
            raise ValueError("expected text without NUL and half characters")
        return text


class ReportAnswer(Schema):
    report: int
    image: int
    appeal: bool = Field(description="People had settled the image before; somebody else is asked.")


class Urls(Schema):
    urls: Annotated[list[str], Field(min_length=1)]


FlatAnswer = dict[str, Probability]

BINARY = {"type": "string", "format": "binary"}
_PROBLEM_STATUSES = (400, 401, 403, 411, 413, 415, 422, 429, 500, 502, 503, 504)


def with_problems(success: Any, *more: int) -> dict[int, Any]:
    """The answers of a route: its success, and the problems that any route may have."""
    return {200: success, **dict.fromkeys((*_PROBLEM_STATUSES, *more), ProblemShape)}


def form_of(*, required: bool, many: bool = False) -> dict[str, Any]:
    """The OpenAPI description of a form with one picture, or with many."""
    name = "images" if many else "image"
    field = {"type": "array", "items": BINARY, "minItems": 1} if many else BINARY
    schema = {"type": "object", "properties": {name: field}, "required": [name]}
    return {"requestBody": {"required": required, "content": {"multipart/form-data": {"schema": schema}}}}
