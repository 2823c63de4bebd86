"""Figures about a picture's quality, from its grey pixels. They rank and filter; none of them judges alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.errors import ArrayRefused
from inference.types import UInt8Array


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
