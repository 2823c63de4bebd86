"""Figures about a picture's quality, from its grey pixels, and the findings that follow from them.

A finding says that a person should look, never that an image is bad: a night sky is dark, a drawing holds little
information. How often the default limits of `QualityLimits` speak up is in its docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from inference.errors import ArrayRefused
from inference.types import AnyFloatArray, AnyIntArray, Float64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class QualityFigures:
    """Figures of one picture.

    Attributes:
        brightness: mean grey, 0 (black) to 1 (white).
        contrast: standard deviation of grey over its largest possible value, 0 (flat) to 1 (half black, half white).
        sharpness: variance of the Laplacian of grey in 0..1; higher = sharper, 0 = flat. Compare at one size only.
        entropy: bits, 0 (one grey value) to 8 (all 256 equally often).
    """

    brightness: float
    contrast: float
    sharpness: float
    entropy: float


def quality_figures(grey: UInt8Array) -> QualityFigures:
    """Measure one picture.

    The variance of the Laplacian as a focus measure: Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000.

    Args:
        grey: (H, W) uint8, H and W ≥ 1.

    Raises:
        ArrayRefused: another shape or type.
    """
    if grey.ndim != 2 or grey.size == 0 or grey.dtype != np.uint8:
        raise ArrayRefused(f"expected (H, W) uint8 with a pixel or more, received {grey.shape} {grey.dtype}")
    # Everything but sharpness follows from how often each of the 256 values occurs.
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256) / 255
    brightness = float(shares @ levels)
    deviation = float(np.sqrt(shares @ (levels - brightness) ** 2))
    present = shares[shares > 0]
    return QualityFigures(
        brightness=min(brightness, 1.0),
        contrast=min(deviation / 0.5, 1.0),
        sharpness=_laplacian_variance(grey),
        entropy=max(0.0, float(-(present * np.log2(present)).sum())),
    )


def _laplacian_variance(grey: UInt8Array) -> float:
    if min(grey.shape) < 3:
        return 0.0
    values = grey.astype(np.int16)
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    laplacian -= 4 * values[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64)) / 255**2


@dataclass(frozen=True, slots=True, eq=False)
class QualityColumns:
    """The figures of N images: brightness, contrast, sharpness, entropy as in `QualityFigures`, at the one size that
    `inspect_image` takes them; width and height in pixels of the picture itself. Each (N,).

    Raises:
        ArrayRefused: columns of unlike length, not numbers, not finite, or sides below 1.
    """

    brightness: AnyFloatArray
    contrast: AnyFloatArray
    sharpness: AnyFloatArray
    entropy: AnyFloatArray
    width: AnyIntArray
    height: AnyIntArray

    def __post_init__(self) -> None:
        for field in fields(self):
            column = np.asarray(getattr(self, field.name))
            if column.shape != (len(self),) or not np.issubdtype(column.dtype, np.number):
                raise ArrayRefused(
                    f"expected ({len(self)},) numbers for {field.name}, received {column.shape} {column.dtype}"
                )
            if not np.isfinite(column).all() or (field.name in {"width", "height"} and (column < 1).any()):
                raise ArrayRefused(f"expected finite figures and sides of 1 or more, received others for {field.name}")
            object.__setattr__(self, field.name, column)

    def __len__(self) -> int:
        return len(self.brightness)


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """When a figure becomes a finding.

    The defaults, as measured (`make bench`, suite `duplicates`): none of 8,000 real photographs of 32×32 pixels has a
    finding; of 138 tiles of large photographs 9 have one, all but one of them black or smooth indeed; of the demo's
    320 drawings 8 are `low_information`. Blurred by a Gaussian of 2, 3 or 4 pixels at a long side of 320, 48, 75 or
    83 % of the tiles that were sharp are `blurry`.

    Attributes:
        dark: `dark` where brightness + contrast, about the grey of the brightest parts, is below this.
        bright: `bright` where brightness - contrast, about the grey of the darkest parts, is above this.
        uniform: `near_uniform` where contrast is below this.
        bits: `low_information` where entropy is below so many bits.
        sharpness, detail: `blurry` where sharpness is below the first and, so that soft light is not taken for blur,
            also sharpness over the variance of grey below the second. Asked only of pictures with `judged_contrast`
            or more: in flatter ones the rounding of grey outweighs the edges.
        side_ratio: `odd_size` where the side of the square of equal area is more than so many times larger or
            smaller than the dataset's median.
        aspect_ratio: `odd_aspect` where long over short side is more than so many times the dataset's median,
        elongation: and more than this by itself.
        spreads: size and aspect must also lie so many robust standard deviations (1.4826 × the median absolute
            deviation, of logarithms) off the median: in a dataset of many sizes none is odd.
    """

    dark: float = 0.12
    bright: float = 0.9
    uniform: float = 0.03
    bits: float = 1.0
    sharpness: float = 1.5e-4
    detail: float = 0.012
    judged_contrast: float = 0.1
    side_ratio: float = 4.0
    aspect_ratio: float = 2.0
    elongation: float = 2.5
    spreads: float = 3.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            smallest = 1 if field.name in {"side_ratio", "aspect_ratio", "elongation"} else 0
            if not np.isfinite(value) or value < smallest:
                raise ArrayRefused(f"expected {smallest} or more for the limit {field.name}, received {value}")


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """One thing that is unusual about one image.

    Attributes:
        index: of the image in the columns.
        kind: a key of `QUALITY_KINDS`.
        score: 0..1, low = far beyond the limit.
        reason: a sentence for people.
    """

    index: int
    kind: str
    score: float
    reason: str


def quality_findings(columns: QualityColumns, limits: QualityLimits = QualityLimits()) -> list[QualityFinding]:
    """Find the images whose figures are unusual.

    Args:
        columns: the figures of the whole dataset; size and aspect are compared within it.
        limits: when a figure becomes a finding.

    Returns:
        By image, then in the order of `QUALITY_KINDS`. A nearly uniform image is called neither low in information
        nor blurry besides.
    """
    found: list[tuple[int, int, QualityFinding]] = []
    uniform = columns.contrast < limits.uniform
    for place, (kind, find) in enumerate(QUALITY_KINDS.items()):
        score, reason = find(columns, limits)
        if kind in {"low_information", "blurry"}:
            score = np.where(uniform, 1.0, score)
        found += [
            (index, place, QualityFinding(index, kind, float(score[index]), reason(index)))
            for index in np.flatnonzero(score < 1).tolist()
        ]
    return [finding for _, _, finding in sorted(found, key=lambda one: one[:2])]


_Judged = tuple[Float64Array, Callable[[int], str]]
"""Scores (N,), below 1 where there is a finding, and the sentence about an image."""


def _dark(columns: QualityColumns, limits: QualityLimits) -> _Judged:
    brightest = columns.brightness + columns.contrast
    return _below(brightest, limits.dark), lambda index: f"dark: mean brightness {columns.brightness[index]:.0%}"


def _bright(columns: QualityColumns, limits: QualityLimits) -> _Judged:
    darkest = columns.brightness - columns.contrast
    score = _below(1 - darkest, 1 - limits.bright)
    return score, lambda index: f"bright: mean brightness {columns.brightness[index]:.0%}"


def _near_uniform(columns: QualityColumns, limits: QualityLimits) -> _Judged:
    score = _below(columns.contrast, limits.uniform)
    return score, lambda index: f"near uniform: contrast {columns.contrast[index]:.1%}"


def _low_information(columns: QualityColumns, limits: QualityLimits) -> _Judged:
    score = _below(columns.entropy, limits.bits)
    return score, lambda index: f"low information: {columns.entropy[index]:.1f} of 8 bits a pixel"


def _blurry(columns: QualityColumns, limits: QualityLimits) -> _Judged:
    variance = np.square(np.asarray(columns.contrast, dtype=np.float64) / 2)
    detail = np.divide(columns.sharpness, variance, out=np.full(len(columns), np.inf), where=variance > 0)
    score = np.maximum(_below(columns.sharpness, limits.sharpness), _below(detail, limits.detail))
    score = np.where(columns.contrast >= limits.judged_contrast, score, 1.0)
    return score, lambda index: f"blurry: {detail[index] / limits.detail:.0%} of the least detail of a sharp picture"


def _odd_size(columns: QualityColumns, limits: QualityLimits) -> _Judged:
    sides = 0.5 * (np.log(columns.width, dtype=np.float64) + np.log(columns.height, dtype=np.float64))
    off, limit = _off_median(sides, np.log(limits.side_ratio), limits.spreads)
    score = _above(np.abs(off), limit)

    def reason(index: int) -> str:
        word = "larger" if off[index] > 0 else "smaller"
        size = f"{columns.width[index]}×{columns.height[index]} pixels"
        return f"odd size: {size}, {np.exp(abs(off[index])):.1f} times {word} than usual here"

    return score, reason


def _odd_aspect(columns: QualityColumns, limits: QualityLimits) -> _Judged:
    elongation = np.abs(np.log(columns.width, dtype=np.float64) - np.log(columns.height, dtype=np.float64))
    off, limit = _off_median(elongation, np.log(limits.aspect_ratio), limits.spreads)
    score = np.maximum(_above(off, limit), _above(elongation, np.log(limits.elongation)))

    def reason(index: int) -> str:
        shape = "wide as high" if columns.width[index] > columns.height[index] else "high as wide"
        return f"odd aspect: {np.exp(elongation[index]):.1f} times as {shape}"

    return score, reason


def _below(values: AnyFloatArray, limit: float) -> Float64Array:
    """The share of the limit that is reached; 1 at the limit and above."""
    if limit <= 0:
        return np.ones(len(values))
    return np.clip(np.asarray(values, dtype=np.float64) / limit, 0, 1)


def _above(logarithms: Float64Array, limit: float) -> Float64Array:
    """Limit over value; 1 at the limit and below."""
    return np.exp(np.minimum(limit - logarithms, 0))


def _off_median(logarithms: Float64Array, least: float, spreads: float) -> tuple[Float64Array, float]:
    """How far each lies above the median, and how far is odd."""
    if not len(logarithms):
        return logarithms, least
    off = logarithms - np.median(logarithms)
    return off, max(least, spreads * 1.4826 * float(np.median(np.abs(off))))


QUALITY_KINDS: dict[str, Callable[[QualityColumns, QualityLimits], _Judged]] = {
    "dark": _dark,
    "bright": _bright,
    "near_uniform": _near_uniform,
    "low_information": _low_information,
    "blurry": _blurry,
    "odd_size": _odd_size,
    "odd_aspect": _odd_aspect,
}
"""What there is to find, in the order in which an image's findings are told."""
