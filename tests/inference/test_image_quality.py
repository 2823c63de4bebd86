"""Findings about image quality, from the figures of the import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from inference.errors import ArrayRefused
from inference.image_quality import QualityColumns, QualityLimits, quality_figures, quality_findings
from inference.inspection import inspect_image

USUAL = {"brightness": 0.45, "contrast": 0.4, "sharpness": 0.01, "entropy": 7.2, "width": 640, "height": 480}


def columns(*unusual: Mapping[str, float], usual: int = 20) -> QualityColumns:
    """Images that differ from the usual one, followed by usual ones."""
    images = [USUAL | dict(one) for one in unusual] + [USUAL] * usual
    return QualityColumns(**{name: np.array([image[name] for image in images]) for name in USUAL})


def found(*unusual: Mapping[str, float], usual: int = 20) -> list[tuple[int, str]]:
    return [(one.index, one.kind) for one in quality_findings(columns(*unusual, usual=usual))]


def inspected(pictures: list[Image.Image], folder: Path) -> QualityColumns:
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03}.png")
    facts = [inspect_image(path) for path in sorted(folder.iterdir())]
    return QualityColumns(**{name: np.array([getattr(one, name) for one in facts]) for name in USUAL})


def test_usual_images_have_no_findings() -> None:
    assert found() == []
    assert found(usual=1) == []
    assert found(usual=0) == []


@pytest.mark.parametrize(
    ("unusual", "kind", "reason"),
    [
        ({"brightness": 0.03, "contrast": 0.05}, "dark", "dark: mean brightness 3%"),
        ({"brightness": 0.97, "contrast": 0.05}, "bright", "bright: mean brightness 97%"),
        ({"contrast": 0.012}, "near_uniform", "near uniform: contrast 1.2%"),
        ({"entropy": 0.63}, "low_information", "low information: 0.6 of 8 bits a pixel"),
        ({"sharpness": 6e-5}, "blurry", "blurry: 12% of the least detail of a sharp picture"),
        ({"width": 64, "height": 48}, "odd_size", "odd size: 64×48 pixels, 10.0 times smaller than usual here"),
        ({"width": 6400, "height": 4800}, "odd_size", "odd size: 6400×4800 pixels, 10.0 times larger than usual here"),
        ({"width": 1200, "height": 300}, "odd_aspect", "odd aspect: 4.0 times as wide as high"),
        ({"width": 300, "height": 1200}, "odd_aspect", "odd aspect: 4.0 times as high as wide"),
    ],
)
def test_each_finding_says_what_is_unusual(unusual: Mapping[str, float], kind: str, reason: str) -> None:
    findings = quality_findings(columns({}, unusual))
    assert [(one.index, one.kind, one.reason) for one in findings] == [(1, kind, reason)]
    assert 0 <= findings[0].score < 1


def test_the_farther_beyond_the_limit_the_lower_the_score() -> None:
    findings = quality_findings(columns({"entropy": 0.9}, {"entropy": 0.2}, {"width": 3200}, {"width": 10_000}))
    scores = {one.index: one.score for one in findings if one.kind in {"low_information", "odd_aspect"}}
    assert scores[0] == pytest.approx(0.9)
    assert scores[1] == pytest.approx(0.2)
    assert scores[2] > scores[3]


def test_findings_come_by_image_and_then_by_kind() -> None:
    dark_line = {"brightness": 0.01, "contrast": 0.05, "width": 6400, "height": 48}
    assert found({}, dark_line, {"entropy": 0.1}) == [(1, "dark"), (1, "odd_aspect"), (2, "low_information")]


def test_a_uniform_image_is_not_called_blurry_and_empty_besides() -> None:
    black = {"brightness": 0.0, "contrast": 0.0, "sharpness": 0.0, "entropy": 0.0}
    assert found(black) == [(0, "dark"), (0, "near_uniform")]


def test_a_night_sky_with_stars_is_not_dark_and_paper_with_ink_is_not_bright() -> None:
    assert found({"brightness": 0.05, "contrast": 0.2}, {"brightness": 0.95, "contrast": 0.3}) == []


def test_soft_light_is_not_taken_for_blur() -> None:
    assert found({"sharpness": 6e-5, "contrast": 0.08}) == []


def test_no_size_is_odd_where_all_are_alike_or_all_differ() -> None:
    alike = columns(*[{"width": 3000, "height": 40}] * 30, usual=0)
    assert quality_findings(alike) == []
    sides = np.geomspace(60, 6000, 40).round()
    assert found(*[{"width": side, "height": side} for side in sides], usual=0) == []


def test_a_square_among_wide_pictures_is_not_odd_nor_are_both_orientations() -> None:
    wide = [{"width": 1920, "height": 800}] * 30
    assert found(*wide, {"width": 800, "height": 800}, {"width": 800, "height": 1920}, usual=0) == []


def test_limits_are_adjustable() -> None:
    figures = columns({"brightness": 0.2, "contrast": 0.1})
    assert quality_findings(figures) == []
    assert [one.kind for one in quality_findings(figures, QualityLimits(dark=0.4))] == ["dark"]
    never = QualityLimits(dark=0, bright=1, uniform=0, bits=0, sharpness=0, side_ratio=1e9, aspect_ratio=1e9)
    assert quality_findings(columns({"brightness": 0, "contrast": 0, "entropy": 0, "width": 9e5}), never) == []


def test_real_pictures_are_found_for_what_was_done_to_them(photographs: tuple[Path, Path], tmp_path: Path) -> None:
    with Image.open(photographs[0]) as opened:
        photograph = opened.convert("RGB")
    pictures = [
        photograph,
        photograph.point(lambda value: value // 20),
        photograph.point(lambda value: 245 + value // 26),
        photograph.filter(ImageFilter.GaussianBlur(6)),
        Image.new("RGB", photograph.size, "teal"),
        photograph.resize((64, 43)),
        photograph.crop((0, 200, 640, 280)),
        *[photograph.crop((left, 0, left + 600, 400)) for left in range(10)],
    ]
    findings = quality_findings(inspected(pictures, tmp_path))
    assert {(one.index, one.kind) for one in findings} >= {
        (1, "dark"),
        (2, "bright"),
        (3, "blurry"),
        (4, "near_uniform"),
        (5, "odd_size"),
        (6, "odd_aspect"),
    }
    assert not {0, *range(7, 17)} & {one.index for one in findings}


def test_a_hundred_thousand_images_are_judged_at_once() -> None:
    count = 100_000
    many = QualityColumns(**{name: np.full(count, value) for name, value in USUAL.items()})
    many.entropy[::1000] = 0.5
    assert [one.index for one in quality_findings(many)] == list(range(0, count, 1000))


def test_columns_and_limits_that_do_not_fit_are_refused() -> None:
    good = asdict(quality_figures(np.zeros((3, 3), np.uint8)))
    sides = {"width": np.array([3]), "height": np.array([3])}
    one = {name: np.array([value]) for name, value in good.items()} | sides
    with pytest.raises(ArrayRefused, match="numbers for entropy"):
        QualityColumns(**one | {"entropy": np.array([1.0, 2.0])})
    with pytest.raises(ArrayRefused, match="sharpness"):
        QualityColumns(**one | {"sharpness": np.array([np.nan])})
    with pytest.raises(ArrayRefused, match="width"):
        QualityColumns(**one | {"width": np.array([0])})
    with pytest.raises(ArrayRefused, match="side_ratio"):
        QualityLimits(side_ratio=0.5)
