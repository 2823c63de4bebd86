"""What a model says, in the shapes that the clients of other systems read (INTEROP.md 1, 3, 4 and 5)."""

from typing import TypedDict

from labeling.pipeline.serving import Predicted
from labeling.taxonomies import ClassSpec

# nsfwjs writes the first of the five in the singular.
_NSFWJS_NAMES = {"drawings": "Drawing", "hentai": "Hentai", "neutral": "Neutral", "porn": "Porn", "sexy": "Sexy"}


class Binary(TypedDict):
    prediction: str
    confidence: float


class ClassProbability(TypedDict):
    className: str
    probability: float


class Computed(TypedDict):
    prediction_category: str
    prediction_subcategory: str
    scores_dict_cat: dict[str, str]
    scores_dict_sub_cat: dict[str, str]


def flat(predicted: Predicted) -> dict[str, float]:
    """System 4: class → probability and nothing else, in the model's order."""
    return predicted.by_class()


def binary(predicted: Predicted) -> Binary | None:
    """System 1: NSFW or SFW, and how probable that answer is, 0.5..1; None where the model has no such sides.

    The system itself reads its output the wrong way round. Here NSFW is said where the classes on the adult side
    hold more than half.
    """
    adult = predicted.adult_probability()
    if adult is None:
        return None
    return {"prediction": "NSFW" if adult > 0.5 else "SFW", "confidence": adult if adult > 0.5 else 1 - adult}


def nsfwjs(predicted: Predicted) -> list[ClassProbability]:
    """System 3: every class, the most probable first."""
    listed: list[ClassProbability] = [
        {"className": _nsfwjs_name(one), "probability": float(probability)}
        for one, probability in zip(predicted.served.classes, predicted.answer.probabilities, strict=True)
    ]
    return sorted(listed, key=lambda one: -one["probability"])


def computed(predicted: Predicted) -> Computed:
    """System 5: category and sub-category each with the highest score, and all scores as strings."""
    groups = predicted.by_group()
    # str() of a NumPy number is the shortest text that reads back as the same number.
    classes = dict(zip(predicted.answer.class_names, predicted.answer.probabilities, strict=True))
    return {
        "prediction_category": max(groups, key=lambda group: groups[group]),
        "prediction_subcategory": predicted.answer.predicted_class,
        "scores_dict_cat": {group: str(score) for group, score in groups.items()},
        "scores_dict_sub_cat": {name: str(probability) for name, probability in classes.items()},
    }


def _nsfwjs_name(one: ClassSpec) -> str:
    return _NSFWJS_NAMES.get(one.name, one.name)
