"""Choosing a policy's thresholds: what each would decide, what it would get wrong, and the widest that keep a promise.

Errors are told from images that were judged in the order of their draws and from nothing else (`inference.risk_control`
says what that promises). Everything is computed along a grid of thresholds, so that a page can follow a moving handle
without asking again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.bands import PolicyDefinition
from inference.errors import ArrayRefused
from inference.estimation import RIGHT, UNKNOWN, WRONG
from inference.risk_control import (
    STEPS,
    DrawnImages,
    Promise,
    Seen,
    error_bounds,
    fewest_reviews,
    more_reviews,
    seen_at,
    widest,
)
from labeling.actions.policies import record_band_sample
from labeling.actions.runs import running
from labeling.actions.standing import fold
from labeling.errors import NothingToDo, WrongUsage
from labeling.models import (
    BandName,
    BandSample,
    BulkKind,
    Dataset,
    ImageBand,
    ItemState,
    Person,
    Policy,
    ReviewItem,
    Run,
    RunKind,
    TaxonomyClass,
    Verdict,
)
from labeling.pipeline.policies import definition_of
from labeling.queries.counts import KEEPER
from labeling.queries.policies import newest_band_sample, policy_in_force, walk_bands

GRID = 1000
"""Thresholds that figures are kept for: 0, 1/1000, …, 1."""

ASSUMED_SECONDS = 4.2
"""Median time for a simple image in published crowd logs, where too few verdicts were timed here."""

LEAST_TIMED = 20
MOST_DRAWN = 20_000
SIDES = (BandName.SAFE, BandName.ADULT)
_TIMED = 500
_LOOK_AT_ALL = 50_000
_READ = 100_000

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SideCurve:
    """One side along the grid: entry j is about the threshold j / `GRID` of the side's own score.

    Attributes:
        images: that the side decides at this threshold.
        waiting: of these, those that nobody has settled.
        reviewed, wrong: of a random sample of these, those that people judged, and those that would have been wrong.
        low, high: 95 % interval for the share of wrong ones, 0..1; 0 and 1 where nothing is known.
        drawn, judged: of the side's newest sample; None and 0 where none was drawn.
    """

    images: tuple[int, ...]
    waiting: tuple[int, ...]
    reviewed: tuple[int, ...]
    wrong: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    sample: BandSample | None
    left_to_judge: int


@dataclass(frozen=True)
class Tuning:
    """What thresholds can be chosen from.

    Attributes:
        policy: the version in force, whose scores these are.
        images, held: banded images, and those that a rule has people look at.
        waiting, held_waiting: of these, those that nobody has settled.
        seconds: median time of a verdict; from `timed` verdicts, or `ASSUMED_SECONDS` where they are too few.
        judged: settled images of the dataset that have a band.
        age: seconds since it was computed.
    """

    policy: Policy
    images: int
    held: int
    waiting: int
    held_waiting: int
    safe: SideCurve
    adult: SideCurve
    seconds: float
    timed: int
    judged: int
    age: float = 0.0

    @property
    def seconds_measured(self) -> bool:
        return self.timed >= LEAST_TIMED

    def as_json(self) -> dict[str, Any]:
        """What the page's own code computes with."""
        return {
            "grid": GRID,
            "images": self.images,
            "held": self.held,
            "waiting": self.waiting,
            "seconds": self.seconds,
            "safe": _plain(self.safe),
            "adult": _plain(self.adult),
        }


@dataclass(frozen=True)
class SideFigures:
    """One side at one threshold; `errors` and its bounds are images, None where nobody judged a random one."""

    images: int
    reviewed: int
    wrong: int
    errors: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Figures:
    """What two thresholds would do; `queue` unknown images wait for people, for `seconds` of their time."""

    safe: SideFigures
    adult: SideFigures
    unknown: int
    queue: int
    seconds: float


@dataclass(frozen=True)
class Need:
    """What is missing for a promise: `more` answers for images drawn from the side at `threshold`.

    `available` images there are unjudged. `more` is None where no number helps: too many of those judged are wrong at
    every threshold.
    """

    threshold: float
    more: int | None
    available: int
    reviewed: int
    wrong: int


@dataclass(frozen=True)
class SideProposal:
    """The widest threshold of a side's own score that keeps the promise; None with what is needed for one."""

    side: str
    most: float
    threshold: float | None
    images: int
    reviewed: int
    wrong: int
    at_most: float | None
    need: Need | None

    @property
    def draw(self) -> int:
        """How many images to draw for what is needed."""
        if self.need is None or self.need.more is None:
            return 0
        return min(self.need.more, self.need.available, MOST_DRAWN)

    @property
    def bound_percent(self) -> str:
        return "–" if self.at_most is None else f"{100 * self.at_most:.2g} %"


@dataclass(frozen=True)
class Proposal:
    """Both sides; each promise is kept with probability `confidence`."""

    safe: SideProposal
    adult: SideProposal
    confidence: float


# ---- curves ------------------------------------------------------------------------------------------------------


def tuning_of(dataset: Dataset) -> Tuning | None:
    """The curves of the policy in force, kept for a while where they take long; None without a policy in force."""
    policy = policy_in_force(dataset)
    if policy is None:
        return None
    samples = tuple(sample.pk if sample else 0 for sample in (newest_band_sample(dataset, side) for side in SIDES))
    counted = KEEPER.counted(("tuning", dataset.pk, policy.pk, samples), lambda: _tuning(dataset, policy))
    return counted.value if counted.age == 0 else _aged(counted.value, counted.age)


def figures_at(tuning: Tuning, safe_up_to: float, adult_from: float) -> Figures:
    """What these thresholds would do; between two thresholds of the grid, the more careful one's figures."""
    low = int(np.floor(safe_up_to * GRID + 1e-9))
    high = int(np.ceil(adult_from * GRID - 1e-9))
    unknown = tuning.images - tuning.safe.images[low] - tuning.adult.images[high]
    queue = tuning.waiting - tuning.safe.waiting[low] - tuning.adult.waiting[high]
    return Figures(
        safe=_figures(tuning.safe, low),
        adult=_figures(tuning.adult, high),
        unknown=unknown,
        queue=queue,
        seconds=queue * tuning.seconds,
    )


def _figures(side: SideCurve, place: int) -> SideFigures:
    images, reviewed, wrong = side.images[place], side.reviewed[place], side.wrong[place]
    if not reviewed:
        return SideFigures(images, 0, 0, None, None, None)
    return SideFigures(
        images, reviewed, wrong, images * wrong / reviewed, images * side.low[place], images * side.high[place]
    )


def _aged(tuning: Tuning, age: float) -> Tuning:
    return Tuning(**{name: getattr(tuning, name) for name in Tuning.__dataclass_fields__ if name != "age"}, age=age)


def _plain(side: SideCurve) -> dict[str, Any]:
    return {
        "images": side.images,
        "waiting": side.waiting,
        "reviewed": side.reviewed,
        "wrong": side.wrong,
        "low": [round(share, 6) for share in side.low],
        "high": [round(share, 6) for share in side.high],
    }


def _tuning(dataset: Dataset, policy: Policy) -> Tuning:
    settled: list[Any] = list(
        ReviewItem.objects.filter(dataset=dataset, state=ItemState.SETTLED, image__banding__isnull=False).values_list(
            "image__banding__unsafe", "image__banding__adult", "image__banding__held"
        )
    )
    done = np.array([row[:2] for row in settled if not row[2]], dtype=np.float64).reshape(-1, 2)
    by_unsafe, by_adult, held, images = _histograms(dataset)
    seconds, timed = _median_seconds(dataset)
    grid = np.arange(GRID + 1) / GRID
    safe_images, adult_images = np.cumsum(by_unsafe), np.cumsum(by_adult[::-1])[::-1]
    safe_done = np.searchsorted(np.sort(done[:, 0]), grid, side="right")
    adult_done = len(done) - np.searchsorted(np.sort(done[:, 1]), grid, side="left")
    definition = definition_of(policy)
    return Tuning(
        policy=policy,
        images=images,
        held=held,
        waiting=images - len(settled),
        held_waiting=held - (len(settled) - len(done)),
        safe=_curve(dataset, definition, BandName.SAFE, safe_images, safe_done),
        adult=_curve(dataset, definition, BandName.ADULT, adult_images, adult_done),
        seconds=seconds,
        timed=timed,
        judged=len(settled),
    )


def _curve(dataset: Dataset, definition: PolicyDefinition, side: str, images: Integers, done: Integers) -> SideCurve:
    drawn = drawn_images(dataset, definition, side)
    grid = np.arange(GRID + 1) / GRID
    seen = seen_at(drawn, _in_order(side, grid))
    low, high = error_bounds(seen)
    sample = newest_band_sample(dataset, side)
    left = 0
    if sample is not None:
        region = drawn.score <= _in_order(side, np.array([sample.threshold]))[0]
        left = int(np.count_nonzero(region & (drawn.wrong == UNKNOWN)))
    return SideCurve(
        images=tuple(images.tolist()),
        waiting=tuple((images - done).tolist()),
        reviewed=tuple(seen.reviewed.tolist()),
        wrong=tuple(seen.wrong.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        sample=sample,
        left_to_judge=left,
    )


def _in_order(side: str, thresholds: Floats) -> Floats:
    """Thresholds of a side's own score as `risk_control` compares them: the adult side takes what lies above."""
    return thresholds if side == BandName.SAFE else -thresholds


def _histograms(dataset: Dataset) -> tuple[Integers, Integers, int, int]:
    """Images at each place of the grid by the unsafe and by the adult score; those held, and all.

    The place of an unsafe score is the least j for which it is at most j / `GRID`, that of an adult score the greatest
    for which it is at least that: exactly what a threshold of the grid would decide.
    """
    grid = np.arange(GRID + 1) / GRID
    unsafe, adult = np.zeros(GRID + 1, dtype=np.int64), np.zeros(GRID + 1, dtype=np.int64)
    held = images = 0
    rows = walk_bands(dataset).values_list("unsafe", "adult", "held").iterator(chunk_size=_READ)
    while chunk := list(islice(rows, _READ)):
        columns = np.array(chunk, dtype=np.float64)
        free = columns[columns[:, 2] == 0]
        unsafe += np.bincount(np.searchsorted(grid, free[:, 0], side="left"), minlength=GRID + 1)
        adult += np.bincount(np.searchsorted(grid, free[:, 1], side="right") - 1, minlength=GRID + 1)
        held += len(chunk) - len(free)
        images += len(chunk)
    return unsafe, adult, held, images


def _median_seconds(dataset: Dataset) -> tuple[float, int]:
    newest = Verdict.objects.filter(image__dataset=dataset, seconds__isnull=False).order_by("-id")
    seconds = [second for second in newest.values_list("seconds", flat=True)[:_TIMED] if second is not None]
    return (median(seconds) if len(seconds) >= LEAST_TIMED else ASSUMED_SECONDS), len(seconds)


# ---- evidence ----------------------------------------------------------------------------------------------------


def drawn_images(dataset: Dataset, definition: PolicyDefinition, side: str) -> DrawnImages:
    """The images that a side's newest sample was drawn from up to its cut, with what people said of them.

    Without a sample every image of a dataset of up to 50,000 counts as drawn; of a larger one nothing is known.
    Excluded images are left out. One that people are unsure or disagree about counts as wrong on either side, and one
    in quarantine on the safe side: leaving out what was escalated would flatter it. Nothing but its number is told.
    """
    rows = ImageBand.everything.filter(dataset=dataset, held=False, image__excluded=False)
    sample = newest_band_sample(dataset, side)
    if sample is not None:
        rows = rows.filter(draw__lte=sample.cut, image_id__lte=sample.newest_image)
    elif ImageBand.objects.filter(dataset=dataset)[_LOOK_AT_ALL : _LOOK_AT_ALL + 1].exists():
        rows = rows.none()
    found: list[Any] = list(
        rows.order_by().values_list(
            "image_id",
            "unsafe" if side == BandName.SAFE else "adult",
            "draw",
            "image__item__state",
            "image__current_class_id",
            "image__quarantine",
        )
    )
    adult = _adult_classes(dataset, definition)
    unlooked = _decided_by_source(dataset)

    def judged(image: int, state: str | None, label: int, quarantine: int | None) -> int:
        if quarantine is not None:
            return WRONG if side == BandName.SAFE else RIGHT
        if state in {ItemState.UNSURE, ItemState.DISPUTED}:
            return WRONG
        if state != ItemState.SETTLED or image in unlooked:
            return UNKNOWN
        return WRONG if adult[label] == (side == BandName.SAFE) else RIGHT

    return DrawnImages(
        score=_in_order(side, np.array([row[1] for row in found], dtype=np.float64)),
        draw=np.array([row[2] for row in found], dtype=np.float64),
        wrong=np.array([judged(row[0], *row[3:]) for row in found], dtype=np.int64),
    )


def _adult_classes(dataset: Dataset, definition: PolicyDefinition) -> Mapping[int, bool]:
    """Which classes of the dataset are adult: those of the policy's adult side, and of the rest the harmful ones."""
    return {
        known.pk: known.name in definition.adult or (known.name not in definition.safe and known.harm_rank > 0)
        for known in TaxonomyClass.objects.filter(taxonomy=dataset.taxonomy_id)
    }


def _decided_by_source(dataset: Dataset) -> set[int]:
    """Images whose label a decision about their whole source settled: nobody looked at them."""
    by_source = dict(
        Verdict.objects.filter(image__dataset=dataset, bulk__kind=BulkKind.SOURCE).values_list(
            "image_id", "image__given_class_id"
        )
    )
    decided: set[int] = set()
    for image, given in by_source.items():
        verdicts = Verdict.objects.filter(image=image).select_related("bulk").order_by("id")
        deciding = fold(given, verdicts).deciding
        if deciding is not None and deciding.bulk is not None and deciding.bulk.kind == BulkKind.SOURCE:
            decided.add(image)
    return decided


# ---- promises ----------------------------------------------------------------------------------------------------


def propose(
    dataset: Dataset,
    *,
    most_adult: float,
    most_safe: float,
    confidence: float = 0.95,
    safe_up_to: float | None = None,
    adult_from: float | None = None,
) -> Proposal:
    """The widest automation that keeps both promises, each with probability `confidence`.

    Args:
        most_adult: the share of adult images allowed among those that are approved without people.
        most_safe: the share of images that are not adult allowed among those that are blocked without people.
        safe_up_to, adult_from: where images would be drawn if answers are missing; the policy's where None.

    Raises:
        NothingToDo: no policy is in force.
        WrongUsage: a share or a confidence that is not between 0 and 1.
    """
    tuning = tuning_of(dataset)
    if tuning is None:
        raise NothingToDo(f"No policy of {dataset.slug} is in force yet: save one first, then its thresholds can move.")
    definition = definition_of(tuning.policy)
    near = {
        BandName.SAFE: definition.safe_up_to if safe_up_to is None else safe_up_to,
        BandName.ADULT: definition.adult_from if adult_from is None else adult_from,
    }
    try:
        adult = _propose_side(dataset, tuning, BandName.ADULT, STEPS[::-1], near[BandName.ADULT], most_safe, confidence)
        # A side may stop earlier than it has to; the bands may not meet.
        until = near[BandName.ADULT] if adult.threshold is None else adult.threshold
        steps = STEPS[until > STEPS]
        safe = _propose_side(dataset, tuning, BandName.SAFE, steps, near[BandName.SAFE], most_adult, confidence)
    except ArrayRefused as refused:
        raise WrongUsage(str(refused)) from refused
    return Proposal(safe, adult, confidence)


def _propose_side(
    dataset: Dataset, tuning: Tuning, side: str, steps: Floats, near: float, most: float, confidence: float
) -> SideProposal:
    definition = definition_of(tuning.policy)
    drawn = drawn_images(dataset, definition, side)
    curve = tuning.safe if side == BandName.SAFE else tuning.adult
    in_force = definition.safe_up_to if side == BandName.SAFE else definition.adult_from
    # What was fixed before anybody answered; never the handle, which a person may move until it fits.
    aim = curve.sample.threshold if curve.sample else in_force
    promise: Promise = widest(
        drawn, _in_order(side, steps), most=most, confidence=confidence, aim=float(_in_order(side, np.array([aim]))[0])
    )
    if promise.threshold is None:
        need = _need(drawn, curve, side, aim if curve.sample else near, most, confidence)
        return SideProposal(side, most, None, 0, need.reviewed, need.wrong, None, need)
    threshold = abs(promise.threshold)
    return SideProposal(
        side,
        most,
        threshold,
        curve.images[round(threshold * GRID)],
        promise.reviewed,
        promise.wrong,
        promise.at_most,
        None,
    )


def _need(drawn: DrawnImages, curve: SideCurve, side: str, aim: float, most: float, confidence: float) -> Need:
    """How many more answers there should be, and where: at the threshold that was drawn for, or where too many are
    wrong there, at the widest more careful one where more answers can help.
    """
    steps = STEPS if side == BandName.SAFE else STEPS[::-1]
    careful = [step for step in steps.tolist() if (step < aim if side == BandName.SAFE else step > aim)]
    tried = [aim, *reversed(careful)]
    seen: Seen = seen_at(drawn, _in_order(side, np.array(tried)))
    for threshold, reviewed, wrong in zip(tried, seen.reviewed.tolist(), seen.wrong.tolist(), strict=True):
        # With errors there are so many answers in the end that `widest` spends half of the chance elsewhere.
        sure = confidence if wrong == 0 else (1 + confidence) / 2
        more = more_reviews(reviewed, wrong, most=most, confidence=sure)
        if more is not None:
            return Need(threshold, max(more, 1), _available(curve, side, threshold), reviewed, wrong)
    return Need(aim, None, _available(curve, side, aim), int(seen.reviewed[0]), int(seen.wrong[0]))


def _available(curve: SideCurve, side: str, threshold: float) -> int:
    place = np.floor(threshold * GRID + 1e-9) if side == BandName.SAFE else np.ceil(threshold * GRID - 1e-9)
    return curve.waiting[int(place)]


def draw_band_sample(
    dataset: Dataset, *, side: str, threshold: float, wanted: int, person: Person | None = None
) -> BandSample:
    """Draw images that a side decides at a threshold, for people to judge blind; `draw` order is kept between samples.

    Raises:
        NothingToDo: no policy is in force, or every image there is judged.
        WrongUsage: no side, threshold or number that can be drawn by.
    """
    policy = policy_in_force(dataset)
    if policy is None:
        raise NothingToDo(f"No policy of {dataset.slug} is in force yet, so it has no sides to draw from.")
    if side not in SIDES:
        raise WrongUsage(f"Expected a side of {', '.join(SIDES)}, received {side!r}.")
    if not 0 <= threshold <= 1:
        raise WrongUsage(f"Expected a threshold from 0 to 1, received {threshold:g}.")
    if not 0 < wanted <= MOST_DRAWN:
        raise WrongUsage(f"Expected a number of images from 1 to {MOST_DRAWN:,}, received {wanted:,}.")
    with running(
        dataset=dataset,
        kind=RunKind.BAND_SAMPLE,
        parameters={"side": side, "threshold": threshold, "wanted": wanted},
        person=person,
    ) as reporter:
        run: Run = reporter.run
        sample = record_band_sample(
            dataset=dataset, policy=policy, run=run, side=side, threshold=threshold, wanted=wanted, person=person
        )
        run.summary = {"side": side, "threshold": threshold, "drawn": sample.drawn}
    return sample


__all__ = [
    "ASSUMED_SECONDS",
    "GRID",
    "LEAST_TIMED",
    "Figures",
    "Need",
    "Proposal",
    "SideCurve",
    "SideProposal",
    "Tuning",
    "draw_band_sample",
    "drawn_images",
    "fewest_reviews",
    "figures_at",
    "propose",
    "tuning_of",
]
