"""How much people agree, how right they are on golden images, how quick, and how far the suggestion steers them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isnan
from statistics import median
from typing import Any

import numpy as np

from inference.agreement import (
    Interval,
    bootstrapped,
    cohen_kappa,
    dawid_skene,
    difference,
    fleiss_kappa,
    krippendorff_alpha,
    wilson,
)
from labeling.actions.skills import record_skills
from labeling.actions.standing import EXCLUDE
from labeling.models import Dataset, Person, TaxonomyClass
from labeling.queries.answers import GivenAnswer, GoldenRow, given_answers, golden_rows

LAST = 10_000
"""How many of the newest verdicts a page measures, so that it stays quick however long a dataset is worked on."""

_EXCLUDE_WORD = "exclude"


@dataclass(frozen=True)
class Figure:
    """An estimate with its 95 % interval, and how many observations it rests on; None where nothing can be told."""

    point: float | None
    low: float | None
    high: float | None
    observations: int


@dataclass(frozen=True)
class Reliability:
    """One person, or one class.

    `agreement` is the share of comparisons with others on the same image that came out equal, `golden` the share of
    golden images that were answered right. `seconds` is the median from seeing an image to deciding.
    """

    name: str
    answers: int
    unsure: int
    seconds: float | None
    agreement: Figure
    golden: Figure
    golden_by_class: Mapping[str, Figure]


@dataclass(frozen=True)
class PairAgreement:
    """Cohen's kappa of two people on the images that both judged."""

    first: str
    second: str
    images: int
    kappa: float | None


@dataclass(frozen=True)
class Steering:
    """How often people said what was suggested when they saw the suggestion, and when it was hidden from them."""

    shown: Figure
    hidden: Figure
    difference: Figure


@dataclass(frozen=True)
class Agreement:
    """What `measure_agreement` found; `compared` images were judged by two people or more."""

    dataset: str
    answers: int
    compared: int
    alpha: Figure
    fleiss_kappa: Figure
    pairs: tuple[PairAgreement, ...]
    people: tuple[Reliability, ...]
    classes: tuple[Reliability, ...]
    steering: Steering

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_agreement(dataset: Dataset, *, last: int | None = LAST) -> Agreement:
    """Measure the newest `last` verdicts (None: all) and every golden answer of a dataset. A read."""
    given = given_answers(dataset, last=last)
    golden = golden_rows(dataset)
    names = dict(TaxonomyClass.objects.filter(taxonomy=dataset.taxonomy).order_by("index").values_list("pk", "name"))
    places = {key: place for place, key in enumerate([*sorted(names), EXCLUDE])}
    names[EXCLUDE] = _EXCLUDE_WORD
    by_image = _by_image(given)
    counts = _counts(by_image, places)
    of_people, of_classes = _comparisons(by_image)
    keys = {row.person_id for row in given} | {row.person_id for row in golden}
    people = dict(Person.objects.filter(pk__in=keys).values_list("pk", "username"))
    in_order = sorted(people, key=lambda pk: people[pk])
    of_class = [*(pk for pk in names if pk != EXCLUDE), EXCLUDE]
    return Agreement(
        dataset=dataset.slug,
        answers=len(given),
        compared=len(counts),
        alpha=_figure(bootstrapped(krippendorff_alpha, counts), len(counts)),
        fleiss_kappa=_figure(bootstrapped(fleiss_kappa, counts), len(counts)),
        pairs=_pairs(by_image, people),
        people=tuple(
            _reliability(
                people[pk],
                [row for row in given if row.person_id == pk],
                of_people.get(pk, (0, 0)),
                [row for row in golden if row.person_id == pk],
                names,
            )
            for pk in in_order
        ),
        classes=tuple(
            found
            for pk in of_class
            if (
                found := _reliability(
                    names[pk],
                    [row for row in given if row.right == pk],
                    of_classes.get(pk, (0, 0)),
                    [row for row in golden if row.expected == pk],
                    names,
                )
            ).answers
            or found.golden.observations
        ),
        steering=_steering(given),
    )


def refresh_skills(dataset: Dataset, *, last: int = 50_000) -> int:
    """Estimate each person's error rates from what several people said of the same images, and store them.

    Golden images count as images whose right answer is known.

    Returns:
        of how many people.
    """
    given = [row for row in given_answers(dataset, last=last) if row.said is not None]
    golden = [row for row in golden_rows(dataset) if row.said is not None]
    rows = [(row.person_id, row.image_id, row.said or EXCLUDE) for row in given]
    rows += [(row.person_id, -row.image_id, row.said or EXCLUDE) for row in golden]
    if not rows:
        return 0
    classes = [*TaxonomyClass.objects.filter(taxonomy=dataset.taxonomy).order_by("pk").values_list("pk", flat=True)]
    places = {key: place for place, key in enumerate([*classes, EXCLUDE])}
    people, of_person = np.unique([row[0] for row in rows], return_inverse=True)
    images, of_image = np.unique([row[1] for row in rows], return_inverse=True)
    expected = {-row.image_id: places[row.expected] for row in golden}
    found = dawid_skene(
        of_person,
        of_image,
        np.array([places[row[2]] for row in rows]),
        classes=len(places),
        known=np.array([expected.get(image, -1) for image in images.tolist()]),
    )
    record_skills(
        dataset=dataset,
        confusion={
            person: {
                str(right): {str(said): round(float(found.confusion[at, i, j]), 6) for said, j in places.items()}
                for right, i in places.items()
            }
            for at, person in enumerate(people.tolist())
        },
        newest_verdict=max((row.verdict_id for row in given), default=0),
    )
    return len(people)


def _by_image(given: Iterable[GivenAnswer]) -> list[list[GivenAnswer]]:
    """The last answer of each person, of the images that two people or more answered."""
    latest: dict[int, dict[int, GivenAnswer]] = defaultdict(dict)
    for row in given:
        latest[row.image_id][row.person_id] = row
    answered = ([row for row in of_image.values() if row.said is not None] for of_image in latest.values())
    return [rows for rows in answered if len(rows) > 1]


def _counts(by_image: Sequence[Sequence[GivenAnswer]], places: Mapping[int, int]) -> Any:
    counts = np.zeros((len(by_image), len(places)), dtype=np.int64)
    for at, rows in enumerate(by_image):
        for row in rows:
            counts[at, places[row.said or EXCLUDE]] += 1
    return counts


def _comparisons(
    by_image: Sequence[Sequence[GivenAnswer]],
) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
    """By person, and by class that is right: how many pairs of answers to one image are equal, and of how many."""
    people: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    classes: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for rows in by_image:
        for first, second in combinations(rows, 2):
            equal = int(first.said == second.said)
            for tally in (people[first.person_id], people[second.person_id], classes[first.right]):
                tally[0] += equal
                tally[1] += 1
    return _tupled(people), _tupled(classes)


def _tupled(tallies: Mapping[int, list[int]]) -> dict[int, tuple[int, int]]:
    return {key: (equal, compared) for key, (equal, compared) in tallies.items()}


def _pairs(by_image: Sequence[Sequence[GivenAnswer]], names: Mapping[int, str]) -> tuple[PairAgreement, ...]:
    said: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for rows in by_image:
        for first, second in combinations(sorted(rows, key=lambda row: row.person_id), 2):
            said[first.person_id, second.person_id].append((first.said or EXCLUDE, second.said or EXCLUDE))
    pairs = []
    for (one, other), answers in said.items():
        kappa = cohen_kappa([pair[0] for pair in answers], [pair[1] for pair in answers])
        pairs.append(PairAgreement(names[one], names[other], len(answers), None if isnan(kappa) else kappa))
    return tuple(sorted(pairs, key=lambda pair: (-pair.images, pair.first, pair.second)))


def _reliability(
    name: str,
    given: Sequence[GivenAnswer],
    compared: tuple[int, int],
    golden: Sequence[GoldenRow],
    names: Mapping[int, str],
) -> Reliability:
    seconds = [row.seconds for row in given if row.seconds is not None]
    asked = Counter(row.expected for row in golden)
    right = Counter(row.expected for row in golden if row.right)
    return Reliability(
        name=name,
        answers=len(given),
        unsure=sum(row.said is None for row in given),
        seconds=median(seconds) if seconds else None,
        agreement=_share(*compared),
        golden=_share(sum(right.values()), len(golden)),
        golden_by_class={names[key]: _share(right[key], asked[key]) for key in names if asked[key]},
    )


def _steering(given: Sequence[GivenAnswer]) -> Steering:
    """Only what was shown since the first blind one is compared: before, other images and other people were there."""
    hidden = [row for row in given if row.hidden is not None and row.said is not None]
    since = min((row.at for row in hidden), default=None)
    shown = [row for row in given if row.shown is not None and row.said is not None and since and row.at >= since]
    seen = (sum(row.said == row.shown for row in shown), len(shown))
    unseen = (sum(row.said == row.hidden for row in hidden), len(hidden))
    apart = Figure(None, None, None, 0)
    if shown and hidden:
        apart = _figure(difference(seen, unseen), len(shown) + len(hidden))
    return Steering(_share(*seen), _share(*unseen), apart)


def _share(successes: int, trials: int) -> Figure:
    return _figure(wilson(successes, trials), trials)


def _figure(found: Interval, observations: int) -> Figure:
    point, low, high = (None if isnan(one) else one for one in (found.point, found.low, found.high))
    return Figure(point, low, high, observations)
