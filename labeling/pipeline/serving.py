"""Answers for single pictures that no dataset holds: what the HTTP API serves.

One predictor for each model version and server process, opened by its first request. Which version a model's name
means is looked up again every few seconds, so a newly registered one is served without a restart.
"""

import threading
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from django.conf import settings

from inference.errors import Busy, ImageRefused, ModelRefused
from inference.models.sidecar import ModelFolder
from inference.serving import Answer, ServingPredictor
from labeling.errors import LabelingError, WrongUsage
from labeling.models import ModelVersion
from labeling.pipeline.model_versions import current_model, model_folder
from labeling.taxonomies import ClassSpec
from labeling.taxonomies.class_maps import is_adult

__all__ = [
    "Answer",
    "Busy",
    "ImageRefused",
    "ModelNotReady",
    "Predicted",
    "Served",
    "check_model_folder",
    "predict",
    "served_model",
    "served_version",
]

ANSWER_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 5.0
_MOST_MODELS = 3


class ModelNotReady(LabelingError):
    """The model that should answer is not there, or cannot be opened."""


@dataclass(frozen=True)
class Served:
    """A model version that answers, and its classes in output order."""

    version: ModelVersion
    classes: tuple[ClassSpec, ...]

    @cached_property
    def adult(self) -> npt.NDArray[np.bool_]:
        """(K,): which classes are on the adult side."""
        return np.array([is_adult(one) for one in self.classes])


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a served model says about one picture.

    Attributes:
        served: the model.
        answer: its probabilities and embedding.
    """

    served: Served
    answer: Answer

    def by_class(self) -> dict[str, float]:
        """Class name → probability, in output order."""
        return self.answer.by_class()

    def by_group(self) -> dict[str, float]:
        """Group → sum of its classes' probabilities, in the order of the classes."""
        sums: dict[str, float] = {}
        for one, probability in zip(self.served.classes, self.answer.probabilities, strict=True):
            sums[one.group] = sums.get(one.group, 0.0) + float(probability)
        return sums

    def adult_probability(self) -> float | None:
        """The sum over the adult classes, 0..1; None where the model does not tell adult from safe."""
        adult = self.served.adult
        if adult.all() or not adult.any():
            return None
        return min(1.0, float(self.answer.probabilities[adult].sum(dtype=np.float64)))


class _Predictors:
    """The open predictors of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, tuple[float, Served]] = {}
        self._versions: dict[int, Served] = {}
        self._open: dict[int, ServingPredictor] = {}

    def served_version(self, version: ModelVersion) -> Served:
        known = self._versions.get(version.pk)
        if known is None:
            known = self._versions[version.pk] = Served(version, _classes(version))
        return known

    def served(self, name: str) -> Served:
        moment = time.monotonic()
        known = self._named.get(name)
        if known is not None and moment - known[0] < _LOOK_AGAIN_SECONDS:
            return known[1]
        version = current_model(name)
        served = self.served_version(version)
        self._named[name] = moment, served
        return served

    def predictor(self, served: Served) -> ServingPredictor:
        with self._lock:
            found = self._open.get(served.version.pk)
            if found is None:
                while len(self._open) >= _MOST_MODELS:
                    # The oldest; its threads end once what they work on is answered.
                    self._open.pop(next(iter(self._open))).close()
                found = self._open[served.version.pk] = ServingPredictor(
                    model_folder(served.version),
                    interpreters=settings.API_INTERPRETERS,
                    waiting=settings.API_WAITING,
                    max_pixels=settings.MAX_IMAGE_PIXELS,
                )
            return found


_predictors = _Predictors()


def served_model(name: str = "") -> Served:
    """The newest version of the named model, or of the one that API_MODEL names.

    Raises:
        ModelNotReady: it was not fetched or registered yet.
    """
    wanted = name or settings.API_MODEL
    try:
        return _predictors.served(wanted)
    except WrongUsage as error:
        raise ModelNotReady(
            f"The model {wanted} is not on this server yet: an administrator brings it with fetch_model or "
            "register_model, or names another by API_MODEL."
        ) from error


def served_version(version: ModelVersion) -> Served:
    """A registered model version, to answer with."""
    return _predictors.served_version(version)


def check_model_folder(served: Served) -> None:
    """Look whether the files of a model are there.

    Raises:
        ModelNotReady: they are not, or its sidecar is not valid.
    """
    try:
        ModelFolder.open(model_folder(served.version), verify=False)
    except ModelRefused as error:
        raise ModelNotReady(f"The model {served.version} cannot be opened; the server's log says why.") from error


def predict(picture: bytes, served: Served | None = None) -> Predicted:
    """Answer one picture; safe to call from any thread, and nothing is written to disk.

    Args:
        picture: the bytes of an image file.
        served: the model that answers; None = the one that API_MODEL names.

    Raises:
        ModelNotReady: the model is not there or cannot be opened.
        Busy: as many requests wait as may; with a hint when to ask again.
        ImageRefused: the picture cannot be used.
    """
    served = served or served_model()
    try:
        answer = _predictors.predictor(served).predict(picture, timeout=ANSWER_SECONDS)
    except ModelRefused as error:
        raise ModelNotReady(f"The model {served.version} cannot be opened; the server's log says why.") from error
    return Predicted(served, answer)


def _classes(version: ModelVersion) -> tuple[ClassSpec, ...]:
    return tuple(
        ClassSpec(
            name=one.name,
            group=one.group,
            harm_rank=one.harm_rank,
            aliases=tuple(one.aliases),
            guideline=one.guideline,
        )
        for one in version.taxonomy.classes.order_by("index")
    )
