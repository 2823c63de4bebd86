"""The thresholds of the image quality findings, and what a dataset changed of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from inference.errors import ArrayRefused
from inference.image_quality import QualityLimits
from labeling.actions.issues import set_quality_thresholds
from labeling.errors import WrongUsage
from labeling.models import Dataset

NAMES = tuple(QualityLimits.__dataclass_fields__)
_MEANINGS = {
    "dark": "dark below this brightness + contrast",
    "bright": "bright above this brightness − contrast",
    "uniform": "nearly uniform below this contrast",
    "bits": "little information below so many bits of entropy",
    "sharpness": "blurry below this sharpness …",
    "detail": "… and below this sharpness relative to the picture's variance",
    "judged_contrast": "blur is judged from this contrast up",
    "side_ratio": "odd size: so many times the median side",
    "aspect_ratio": "odd aspect: so many times the median aspect …",
    "elongation": "… and more than this by itself",
    "spreads": "size and aspect: so many robust standard deviations off",
}


@dataclass(frozen=True)
class Limit:
    """One threshold: its value in a dataset, Winnow's own, and what it means."""

    name: str
    value: float
    default: float
    meaning: str


def limits_of(dataset: Dataset) -> tuple[Limit, ...]:
    defaults = asdict(QualityLimits())
    return tuple(
        Limit(name, float(dataset.quality_thresholds.get(name, default)), default, _MEANINGS.get(name, name))
        for name, default in defaults.items()
    )


def quality_limits(dataset: Dataset) -> QualityLimits:
    return QualityLimits(**dataset.quality_thresholds)


def change_quality_limits(dataset: Dataset, changed: Mapping[str, float]) -> None:
    """Change thresholds; the next `find_issues` uses them. One that is set to Winnow's own is no longer kept.

    Raises:
        WrongUsage: an unknown threshold, or a number that none can be.
    """
    thresholds = {**dataset.quality_thresholds, **changed}
    unknown = sorted(set(thresholds) - set(NAMES))
    if unknown:
        raise WrongUsage(f"Expected thresholds among {', '.join(NAMES)}, received {', '.join(unknown)}.")
    try:
        QualityLimits(**thresholds)
    except ArrayRefused as refused:
        raise WrongUsage(f"Not a threshold: {refused}.") from refused
    defaults = asdict(QualityLimits())
    kept = {name: value for name, value in thresholds.items() if value != defaults[name]}
    set_quality_thresholds(dataset=dataset, thresholds=kept)
