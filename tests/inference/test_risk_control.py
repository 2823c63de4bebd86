"""Risk control: exact bounds, the widest threshold that keeps a promise, and how many reviews it still wants."""

import numpy as np
import pytest
from scipy import stats

from inference.errors import ArrayRefused
from inference.estimation import RIGHT, UNKNOWN, WRONG
from inference.risk_control import (
    STEPS,
    DrawnImages,
    Seen,
    at_most,
    draws_of,
    error_bounds,
    fewest_reviews,
    more_reviews,
    seen_at,
    widest,
)
from inference.types import Float64Array


def drawn(count: int, *, seed: int = 1, wrong_above: float = 2.0) -> DrawnImages:
    """`count` judged images with even scores; those above a score are wrong."""
    random = np.random.default_rng(seed)
    score = random.random(count)
    return DrawnImages(score, random.random(count), np.where(score > wrong_above, WRONG, RIGHT).astype(np.int64))


@pytest.mark.parametrize(("reviewed", "wrong"), [(50, 0), (50, 3), (598, 1), (20, 20), (0, 0)])
def test_bounds_are_those_of_clopper_and_pearson(reviewed: int, wrong: int) -> None:
    low, high = error_bounds(Seen(np.array([reviewed]), np.array([wrong])))
    if reviewed == 0:
        assert (low[0], high[0]) == (0, 1)
        return
    expected = stats.binomtest(wrong, reviewed).proportion_ci(0.95, "exact")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_598_right_answers_show_half_a_percent() -> None:
    assert fewest_reviews(most=0.005, confidence=0.95) == 598
    assert at_most(598, 0, confidence=0.95) <= 0.005 < at_most(597, 0, confidence=0.95)


def test_a_region_counts_until_the_first_draw_that_waits_in_it() -> None:
    sample = DrawnImages(
        score=np.array([0.1, 0.2, 0.3, 0.1, 0.9]),
        draw=np.array([0.1, 0.2, 0.3, 0.4, 0.5]),
        wrong=np.array([RIGHT, UNKNOWN, WRONG, RIGHT, RIGHT]),
    )
    seen = seen_at(sample, np.array([0.05, 0.1, 0.2, 1.0]))
    assert seen.reviewed.tolist() == [0, 2, 1, 1]
    assert seen.wrong.tolist() == [0, 0, 0, 0]
    assert seen_at(DrawnImages(sample.score, sample.draw, np.abs(sample.wrong)), np.array([1.0])).wrong.tolist() == [2]


def test_it_widens_until_the_promise_would_break() -> None:
    promise = widest(drawn(20_000, wrong_above=0.6), STEPS, most=0.02)
    assert promise.threshold is not None
    assert promise.at_most is not None
    # 1.3 % of what lies below .608 lies above .6.
    assert 0.6 < promise.threshold < 0.62
    assert promise.at_most <= 0.02


def test_it_stops_at_the_first_threshold_that_fails_whatever_comes_after() -> None:
    score = np.concatenate([np.full(1_000, 0.1), np.full(50, 0.2), np.full(100_000, 0.3)])
    wrong = np.concatenate([np.full(1_000, RIGHT), np.full(50, WRONG), np.full(100_000, RIGHT)])
    sample = DrawnImages(score, np.random.default_rng(2).random(len(score)), wrong)
    thresholds = np.array([0.1, 0.2, 0.3])
    assert at_most(101_050, 50, confidence=0.95) < 0.005
    assert widest(sample, thresholds, most=0.005).threshold == 0.1


def test_the_threshold_that_was_drawn_for_has_a_chance_of_its_own() -> None:
    """An unlucky beginning does not end it: two errors among the first 400, and none in the next 1,600."""
    random = np.random.default_rng(4)
    score = np.concatenate([random.random(400) * 0.1, 0.1 + random.random(1_600) * 0.3])
    wrong = np.zeros(2_000, dtype=np.int64)
    wrong[:2] = WRONG
    sample = DrawnImages(score, random.random(2_000), wrong)
    assert widest(sample, STEPS, most=0.01).threshold is None
    aimed = widest(sample, STEPS, most=0.01, aim=0.4)
    assert aimed.threshold is not None
    assert aimed.threshold >= 0.4
    assert aimed.at_most == at_most(2_000, 2, confidence=0.975)


def test_so_few_answers_that_only_the_aim_can_pass_have_the_whole_chance_there() -> None:
    score = np.linspace(0.001, 0.2, 299)
    sample = DrawnImages(score, np.random.default_rng(1).random(299), np.zeros(299, dtype=np.int64))
    promise = widest(sample, STEPS, most=0.01, aim=0.2)
    assert promise.threshold is not None
    assert promise.threshold >= 0.2
    assert promise.at_most == at_most(299, 0, confidence=0.95)


def test_nothing_is_promised_on_too_few_answers() -> None:
    promise = widest(drawn(597), STEPS, most=0.005)
    assert (promise.threshold, promise.at_most) == (None, None)


def test_an_image_that_waits_ends_what_is_known_of_its_region() -> None:
    whole = drawn(1_000)
    first = int(np.argmin(whole.draw))
    wrong = whole.wrong.copy()
    wrong[first] = UNKNOWN
    waiting = DrawnImages(whole.score, whole.draw, wrong)
    below = float(np.nextafter(whole.score[first], 0))
    assert seen_at(waiting, np.array([below])).reviewed[0] == seen_at(whole, np.array([below])).reviewed[0]
    assert seen_at(waiting, np.array([1.0])).reviewed[0] == 0


def test_it_says_how_many_more_reviews_there_should_be() -> None:
    assert more_reviews(0, 0, most=0.005) == 598
    assert more_reviews(500, 0, most=0.005) == 98
    assert more_reviews(598, 0, most=0.005) == 0
    assert more_reviews(100, 1, most=0.005) is None
    further = more_reviews(1_000, 2, most=0.005)
    assert further is not None
    errors = 2 + int(np.ceil(further * 2 / 1_000))
    assert at_most(1_000 + further, errors, confidence=0.95) <= 0.005


def test_the_promise_is_kept_as_often_as_it_says() -> None:
    """A short version of `benchmarks/policy.py`."""

    def rate(score: Float64Array) -> Float64Array:
        return 0.002 + 0.2 * score**3

    random = np.random.default_rng(5)
    even = (np.arange(20_000) + 0.5) / 20_000
    true_rate = np.cumsum(rate(even)) / np.arange(1, 20_001)
    broken = 0
    for _ in range(200):
        score = random.random(2_000)
        wrong = (random.random(2_000) < rate(score)).astype(np.int64)
        promise = widest(DrawnImages(score, random.random(2_000), wrong), STEPS, most=0.01)
        if promise.threshold is not None:
            broken += bool(true_rate[min(int(promise.threshold * 20_000), 19_999)] > 0.01)
    assert broken <= 15


def test_draws_are_even_and_for_good() -> None:
    draws = draws_of(np.arange(1, 100_001))
    assert (draws == draws_of(np.arange(1, 100_001))).all()
    assert len(np.unique(draws)) == 100_000
    assert stats.kstest(draws, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.01


@pytest.mark.parametrize(
    ("most", "confidence", "thresholds", "says"),
    [
        (0.0, 0.95, STEPS, "allowed share"),
        (0.005, 1.0, STEPS, "confidence"),
        (float("nan"), 0.95, STEPS, "allowed share"),
        (0.005, 0.95, STEPS[::-1], "rise"),
    ],
)
def test_it_refuses_a_promise_that_cannot_be_meant(
    most: float, confidence: float, thresholds: Float64Array, says: str
) -> None:
    with pytest.raises(ArrayRefused, match=says):
        widest(drawn(10), thresholds, most=most, confidence=confidence)


def test_it_refuses_arrays_that_do_not_fit() -> None:
    with pytest.raises(ArrayRefused, match="an answer an image"):
        DrawnImages(np.zeros(3), np.zeros(2), np.zeros(3, dtype=np.int64))
    with pytest.raises(ArrayRefused, match="finite"):
        DrawnImages(np.array([np.nan]), np.zeros(1), np.zeros(1, dtype=np.int64))
    with pytest.raises(ArrayRefused, match="-1, 0 or 1"):
        DrawnImages(np.zeros(1), np.zeros(1), np.array([7]))
