"""Geometry of the overview's pictures: numbers to coordinates, so that templates only draw.

All charts are `WIDTH` × `HEIGHT` units with room for axis labels; y grows downwards, as in SVG.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labeling.models import Dataset
from labeling.pipeline.thresholds import GRID, Tuning
from labeling.queries.loops import LoopRound
from labeling.queries.pictures import CurvePoint, QualityBin, cleaning_curve, quality_histogram
from labeling.queries.queue_part import newest_sample
from labeling.queries.sources import SourceRow, source_list

WIDTH, HEIGHT = 480, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 28
BAND_WIDTH, BAND_SIDE, BAND_BARS = 960, 48, 100


@dataclass(frozen=True)
class Tick:
    """A label at a place of an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram; `done_y` and `done_height` are its reviewed part, from the ground up."""

    x: float
    y: float
    width: float
    height: float
    done_y: float
    done_height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    ground: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Line:
    """A curve as the `points` of a polyline, and the area below it."""

    points: str
    area: str
    ticks: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    end_x: float
    end_y: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    ground: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class IntervalRow:
    """A rate as a dot with its interval as a whisker."""

    y: int
    name: str
    low_x: float
    x: float
    high_x: float
    noisier: bool
    title: str


@dataclass(frozen=True)
class Intervals:
    rows: tuple[IntervalRow, ...]
    ticks: tuple[Tick, ...]
    height: int
    ground: int
    width: int = WIDTH
    left: int = 168
    right: int = WIDTH - RIGHT


@dataclass(frozen=True)
class BandHistogram:
    """Images by score, with the two thresholds as handles.

    `bars` are by the unsafe score; `outline` the points of a line by the adult score, empty where the two are the same.
    """

    bars: tuple[Bar, ...]
    outline: str
    low_x: float
    high_x: float
    ticks: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    width: int = BAND_WIDTH
    height: int = HEIGHT
    left: int = BAND_SIDE
    right: int = BAND_WIDTH - BAND_SIDE
    top: int = TOP
    ground: int = HEIGHT - BOTTOM

    @property
    def room(self) -> int:
        return self.ground - self.top


@dataclass(frozen=True)
class Reliability:
    """How often a model is right, by how sure it was: bars, and the diagonal on which they would all end."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    ground: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class RoundMark:
    """A round of the loop: its accuracy as a dot with its interval, and as a small line that of the model before it."""

    x: float
    y: float
    low_y: float
    high_y: float
    before_y: float | None
    promoted: bool
    title: str


@dataclass(frozen=True)
class Rounds:
    """Rounds on x, accuracy on the test split on y, from `floor` to 1."""

    marks: tuple[RoundMark, ...]
    line: str
    ticks: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    ground: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Pictures:
    """What the overview draws; None where there is nothing to draw yet."""

    bins: tuple[QualityBin, ...]
    quality: Histogram | None
    curve: Line | None
    last: CurvePoint | None
    noise: Intervals | None


def pictures(dataset: Dataset) -> Pictures:
    bins, points = quality_histogram(dataset), cleaning_curve(dataset)
    sample = newest_sample(dataset)
    # Without an estimate there is no noise to draw, and counting every source's images takes long.
    noise = intervals(source_list(dataset).sources) if sample and sample.estimate else None
    return Pictures(bins, histogram(bins), curve(points), points[-1] if points else None, noise)


def histogram(bins: Sequence[QualityBin]) -> Histogram | None:
    """Label quality on x, images on y by the square root, so that the few suspected ones can be seen; None if empty."""
    most = max((one.items for one in bins), default=0)
    if not most:
        return None
    step = (WIDTH - LEFT - RIGHT) / len(bins)
    ground, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def tall(items: int) -> float:
        return round(room * math.sqrt(items / most), 1)

    bars = tuple(
        Bar(
            x=round(LEFT + place * step + 1, 1),
            y=ground - tall(one.items),
            width=round(step - 2, 1),
            height=tall(one.items),
            # The share of the bar, not of the root: half reviewed looks half filled.
            done_y=round(ground - tall(one.items) * one.settled / max(one.items, 1), 1),
            done_height=round(tall(one.items) * one.settled / max(one.items, 1), 1),
            title=f"{one.low:.2f} to {one.high:.2f}: {one.items:,} images, {one.settled:,} reviewed",
        )
        for place, one in enumerate(bins)
    )
    across = tuple(
        Tick(round(LEFT + share * (WIDTH - LEFT - RIGHT), 1), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return Histogram(bars, across, tuple(Tick(ground - tall(level), f"{level:,}") for level in _levels(most)))


def curve(points: Sequence[CurvePoint]) -> Line | None:
    """Reviews on x, errors found on y; None before the first review."""
    if len(points) < 2:
        return None
    last = points[-1]
    top = max(last.errors, 1)
    ground, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def x(reviews: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * reviews / last.reviews, 1)

    def y(errors: int) -> float:
        return round(ground - room * errors / top, 1)

    path = " ".join(f"{x(one.reviews)},{y(one.errors)}" for one in points)
    return Line(
        points=path,
        area=f"{LEFT},{ground} {path} {x(last.reviews)},{ground}",
        ticks=tuple(Tick(x(level), f"{level:,}") for level in _levels(last.reviews)),
        levels=tuple(Tick(y(level), f"{level:,}") for level in _levels(top)),
        end_x=x(last.reviews),
        end_y=y(last.errors),
    )


def intervals(sources: Sequence[SourceRow], *, shown: int = 12) -> Intervals | None:
    """The noisiest sources of which the audit knows; None where it knows of none."""
    known = [(row, row.noise) for row in sources if row.noise]
    known.sort(key=lambda pair: -pair[1]["rate"]["point"])
    known = known[:shown]
    if not known:
        return None
    most = max(noise["rate"]["high"] for _, noise in known) or 1.0
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0) if most / step <= 4 or step == 1.0)
    left, right, ground = 168, WIDTH - RIGHT, TOP + 24 * len(known)

    def x(rate: float) -> float:
        return round(left + (right - left) * rate / most, 1)

    rows = tuple(
        IntervalRow(
            y=TOP + 24 * place + 12,
            name=row.source.name if len(row.source.name) <= 24 else f"{row.source.name[:23]}…",
            low_x=x(noise["rate"]["low"]),
            x=x(noise["rate"]["point"]),
            high_x=x(noise["rate"]["high"]),
            noisier=noise["noisier"],
            title=f"{row.source.name}: {noise['rate']['point']:.1%} wrong labels, "
            f"{noise['rate']['low']:.1%} to {noise['rate']['high']:.1%}",
        )
        for place, (row, noise) in enumerate(known)
    )
    ticks = tuple(Tick(x(step * number), f"{100 * step * number:g} %") for number in range(int(most / step) + 1))
    return Intervals(rows, ticks, height=ground + BOTTOM, ground=ground)


def band_histogram(tuning: Tuning, low: float, high: float) -> BandHistogram:
    """Scores on x, images on y by the square root: most images lie at the two ends."""
    step = GRID // BAND_BARS
    # Entry j counts up to j, and from j: the differences are the images between two thresholds.
    safe, adult = tuning.safe.images, tuning.adult.images
    unsafe_counts = [safe[at + step] - (safe[at] if at else 0) for at in range(0, GRID, step)]
    adult_counts = [adult[at] - (adult[at + step] if at + step < GRID else 0) for at in range(0, GRID, step)]
    most = max(*unsafe_counts, *adult_counts, 1)
    width, ground, room = (BAND_WIDTH - 2 * BAND_SIDE) / BAND_BARS, HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def tall(images: int) -> float:
        return round(room * math.sqrt(images / most), 1)

    def x(score: float) -> float:
        return round(BAND_SIDE + score * (BAND_WIDTH - 2 * BAND_SIDE), 1)

    bars = tuple(
        Bar(
            x=round(BAND_SIDE + place * width + 0.5, 2),
            y=round(ground - tall(images), 1),
            width=round(width - 1, 2),
            height=tall(images),
            done_y=ground,
            done_height=0,
            title=f"{place / BAND_BARS:.2f} to {(place + 1) / BAND_BARS:.2f}: {images:,} images",
        )
        for place, images in enumerate(unsafe_counts)
    )
    outline = " ".join(
        f"{x(edge / BAND_BARS)},{round(ground - tall(images), 1)}"
        for place, images in enumerate(adult_counts)
        for edge in (place, place + 1)
    )
    return BandHistogram(
        bars,
        # Where the sides cover all classes, the two scores differ by rounding alone.
        outline if _far_apart(unsafe_counts, adult_counts) else "",
        x(low),
        x(high),
        tuple(Tick(x(share), f"{share:g}") for share in (0, 0.2, 0.4, 0.6, 0.8, 1)),
        tuple(Tick(round(ground - tall(level), 1), f"{level:,}") for level in _levels(most)),
    )


def reliability(bins: Sequence[Mapping[str, Any]]) -> Reliability:
    """Confidence on x, accuracy on y; `bins` as an evaluation keeps them. The filled part is the mean confidence."""
    across, ground, room = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    step = across / max(len(bins), 1)
    bars = tuple(
        Bar(
            x=round(LEFT + place * step + 1, 1),
            y=round(ground - room * one["accuracy"], 1),
            width=round(step - 2, 1),
            height=round(room * one["accuracy"], 1),
            done_y=round(ground - room * one["confidence"] - 1, 1),
            done_height=2,
            title=f"{one['low']:.2f} to {one['high']:.2f}: {one['images']:,} images, sure {one['confidence']:.1%}, "
            f"right {one['accuracy']:.1%}",
        )
        for place, one in enumerate(bins)
        if one["images"]
    )
    shares = (0, 0.25, 0.5, 0.75, 1)
    return Reliability(
        bars,
        tuple(Tick(round(LEFT + share * across, 1), f"{share:g}") for share in shares),
        tuple(Tick(round(ground - share * room, 1), f"{share:.0%}") for share in shares),
    )


def rounds(found: Sequence[LoopRound]) -> Rounds | None:
    """The accuracies of the loop's rounds; None before the first. The axis begins below the lowest of them."""
    if not found:
        return None
    ends = [one.accuracy["low"] for one in found] + [one.before["point"] for one in found if one.before]
    floor = math.floor(10 * min(ends)) / 10
    span = max(1 - floor, 0.1)
    ground, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT - RIGHT) / len(found)

    def y(share: float) -> float:
        return round(ground - room * (share - floor) / span, 1)

    marks = tuple(
        RoundMark(
            x=round(LEFT + (place + 0.5) * step, 1),
            y=y(one.accuracy["point"]),
            low_y=y(one.accuracy["low"]),
            high_y=y(one.accuracy["high"]),
            before_y=y(one.before["point"]) if one.before else None,
            promoted=one.promoted,
            title=f"round {one.number}, release {one.release}: {one.accuracy['point']:.1%} by {one.level} "
            f"({one.accuracy['low']:.1%} to {one.accuracy['high']:.1%}), {'' if one.promoted else 'not '}promoted",
        )
        for place, one in enumerate(found)
    )
    every = max(1, len(found) // 12)
    shares = [floor + span * part / 4 for part in range(5)]
    return Rounds(
        marks,
        " ".join(f"{mark.x},{mark.y}" for mark in marks),
        tuple(Tick(mark.x, found[place].release) for place, mark in enumerate(marks) if place % every == 0),
        tuple(Tick(y(share), f"{share:.1%}" if span < 0.2 else f"{share:.0%}") for share in shares),
    )


def _far_apart(one: Sequence[int], other: Sequence[int]) -> bool:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) > sum(one) / 50


def _levels(most: int) -> list[int]:
    """Zero and up to four round numbers up to `most`."""
    step = 1
    while most / step > 4:
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return list(range(0, most + 1, step))
