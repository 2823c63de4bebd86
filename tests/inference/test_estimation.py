"""Honest numbers: the audit's draw, intervals that hold the truth, forecasts and the rule for stopping."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from inference.errors import ArrayRefused
from inference.estimation import (
    OUTSIDE,
    NoAudit,
    estimate_by_domain,
    estimate_errors,
    extend_audit,
    noise_by_source,
    plan_audit,
    queue_precision,
    reached_by_queue,
    reviews_for_recall,
    stop_rule,
)
from inference.types import BoolArray, Float64Array, Int64Array

IMAGES = 6000


def dataset(noise: float, seed: int, *, images: int = IMAGES, risk: str = "sharp") -> tuple[Float64Array, Int64Array]:
    """Risk and truth, the risk telling nearly all, a little, or nothing."""
    random = np.random.default_rng(seed)
    wrong = random.random(images) < noise
    if risk == "weak":
        predicted = np.where(wrong, random.beta(3, 4, images), random.beta(1.5, 6, images))
    else:
        predicted = np.where(wrong, random.beta(6, 2, images), random.beta(0.6, 12, images))
    return (random.permutation(predicted) if risk == "useless" else predicted), wrong.astype(np.int64)


def flags(images: Int64Array, count: int) -> BoolArray:
    chosen = np.zeros(count, dtype=bool)
    chosen[images] = True
    return chosen


def audited(risk: Float64Array, truth: Int64Array, **plan: float) -> tuple[Int64Array, BoolArray, Int64Array]:
    """Strata, sample and what is known once a planned audit has been answered."""
    made = plan_audit(risk, half_width=plan.get("half_width", 0.01), expected_rate=plan.get("rate", 0.02), seed=3)
    sampled = flags(made.images, len(risk))
    return made.strata, sampled, np.where(sampled, truth, -1)


# -------------------------------------------------------------------------------------------------- the plan


def test_the_plan_is_expected_to_meet_the_wanted_width_and_hardly_more() -> None:
    risk, _ = dataset(0.05, 1)
    for half_width in (0.02, 0.01, 0.005):
        plan = plan_audit(risk, half_width=half_width, expected_rate=0.05)
        assert 0.9 * half_width < plan.expected_half_width <= half_width
    assert len(plan_audit(risk, half_width=0.005).images) > len(plan_audit(risk, half_width=0.01).images)


def test_the_measured_width_is_the_planned_one_where_the_risk_is_right() -> None:
    random = np.random.default_rng(0)
    risk = random.beta(0.5, 9.5, IMAGES)
    widths = []
    for seed in range(40):
        truth = (random.random(IMAGES) < risk).astype(np.int64)
        plan = plan_audit(risk, half_width=0.01, seed=seed)
        sampled = flags(plan.images, IMAGES)
        total = estimate_errors(plan.strata, sampled, np.where(sampled, truth, -1)).total
        widths.append((total.high - total.low) / 2 / IMAGES)
    assert 0.008 < np.mean(widths) < 0.0105


def test_the_draw_is_without_replacement_as_large_as_said_and_the_same_for_the_same_seed() -> None:
    risk, _ = dataset(0.03, 2)
    plan = plan_audit(risk, seed=5)
    assert len(np.unique(plan.images)) == len(plan.images) == sum(plan.sizes)
    np.testing.assert_array_equal(np.bincount(plan.strata[plan.images]), plan.sizes)
    np.testing.assert_array_equal(plan.images, plan_audit(risk, seed=5).images)
    assert plan.images.tolist() != plan_audit(risk, seed=6).images.tolist()
    assert not (np.diff(plan.strata[plan.images]) >= 0).all(), "reviewers must not see the strata one after another"


def test_strata_rise_with_the_risk_and_the_risky_ones_are_sampled_more_densely() -> None:
    risk, _ = dataset(0.03, 2)
    plan = plan_audit(risk, expected_rate=0.03)
    order = np.argsort(risk)
    assert (np.diff(plan.strata[order]) >= 0).all()
    rates = np.array(plan.sizes) / np.bincount(plan.strata)
    assert rates[-1] > 3 * rates[0]


def test_every_image_of_a_stratum_is_equally_likely_to_be_drawn() -> None:
    risk = np.linspace(0, 1, 60)
    drawn = np.sum([flags(plan_audit(risk, half_width=0.1, seed=seed).images, 60) for seed in range(120)], axis=0)
    plan = plan_audit(risk, half_width=0.1)
    for stratum, size in enumerate(plan.sizes):
        inside = plan.strata == stratum
        share = size / inside.sum()
        spread = np.sqrt(120 * share * (1 - share)) + 1e-9
        assert (np.abs(drawn[inside] - 120 * share) <= 4.5 * spread).all()


def test_one_risk_for_all_makes_one_stratum() -> None:
    plan = plan_audit(np.full(500, 0.02))
    assert set(plan.strata.tolist()) == {0}
    assert 0 < len(plan.images) < 500


def test_images_known_before_are_not_audited() -> None:
    risk, _ = dataset(0.05, 4)
    known = risk > 0.5
    plan = plan_audit(risk, known=known)
    assert (plan.strata[known] == OUTSIDE).all()
    assert not known[plan.images].any()
    assert len(plan_audit(risk, known=np.ones(IMAGES, dtype=bool)).images) == 0


def test_a_small_dataset_is_audited_whole_when_nothing_less_is_enough() -> None:
    plan = plan_audit(np.linspace(0, 1, 12), half_width=0.01)
    assert sorted(plan.images.tolist()) == list(range(12))
    assert plan.expected_half_width == 0


def test_an_extension_keeps_strata_and_sample_and_narrows_the_interval() -> None:
    risk, truth = dataset(0.04, 7)
    strata, sampled, known = audited(risk, truth)
    before = estimate_errors(strata, sampled, known).total
    further = extend_audit(strata, sampled, known, risk=risk, half_width=0.005)
    np.testing.assert_array_equal(further.strata, strata)
    assert not sampled[further.images].any()
    sampled = sampled | flags(further.images, IMAGES)
    assert tuple(np.bincount(strata[sampled])) == further.sizes
    after = estimate_errors(strata, sampled, np.where(sampled, truth, -1)).total
    assert after.high - after.low < 0.75 * (before.high - before.low)
    assert after.low <= truth.sum() <= after.high


def test_an_extension_is_not_led_by_the_luck_of_the_first_draw() -> None:
    risk, truth = dataset(0.01, 8, risk="useless")
    errors = []
    for seed in range(50):
        plan = plan_audit(risk, half_width=0.015, expected_rate=0.02, seed=seed)
        sampled = flags(plan.images, IMAGES)
        known = np.where(sampled, truth, -1)
        sampled[extend_audit(plan.strata, sampled, known, risk=risk, half_width=0.005, seed=seed).images] = True
        errors.append(estimate_errors(plan.strata, sampled, np.where(sampled, truth, -1)).total.point)
    # Sizes that follow each stratum's first finds lose about a fifth here.
    assert abs(np.mean(errors) / truth.sum() - 1) < 0.12


def test_images_imported_since_become_a_stratum_of_their_own() -> None:
    risk, truth = dataset(0.05, 9)
    old = np.arange(IMAGES) < 5000
    plan = plan_audit(risk[old])
    strata = np.where(old, np.append(plan.strata, np.zeros(1000, np.int64)), OUTSIDE)
    sampled = flags(plan.images, IMAGES)
    known = np.where(sampled, truth, -1)
    with pytest.raises(ArrayRefused, match="extend the audit"):
        estimate_errors(strata, sampled, known)
    further = extend_audit(strata, sampled, known, risk=risk)
    assert (further.strata[~old] == plan.strata.max() + 1).all()
    assert (~old[further.images]).sum() >= 10


# ---------------------------------------------------------------------------------------------- the interval


DATASETS = 150

# A right interval holds the truth of so few or so many of them 6 times in 1,000.
LEAST, MOST = stats.binom.ppf([0.003, 0.997], DATASETS, 0.95) / DATASETS


def simulated_coverage(noise: float, risk_kind: str) -> tuple[float, float, float]:
    """Share of datasets whose truth lies in our interval, in the textbook's normal one, and in a naive Bayesian one."""
    held = []
    for seed in range(DATASETS):
        risk, truth = dataset(noise, seed, risk=risk_kind)
        plan = plan_audit(risk, half_width=0.008, expected_rate=noise, seed=seed)
        sampled = flags(plan.images, IMAGES)
        errors = truth.sum()
        total = estimate_errors(plan.strata, sampled, np.where(sampled, truth, -1)).total
        sizes, seen = np.bincount(plan.strata), np.array(plan.sizes)
        found = np.bincount(plan.strata[sampled], weights=truth[sampled], minlength=len(sizes))
        share = found / seen
        spread = np.sqrt((sizes * (sizes - seen) * share * (1 - share) / (seen - 1)).sum())
        textbook = abs((sizes * share).sum() - errors) <= special.ndtri(0.975) * spread
        # Jeffreys' half a pseudo-error in every stratum.
        random = np.random.default_rng(seed)
        draws = random.binomial(sizes - seen, random.beta(found + 0.5, seen - found + 0.5, (500, len(sizes)))).sum(
            axis=1
        )
        low, high = found.sum() + np.quantile(draws, [0.025, 0.975])
        held.append((total.low <= errors <= total.high, textbook, low <= errors <= high))
    ours, normal, naive = np.mean(held, axis=0)
    return float(ours), float(normal), float(naive)


def test_the_interval_holds_the_truth_at_half_a_percent_of_noise_where_the_textbooks_does_not() -> None:
    ours, textbook, _ = simulated_coverage(0.005, "useless")
    assert LEAST <= ours <= MOST
    assert textbook < LEAST


def test_the_interval_holds_the_truth_of_a_sharp_ranking_where_half_an_error_a_stratum_does_not() -> None:
    ours, _, naive = simulated_coverage(0.005, "sharp")
    assert LEAST <= ours <= MOST
    assert naive < LEAST


def test_the_interval_holds_the_truth_with_many_errors_too() -> None:
    ours, _, _ = simulated_coverage(0.09, "weak")
    assert LEAST <= ours <= MOST


def test_one_stratum_of_a_large_dataset_gives_the_jeffreys_interval() -> None:
    count = 200_000
    sampled = np.arange(count) < 400
    known = np.where(sampled, 0, -1)
    known[:3] = 1
    share = estimate_errors(np.zeros(count, np.int64), sampled, known).total_share
    low, high = special.betaincinv(3.5, 397.5, [0.025, 0.975])
    np.testing.assert_allclose(share, (3 / 400, low, high), rtol=0.02)


def test_no_error_found_is_not_no_error() -> None:
    sampled = np.arange(10_000) < 300
    estimate = estimate_errors(np.zeros(10_000, np.int64), sampled, np.where(sampled, 0, -1))
    assert estimate.total.point == estimate.total.low == 0
    assert 60 < estimate.total.high < 100
    assert estimate.remaining_at_most < estimate.remaining.high


def test_a_stratum_known_whole_adds_no_uncertainty() -> None:
    risk, truth = dataset(0.05, 3)
    estimate = estimate_errors(np.zeros(IMAGES, np.int64), np.ones(IMAGES, dtype=bool), truth)
    assert (estimate.total.low, estimate.total.high) == (truth.sum(), truth.sum())
    assert (estimate.remaining.point, estimate.remaining.high, estimate.remaining_at_most) == (0, 0, 0)

    strata = np.where(risk > 0.5, 1, 0)
    part = flags(np.random.default_rng(0).choice(np.flatnonzero(strata == 0), 300, replace=False), IMAGES)
    only_low = estimate_errors(strata[strata == 0], part[strata == 0], np.where(part, truth, -1)[strata == 0])
    with_high = estimate_errors(strata, part | (strata == 1), np.where(part | (strata == 1), truth, -1))
    assert with_high.remaining == only_low.remaining


def test_an_audit_image_without_an_answer_counts_as_not_drawn() -> None:
    risk, truth = dataset(0.05, 3)
    strata, sampled, known = audited(risk, truth)
    plan = plan_audit(risk, expected_rate=0.02, seed=3)
    half = plan.images[: len(plan.images) // 2]
    answered = flags(half, IMAGES)
    assert estimate_errors(strata, sampled, np.where(answered, known, -1)) == estimate_errors(
        strata, answered, np.where(answered, known, -1)
    )


def test_what_remains_is_estimated_among_the_unreviewed_once_the_queue_has_worked() -> None:
    held, biased = [], []
    for seed in range(50):
        risk, truth = dataset(0.09, seed, risk="weak")
        strata, sampled, known = audited(risk, truth)
        queue = np.argsort(-risk)[:400]
        known[queue] = truth[queue]
        left = truth[known < 0].sum()
        reached = reached_by_queue(risk, sampled, known)
        estimate = estimate_errors(strata, sampled, known, reached=reached)
        assert estimate.found == truth[known >= 0].sum()
        assert estimate.known == (known >= 0).sum()
        assert estimate.total.high - estimate.found == estimate.remaining.high
        held.append(estimate.remaining.low <= left <= estimate.remaining.high)
        biased.append(estimate_errors(strata, sampled, known).remaining.point - left)
    assert np.mean(held) >= 0.87
    assert np.mean(biased) > 10, "without `reached` the top of the queue speaks for the rest"


def test_the_queue_has_reached_the_audit_images_among_those_it_reviewed() -> None:
    priority = np.arange(100, 0, -1.0)
    sampled = flags(np.array([5, 20, 60, 90]), 100)
    known = np.where(np.arange(100) < 40, 0, -1)
    known[sampled] = 0
    reached = reached_by_queue(priority, sampled, known)
    np.testing.assert_array_equal(reached, np.arange(100) < 40)


def test_each_splits_interval_holds_its_own_truth() -> None:
    held = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        domain = random.choice(3, IMAGES, p=[0.7, 0.2, 0.1])
        truth = (random.random(IMAGES) < np.array([0.02, 0.06, 0.12])[domain]).astype(np.int64)
        risk = np.where(truth == 1, random.beta(3, 4, IMAGES), random.beta(1.5, 6, IMAGES))
        strata, sampled, known = audited(risk, truth)
        for one in estimate_by_domain(strata, sampled, known, domain):
            assert one.estimate.images == (domain == one.domain).sum()
            held.append(one.estimate.total.low <= truth[domain == one.domain].sum() <= one.estimate.total.high)
            chosen = estimate_errors(strata, sampled, known, target=domain == one.domain)
            assert chosen == one.estimate
    assert 0.91 <= np.mean(held) <= 0.99


def test_a_tiny_class_without_audit_images_gets_a_wide_interval_and_not_an_error() -> None:
    risk, truth = dataset(0.05, 3)
    strata, sampled, known = audited(risk, truth)
    domain = np.full(IMAGES, OUTSIDE)
    domain[np.flatnonzero(~sampled)[:6]] = 4
    (one,) = estimate_by_domain(strata, sampled, known, domain)
    assert (one.domain, one.estimate.images, one.estimate.audited) == (4, 6, 0)
    assert one.estimate.total.low == 0
    assert one.estimate.total.high >= 1


# ------------------------------------------------------------------------------- forecasts, stopping, sources


def test_the_forecast_of_reviews_comes_near_the_truth() -> None:
    gaps = []
    for seed in range(8):
        risk, truth = dataset(0.08, seed)
        strata, sampled, known = audited(risk, truth, rate=0.08, half_width=0.012)
        queue = np.argsort(-risk)[:200]
        known[queue] = truth[queue]
        rest = np.argsort(-risk)
        rest = rest[known[rest] < 0]
        short = np.ceil(0.95 * truth.sum()) - truth[known >= 0].sum()
        needed = int(np.searchsorted(np.cumsum(truth[rest]), short)) + 1
        reached = reached_by_queue(risk, sampled, known)
        forecast = reviews_for_recall(risk, strata, sampled, known, risk=risk, reached=reached)
        assert forecast.recall_now[1] <= forecast.recall_now[0] <= forecast.recall_now[2] < 0.95
        if forecast.reviews is not None and forecast.low is not None and forecast.high is not None:
            assert forecast.low <= forecast.reviews <= forecast.high <= forecast.unreviewed
            gaps.append(abs(forecast.reviews - needed) / needed)
    assert len(gaps) >= 6
    assert np.median(gaps) < 0.1


def test_nothing_more_is_needed_once_all_is_reviewed() -> None:
    risk, truth = dataset(0.05, 1)
    forecast = reviews_for_recall(risk, np.zeros(IMAGES, np.int64), np.zeros(IMAGES, dtype=bool), truth)
    assert (forecast.reviews, forecast.low, forecast.high, forecast.recall_now) == (0, 0, 0, (1, 1, 1))


def test_a_forecast_that_the_audit_cannot_support_asks_for_more_audit_instead() -> None:
    risk, _ = dataset(0.05, 1)
    plan = plan_audit(risk, half_width=0.02)
    sampled = flags(plan.images, IMAGES)
    forecast = reviews_for_recall(risk, plan.strata, sampled, np.where(sampled, 0, -1))
    assert (forecast.reviews, forecast.low, forecast.high) == (None, None, None)
    assert forecast.more_audit is not None
    assert 1 <= forecast.more_audit <= forecast.unreviewed


def test_precision_is_told_so_far_and_lately() -> None:
    verdicts = np.array([1] * 80 + [0] * 20 + [0] * 40 + [1] * 10)
    precision = queue_precision(verdicts, window=50)
    assert (precision.reviewed, precision.wrong, precision.precision) == (150, 90, 0.6)
    assert (precision.recent_reviewed, precision.recent_wrong, precision.recent_precision) == (50, 10, 0.2)
    assert precision.recent_low is not None
    assert precision.recent_high is not None
    assert precision.recent_low < 0.2 < precision.recent_high < 0.35
    assert queue_precision(np.array([], dtype=np.int64)).precision is None
    assert queue_precision(np.array([0, 0])).low == 0


def test_the_rule_stops_only_when_the_upper_bound_is_low_enough() -> None:
    def advice(seen: int, wrong: int) -> tuple[str, int | None]:
        sampled = np.arange(50_000) < seen
        known = np.where(sampled, 0, -1)
        known[:wrong] = 1
        verdict = stop_rule(estimate_errors(np.zeros(50_000, np.int64), sampled, known))
        assert verdict.allowed == 500
        assert (verdict.advice == "stop") == (verdict.at_most <= verdict.allowed)
        return verdict.advice, verdict.more_audit

    assert advice(1000, 2) == ("stop", None)
    assert advice(200, 5) == ("review", None)
    word, more = advice(400, 2)
    assert word == "audit"
    assert more is not None
    assert advice(400 + more, round(2 * (400 + more) / 400))[0] == "stop"


def test_the_rule_rarely_stops_too_early() -> None:
    early = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        truth = np.zeros(4000, np.int64)
        truth[random.choice(4000, 41, replace=False)] = 1
        sampled = flags(random.choice(4000, 700, replace=False), 4000)
        # What the audit finds is repaired, so the truth is planted among what it leaves.
        estimate = estimate_errors(np.zeros(4000, np.int64), sampled, np.where(sampled, truth, -1))
        left = truth[~sampled].sum()
        early += stop_rule(estimate, allowed_share=(left - 1) / 4000).advice == "stop"
    assert early / 300 < 0.085


def test_a_noisy_source_is_flagged_and_a_small_one_drawn_to_the_mean() -> None:
    random = np.random.default_rng(5)
    sources = random.choice(12, IMAGES, p=[0.1] * 9 + [0.06, 0.035, 0.005])
    rates = np.full(12, 0.04)
    rates[3] = 0.25
    truth = (random.random(IMAGES) < rates[sources]).astype(np.int64)
    risk = np.where(truth == 1, random.beta(3, 4, IMAGES), random.beta(1.5, 6, IMAGES))
    strata, sampled, known = audited(risk, truth, rate=0.06)
    queue = np.argsort(-risk)[:300]
    known[queue] = truth[queue]
    found = noise_by_source(strata, sampled, known, sources, reached=reached_by_queue(risk, sampled, known))
    assert [one.source for one in found if one.noisier] == [3]
    assert 0.15 < found[3].rate < 0.32
    assert all(one.low < one.rate < one.high for one in found)
    reviewed_rate = found[0].reviewed_rate
    assert reviewed_rate is not None
    assert reviewed_rate > 1.5 * found[0].rate, "what was reviewed is no fair sample"
    assert abs(found[11].rate - 0.05) < 0.04
    assert found[11].high - found[11].low > found[0].high - found[0].low


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("risk", "message"),
    [
        (np.array([0.1, np.nan]), "finite numbers as risk, received 1 that are not, the first is image 1"),
        (np.array([0.1, 1.5]), "expected risks 0 to 1, received 0.1 to 1.5"),
        (np.array([]), "import images and score them first"),
        (np.array([[0.1]]), r"received \(1, 1\)"),
        (np.array(["a"]), "one number an image"),
    ],
)
def test_it_refuses_risks_that_are_none(risk: Float64Array, message: str) -> None:
    with pytest.raises(ArrayRefused, match=message):
        plan_audit(risk)


@pytest.mark.parametrize("wanted", [0.0, -0.01, 1.0, float("nan")])
def test_it_refuses_widths_and_shares_out_of_range(wanted: float) -> None:
    risk, truth = dataset(0.05, 1, images=300)
    with pytest.raises(ArrayRefused, match="half-width"):
        plan_audit(risk, half_width=wanted)
    with pytest.raises(ArrayRefused, match="confidence"):
        plan_audit(risk, confidence=wanted)
    estimate = estimate_errors(np.zeros(300, np.int64), np.ones(300, dtype=bool), truth)
    with pytest.raises(ArrayRefused, match="allowed share"):
        stop_rule(estimate, allowed_share=wanted)


def test_it_refuses_to_estimate_before_any_audit_image_is_answered() -> None:
    with pytest.raises(NoAudit, match="plan an audit"):
        estimate_errors(np.zeros(9, np.int64), np.arange(9) < 3, np.full(9, -1))


def test_it_refuses_arrays_that_do_not_fit() -> None:
    strata, sampled, known = np.zeros(9, np.int64), np.arange(9) < 3, np.zeros(9, np.int64)
    with pytest.raises(ArrayRefused, match=r"expected \(9,\) bool as sampled"):
        estimate_errors(strata, sampled[:4], known)
    with pytest.raises(ArrayRefused, match=r"received -1 to 2|received 0 to 2"):
        estimate_errors(strata, sampled, known + 2 * (np.arange(9) == 1))
    with pytest.raises(ArrayRefused, match="whole numbers as strata"):
        estimate_errors(strata.astype(float), sampled, known)
    with pytest.raises(ArrayRefused, match="target of one image"):
        estimate_errors(strata, sampled, known, target=np.zeros(9, dtype=bool))
    with pytest.raises(ArrayRefused, match="a stratum for every audit image"):
        estimate_errors(np.full(9, OUTSIDE), sampled, known)
    with pytest.raises(ArrayRefused, match="verdicts 0"):
        queue_precision(np.array([0, -1]))
