"""Agreement figures against published worked examples, and error rates against people whose errors are known."""

import math

import numpy as np
import pytest

from inference.agreement import (
    bootstrapped,
    cohen_kappa,
    dawid_skene,
    difference,
    fleiss_kappa,
    krippendorff_alpha,
    wilson,
)

# Fleiss, Levin & Paik's psychiatrists in the form that textbooks print: 10 subjects, 14 raters, 5 categories.
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": 4 observers, 12 units, some answers missing.
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def counted(rows: list[list[int | None]], classes: int) -> np.ndarray:
    counts = np.zeros((len(rows[0]), classes), dtype=np.int64)
    for row in rows:
        for unit, answer in enumerate(row):
            if answer is not None:
                counts[unit, answer - 1] += 1
    return counts


def test_fleiss_kappa_is_that_of_the_worked_example() -> None:
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=0.0005)


def test_krippendorffs_alpha_is_that_of_the_worked_example() -> None:
    assert krippendorff_alpha(counted(KRIPPENDORFF, 5)) == pytest.approx(0.743, abs=0.0005)


def test_fleiss_kappa_uses_the_images_with_the_usual_number_of_answers() -> None:
    mixed = np.vstack([FLEISS, [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0]]])
    assert fleiss_kappa(mixed) == fleiss_kappa(FLEISS)


def test_cohens_kappa_is_that_of_the_worked_example() -> None:
    # 20 both yes, 5 and 10 apart, 15 both no: observed .7, by chance .5.
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


@pytest.mark.parametrize("figure", [fleiss_kappa, krippendorff_alpha])
def test_nothing_can_be_told_without_two_answers_or_with_one_answer_only(figure: type) -> None:
    assert math.isnan(figure(np.array([[1, 0], [0, 1]])))
    assert math.isnan(figure(np.array([[2, 0], [2, 0]])))
    assert math.isnan(figure(np.zeros((0, 3), dtype=np.int64)))


def test_perfect_agreement_is_one_and_chance_is_about_nought() -> None:
    chance = np.random.default_rng(1)
    answers = chance.integers(4, size=(4000, 2))
    counts = np.zeros((4000, 4), dtype=np.int64)
    np.add.at(counts, (np.arange(4000)[:, None], answers), 1)
    assert abs(krippendorff_alpha(counts)) < 0.05
    assert krippendorff_alpha(np.array([[2, 0], [0, 3]])) == 1
    found = bootstrapped(krippendorff_alpha, counts[:400])
    assert found.low < found.point < found.high
    assert found == bootstrapped(krippendorff_alpha, counts[:400])


def test_wilsons_interval_is_that_of_newcombes_paper() -> None:
    # Newcombe 1998, table I: 81/263 and 15/148 by method 3.
    found = wilson(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 20).low == 0
    assert round(wilson(0, 20).high, 4) == 0.1611
    with pytest.raises(ValueError, match="received 3"):
        wilson(3, 2)


def test_the_difference_of_shares_is_that_of_newcombes_paper() -> None:
    # Newcombe 1998 (part II), table II: 56/70 less 48/80 by method 10.
    found = difference((56, 70), (48, 80))
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


def test_dawid_skene_finds_who_is_wrong_and_what_is_right() -> None:
    chance = np.random.default_rng(7)
    truth = chance.integers(3, size=600)
    rates = [0.95, 0.9, 0.5]
    people, images, answers = [], [], []
    for person, rate in enumerate(rates):
        for image, right in enumerate(truth):
            people.append(person)
            images.append(image)
            answers.append(right if chance.random() < rate else (right + chance.integers(1, 3)) % 3)
    found = dawid_skene(np.array(people), np.array(images), np.array(answers), classes=3)
    estimated = found.confusion[:, range(3), range(3)].mean(axis=1)
    assert np.abs(estimated - rates).max() < 0.06
    votes = np.zeros((600, 3))
    np.add.at(votes, (images, answers), 1)
    right = (found.posterior.argmax(axis=1) == truth).mean()
    assert right >= (votes.argmax(axis=1) == truth).mean()
    assert right > 0.93


def test_dawid_skene_believes_what_is_known() -> None:
    # Two against one, but the one is right on the images that are known.
    people = np.repeat([0, 1, 2], 40)
    images = np.tile(np.arange(40), 3)
    answers = np.concatenate([np.arange(40) % 2, 1 - np.arange(40) % 2, 1 - np.arange(40) % 2])
    known = np.where(np.arange(40) < 20, np.arange(40) % 2, -1)
    found = dawid_skene(people, images, answers, classes=2, known=known)
    assert (found.posterior[20:].argmax(axis=1) == np.arange(20, 40) % 2).all()


def test_dawid_skene_refuses_what_does_not_fit() -> None:
    one = np.array([0])
    with pytest.raises(ValueError, match="as many people"):
        dawid_skene(one, one, np.array([0, 1]), classes=2)
    with pytest.raises(ValueError, match="answers 0 to 1"):
        dawid_skene(one, one, np.array([2]), classes=2)
