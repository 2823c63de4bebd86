"""Everything that `inference` raises on purpose.

    InferenceError
    ├── Busy                   the serving predictor has as many requests as it takes; ask again later
    ├── EngineFailed           the cluster cannot be reached, or failed beyond what it mends itself
    ├── ImageRefused           one image cannot be used; the rest of a run goes on
    ├── ArrayRefused           an array has the wrong shape, type or values (also a ValueError)
    │   ├── NotEnoughLabels    the labels are well-formed, but no classifier can be learned from them
    │   └── InSample           probabilities of a model that learned from the images it judges
    └── ModelRefused           a model, or a file that describes one, cannot be used
        ├── UnknownModel       no model of that name in the catalogue
        ├── SidecarInvalid     the sidecar lacks a fact or contradicts itself
        ├── HashMismatch       bytes differ from the ones that were promised
        ├── MissingTool        a program or an optional library that the work needs is not installed
        ├── FetchFailed        the tool ran, but did not bring the package
        ├── BuildFailed        converting a model failed in its own process
        └── DriftTooLarge      the compiled model does not answer as its original does

Messages say what was expected, what was received and what to do.
"""

from __future__ import annotations


class InferenceError(Exception):
    """Root of the tree above."""


class Busy(InferenceError):
    """A request that was refused so that the ones before it keep their speed.

    Attributes:
        retry_after: seconds, more than 0, after which a place is likely to be free; the value for `Retry-After`.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class EngineFailed(InferenceError):
    """A cluster that cannot be used any more."""


class ImageRefused(InferenceError):
    """One image that cannot be used.

    Attributes:
        code: one of `empty`, `truncated`, `not_an_image`, `too_many_pixels`, `too_many_bytes`, `unreadable`,
            `unsupported`.
        reason: one line for people, without the file's name (the caller knows it).
    """

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = " ".join(reason.split())
        super().__init__(code, self.reason)

    def __str__(self) -> str:
        return self.reason


class ArrayRefused(InferenceError, ValueError):
    """An array with the wrong shape, type or values."""


class NotEnoughLabels(ArrayRefused):
    """Fewer labels, or classes, than a classifier needs."""


class InSample(ArrayRefused):
    """Probabilities by a model that was trained on the very images."""


class ModelRefused(InferenceError):
    """A model, or a file that describes one, that cannot be used."""


class UnknownModel(ModelRefused):
    """A name that the catalogue does not hold."""


class SidecarInvalid(ModelRefused):
    """A sidecar that lacks a fact or contradicts itself."""


class HashMismatch(ModelRefused):
    """Bytes that differ from the ones that were promised."""


class MissingTool(ModelRefused):
    """A program, or an optional library, that is not installed."""


class FetchFailed(ModelRefused):
    """A download that did not come."""


class BuildFailed(ModelRefused):
    """A conversion that failed in its own process."""


class DriftTooLarge(ModelRefused):
    """A compiled model that answers differently from its original."""
