"""Bands: what a policy makes of an image's probabilities, and how sure one may be of what it decides by itself.

Both sides lie on one axis from 0 (harmless) to 1. An image's *unsafe* score is 1 less the probabilities of the
policy's safe classes, its *adult* score the sum of those of its adult classes; classes on neither side leave a gap
between the two. An image is `safe` up to one threshold of the unsafe score, `adult` from the other threshold of the
adult score, and `unknown` between them: the three client states of NSFW-FLASK, and with one score the .2 and .8 of
open_nsfw. A class may ask for something of its own on top, as TRUST-NSFW-Classifier does (blur porn above .85, have
people look at sexy); what people are asked to look at is always `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.errors import ArrayRefused
from inference.types import AnyFloatArray, BoolArray, Float64Array


class Band(StrEnum):
    """What a policy makes of the probabilities."""

    SAFE = "safe"
    UNKNOWN = "unknown"
    ADULT = "adult"


class Action(StrEnum):
    """What the product is told to do with an image, the mildest first."""

    ALLOW = "allow"
    BLUR = "blur"
    REVIEW = "review"
    BLOCK = "block"


PLACES = 6
"""Decimal places that scores are rounded to; float32 is exact to seven."""

BAND_ACTIONS: Mapping[Band, Action] = {
    Band.SAFE: Action.ALLOW,
    Band.UNKNOWN: Action.REVIEW,
    Band.ADULT: Action.BLOCK,
}


@dataclass(frozen=True)
class ClassRule:
    """An action for images in which one class has a probability of at least `at`, whatever their band."""

    label: str
    at: float
    action: Action


@dataclass(frozen=True)
class PolicyDefinition:
    """How a policy decides.

    Attributes:
        safe, adult: class names of the scoring model; no class on both sides. Groups are written out as their classes.
        safe_up_to: highest unsafe score of the safe band, 0..1.
        adult_from: lowest adult score of the adult band, 0..1, above `safe_up_to`.
        rules: for single classes; of those that hold, the first decides on the action in place of the band.

    Raises:
        ArrayRefused: thresholds that are no numbers from 0 to 1 or cross, or a side without classes.
    """

    safe: tuple[str, ...]
    adult: tuple[str, ...]
    safe_up_to: float
    adult_from: float
    rules: tuple[ClassRule, ...] = ()

    def __post_init__(self) -> None:
        _check_share(self.safe_up_to, "the threshold of the safe band")
        _check_share(self.adult_from, "the threshold of the adult band")
        if self.safe_up_to >= self.adult_from:
            raise ArrayRefused(
                "The thresholds cross: expected the safe band to end below where the adult band begins, received safe "
                f"up to {self.safe_up_to:g} and adult from {self.adult_from:g}. Move one of them."
            )
        for side, names in (("safe", self.safe), ("adult", self.adult)):
            if not names:
                raise ArrayRefused(f"Expected at least one class on the {side} side, received none.")
        both = sorted(set(self.safe) & set(self.adult))
        if both:
            raise ArrayRefused(f"Expected each class on one side, received {', '.join(both)} on both.")
        for rule in self.rules:
            _check_share(rule.at, f"the threshold of the rule for {rule.label}")

    @property
    def names(self) -> tuple[str, ...]:
        """Every class that the definition names, each once."""
        return tuple(dict.fromkeys((*self.safe, *self.adult, *(rule.label for rule in self.rules))))

    def scores_like(self, other: PolicyDefinition) -> bool:
        """Whether both give every image the same scores, so that only thresholds and actions tell them apart."""
        return self._scoring == other._scoring

    @property
    def _scoring(self) -> tuple[frozenset[str], frozenset[str], frozenset[tuple[str, float]]]:
        reviews = frozenset((rule.label, rule.at) for rule in self.reviews)
        return frozenset(self.safe), frozenset(self.adult), reviews

    @property
    def reviews(self) -> tuple[ClassRule, ...]:
        """The rules by which people have to look at an image."""
        return tuple(rule for rule in self.rules if rule.action == Action.REVIEW)

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return {
            "safe": list(self.safe),
            "adult": list(self.adult),
            "safe_up_to": self.safe_up_to,
            "adult_from": self.adult_from,
            "rules": [{"class": rule.label, "at": rule.at, "action": rule.action.value} for rule in self.rules],
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> PolicyDefinition:
        """The definition that `as_json` wrote.

        Raises:
            ArrayRefused: something is missing or of another kind, or the definition does not hold.
        """
        try:
            rules = tuple(
                ClassRule(str(rule["class"]), float(rule["at"]), Action(rule["action"])) for rule in given["rules"]
            )
            return cls(
                safe=tuple(map(str, given["safe"])),
                adult=tuple(map(str, given["adult"])),
                safe_up_to=float(given["safe_up_to"]),
                adult_from=float(given["adult_from"]),
                rules=rules,
            )
        except ArrayRefused:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ArrayRefused(
                "Expected a policy with the keys safe, adult (lists of classes), safe_up_to, adult_from (numbers) and "
                f"rules (objects with class, at and action), received {given!r:.200}."
            ) from error


@dataclass(frozen=True)
class Decision:
    """What a policy says of one image.

    Attributes:
        band, action: as above.
        scores: `unsafe` and `adult`, each 0..1.
        reasons: in words; the first names the scores, the others the rules that hold.
    """

    band: Band
    action: Action
    scores: Mapping[str, float]
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scores:
    """What thresholds are compared with.

    Attributes:
        unsafe: (N,) 0..1, never below `adult`.
        adult: (N,) 0..1.
        held: (N,) a rule has people look at the image, so it is `unknown` at any threshold.
    """

    unsafe: Float64Array
    adult: Float64Array
    held: BoolArray


def decide(definition: PolicyDefinition, probabilities: AnyFloatArray, class_names: Sequence[str]) -> Decision:
    """What the policy makes of one image.

    Args:
        probabilities: (K,) one a class, in the order of `class_names`.
        class_names: of the scoring model.

    Raises:
        ArrayRefused: probabilities that are no row of K numbers from 0 to 1, or a class that the model does not have.
    """
    row = np.round(np.asarray(probabilities, dtype=np.float64), PLACES)
    if row.ndim != 1:
        raise ArrayRefused(f"Expected one probability a class, shape ({len(class_names)},), received {row.shape}.")
    scores = policy_scores(definition, row[np.newaxis], class_names)
    unsafe, adult = float(scores.unsafe[0]), float(scores.adult[0])
    band = Band(str(bands_of(scores, definition)[0]))
    holding = [rule for rule in definition.rules if float(row[list(class_names).index(rule.label)]) >= rule.at]
    reasons = [_score_reason(definition, unsafe, adult)]
    reasons += [f"{rule.label} at or above {rule.at:g}: {rule.action}" for rule in holding]
    action = holding[0].action if holding else BAND_ACTIONS[band]
    return Decision(band, action, {"unsafe": unsafe, "adult": adult}, tuple(reasons))


def policy_scores(definition: PolicyDefinition, probabilities: AnyFloatArray, class_names: Sequence[str]) -> Scores:
    """The scores of many images.

    Args:
        probabilities: (N, K) rows of probabilities in the order of `class_names`.
        class_names: of the scoring model.

    Raises:
        ArrayRefused: another shape, values outside 0..1, or a class that the model does not have.
    """
    # A .2 that was stored as float32 lies above .2: to six places it is what was meant, and what a threshold says.
    checked = np.round(np.asarray(probabilities, dtype=np.float64), PLACES)
    names = list(class_names)
    if checked.ndim != 2 or checked.shape[1] != len(names):
        raise ArrayRefused(f"Expected probabilities of shape (N, {len(names)}), received {checked.shape}.")
    if not np.isfinite(checked).all() or (checked < 0).any() or (checked > 1 + 1e-3).any():
        raise ArrayRefused("Expected probabilities from 0 to 1, received others or none at all (NaN).")
    unknown = [name for name in definition.names if name not in names]
    if unknown:
        raise ArrayRefused(
            f"The policy names {', '.join(unknown)}, which the model does not have; its classes are {', '.join(names)}."
        )

    def total(side: Sequence[str]) -> Float64Array:
        # One class after the other: NumPy's own sums depend on how many rows there are, in their last bit.
        summed = np.zeros(len(checked), dtype=np.float64)
        for name in side:
            summed += checked[:, names.index(name)]
        return np.asarray(np.round(np.clip(summed, 0.0, 1.0), PLACES), dtype=np.float64)

    adult = total(definition.adult)
    held = np.zeros(len(checked), dtype=np.bool_)
    for rule in definition.reviews:
        held |= checked[:, names.index(rule.label)] >= rule.at
    # Rounded sums may put the unsafe score a hair below the adult one, and then an image could be both safe and adult.
    return Scores(np.maximum(np.round(1.0 - total(definition.safe), PLACES), adult), adult, held)


def bands_of(scores: Scores, definition: PolicyDefinition) -> npt.NDArray[np.str_]:
    """(N,) the band of each image, as text."""
    bands = np.full(len(scores.unsafe), Band.UNKNOWN.value, dtype="<U7")
    bands[(scores.unsafe <= definition.safe_up_to) & ~scores.held] = Band.SAFE.value
    bands[(scores.adult >= definition.adult_from) & ~scores.held] = Band.ADULT.value
    return bands


def _score_reason(definition: PolicyDefinition, unsafe: float, adult: float) -> str:
    if unsafe <= definition.safe_up_to:
        return f"unsafe score {unsafe:.3f}, at most {definition.safe_up_to:g}"
    if adult >= definition.adult_from:
        return f"adult score {adult:.3f}, at least {definition.adult_from:g}"
    return (
        f"unsafe score {unsafe:.3f}, above {definition.safe_up_to:g}; adult score {adult:.3f}, below "
        f"{definition.adult_from:g}"
    )


def _check_share(value: float, name: str) -> None:
    if not isfinite(value) or not 0 <= value <= 1:
        raise ArrayRefused(f"Expected {name} to be a number from 0 to 1, received {value!r}.")
