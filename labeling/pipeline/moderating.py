"""What a dataset's policy makes of a picture that no dataset holds yet."""

import io
import threading
from dataclasses import dataclass

from django.conf import settings
from PIL import Image as Picture
from PIL import ImageFilter

from inference.bands import Decision, PolicyDefinition, decide
from inference.preprocess import decode
from labeling.models import Dataset, ModelVersion
from labeling.pipeline.policies import default_definition, definition_of
from labeling.pipeline.serving import Predicted, predict, served_model, served_version
from labeling.queries.policies import policy_in_force

_BLUR_SIDE = 24
_BLUR_MOST = 1280
# Each picture that is decoded takes memory, and a core; the threads that wait here take neither.
hands = threading.BoundedSemaphore(settings.API_INTERPRETERS)


@dataclass(frozen=True, eq=False)
class Moderated:
    """A picture's probabilities and what is to be done with it.

    Attributes:
        policy: the version that decided; None for the thresholds that hold where there is no policy.
    """

    predicted: Predicted
    decision: Decision
    policy: int | None


@dataclass(frozen=True)
class Moderator:
    """A policy, ready to decide; make one a request."""

    model_version: ModelVersion
    definition: PolicyDefinition
    policy: int | None

    def moderate(self, picture: bytes) -> Moderated:
        """What the policy makes of the bytes of an image file.

        Raises:
            ModelNotReady, Busy, ImageRefused: as of `serving.predict`.
        """
        predicted = predict(picture, served_version(self.model_version))
        decision = decide(self.definition, predicted.answer.probabilities, predicted.answer.class_names)
        return Moderated(predicted, decision, self.policy)


def moderator_of(dataset: Dataset | None) -> Moderator:
    """The policy in force of the dataset; without one, the thresholds that a new policy begins with.

    Raises:
        ModelNotReady: there is no policy, and the model of API_MODEL is not there.
        WrongUsage: there is no policy, and the model's classes do not tell adult from safe.
    """
    policy = policy_in_force(dataset) if dataset is not None else None
    if policy is not None:
        return Moderator(policy.model_version, definition_of(policy), policy.version)
    version = served_model().version
    return Moderator(version, default_definition(version), None)


def blurred(picture: bytes) -> bytes:
    """A JPEG of the picture in which nothing can be made out, at most 1280 pixels wide or high.

    It is made from 24 pixels on the long side, so that no sharpening brings anything back.

    Raises:
        ImageRefused: the picture cannot be used.
    """
    with hands:
        image = decode(picture, max_pixels=settings.MAX_IMAGE_PIXELS).rgb
        scale = min(1.0, _BLUR_MOST / max(image.size))
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        tiny = image.copy()
        tiny.thumbnail((_BLUR_SIDE, _BLUR_SIDE), Picture.Resampling.BOX)
        soft = tiny.filter(ImageFilter.GaussianBlur(1)).resize(size, Picture.Resampling.BICUBIC)
        out = io.BytesIO()
        soft.save(out, "JPEG", quality=80)
    return out.getvalue()
