"""Whether the honest numbers are honest: intervals against the truth of simulated datasets, and forecasts too."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy import special

from benchmarks.results import Row, show
from inference.estimation import estimate_errors, extend_audit, plan_audit, reached_by_queue, reviews_for_recall
from inference.types import BoolArray, Float64Array, Int64Array

DATASETS = 500
FORECASTS = 60
IMAGES = 20_000
REGIMES = {
    "sharp": "AUROC .99 or more",
    "weak": "AUROC about .85",
    "useless": "unrelated to the errors",
    "too low": "sharp, cubed",
    "too high": "sharp, to the power .3",
}
HALF_WIDTHS = {0.005: 0.0025, 0.02: 0.005, 0.09: 0.01}
"""What an audit is planned for at each noise rate, as shares of the dataset."""

Condition = tuple[str, float, int]


def simulated(regime: str, noise: float, random: np.random.Generator) -> tuple[Float64Array, Int64Array]:
    """Risk and truth (0 right, 1 wrong) of one dataset."""
    wrong = random.random(IMAGES) < noise
    if regime == "weak":
        risk = np.where(wrong, random.beta(3, 4, IMAGES), random.beta(1.5, 6, IMAGES))
    elif regime == "useless":
        risk = random.beta(1, 6, IMAGES)
    else:
        sharp = np.where(wrong, random.beta(6, 2, IMAGES), random.beta(0.6, 12, IMAGES))
        risk = sharp ** {"sharp": 1.0, "too low": 3.0, "too high": 0.3}[regime]
    return risk, wrong.astype(np.int64)


def textbook_interval(strata: Int64Array, sampled: BoolArray, wrong: Int64Array) -> tuple[float, float]:
    """The normal interval for a stratified total, with the finite population correction (Cochran 1977, 5.6)."""
    sizes, seen = np.bincount(strata), np.bincount(strata[sampled])
    share = np.bincount(strata[sampled], weights=wrong[sampled], minlength=len(sizes)) / seen
    variance = (sizes * (sizes - seen) * share * (1 - share) / np.maximum(seen - 1, 1)).sum()
    middle, reach = (sizes * share).sum(), special.ndtri(0.975) * np.sqrt(variance)
    return middle - reach, middle + reach


def naive_interval(
    strata: Int64Array, sampled: BoolArray, wrong: Int64Array, random: np.random.Generator
) -> tuple[float, float]:
    """Bayes with half a pseudo-error in every stratum (Jeffreys' prior), from 1,000 draws."""
    sizes, seen = np.bincount(strata), np.bincount(strata[sampled])
    found = np.bincount(strata[sampled], weights=wrong[sampled], minlength=len(sizes))
    rates = random.beta(found + 0.5, seen - found + 0.5, (1000, len(sizes)))
    low, high = np.quantile(random.binomial(sizes - seen, rates).sum(axis=1), (0.025, 0.975))
    return found.sum() + low, found.sum() + high


def coverage_of_one(condition: Condition) -> Sequence[float]:
    """One dataset: does each interval hold the truth, and how wide is it?"""
    regime, noise, seed = condition
    random = np.random.default_rng([seed, int(noise * 1000), *regime.encode()])
    risk, truth = simulated(regime, noise, random)
    plan = plan_audit(risk, half_width=HALF_WIDTHS[noise], expected_rate=noise, seed=seed)
    sampled = np.zeros(IMAGES, dtype=bool)
    sampled[plan.images] = True
    known = np.where(sampled, truth, -1)
    errors = int(truth.sum())
    total = estimate_errors(plan.strata, sampled, known).total
    low, high = textbook_interval(plan.strata, sampled, truth)
    least, most = naive_interval(plan.strata, sampled, truth, random)
    # The same after the queue has reviewed up to twice as many images as there are errors.
    known, reached = reviewed(risk, truth, sampled, int(random.uniform(0, 2 * noise) * IMAGES))
    left = estimate_errors(plan.strata, sampled, known, reached=reached).remaining
    missing = int(truth[known < 0].sum())
    # And by two draws: a first of 500 or so, extended to the wanted width.
    again = plan_audit(risk, half_width=0.01, expected_rate=0.02, seed=seed)
    twice = np.zeros(IMAGES, dtype=bool)
    twice[again.images] = True
    further = extend_audit(
        again.strata, twice, np.where(twice, truth, -1), risk=risk, half_width=HALF_WIDTHS[noise], seed=seed
    )
    twice[further.images] = True
    both = estimate_errors(again.strata, twice, np.where(twice, truth, -1)).total
    return (
        total.low <= errors <= total.high,
        (total.high - total.low) / 2 / IMAGES,
        len(plan.images),
        low <= errors <= high,
        least <= errors <= most,
        left.low <= missing <= left.high,
        both.low <= errors <= both.high,
        (total.point - errors) / max(errors, 1),
    )


def reviewed(risk: Float64Array, truth: Int64Array, sampled: BoolArray, depth: int) -> tuple[Int64Array, BoolArray]:
    """What is known after the queue's first `depth` images, and what it has reached."""
    known = np.where(sampled, truth, -1)
    queue = np.argsort(-risk, kind="stable")[:depth]
    known[queue] = truth[queue]
    return known, reached_by_queue(risk, sampled, known)


def forecast_of_one(condition: Condition) -> Sequence[float]:
    """One dataset partly reviewed: told or not, relative error, whether the interval holds, reviews needed."""
    regime, noise, seed = condition
    random = np.random.default_rng([seed, int(noise * 1000), *regime.encode()])
    risk, truth = simulated(regime, noise, random)
    plan = plan_audit(risk, half_width=HALF_WIDTHS[noise], expected_rate=noise, seed=seed)
    sampled = np.zeros(IMAGES, dtype=bool)
    sampled[plan.images] = True
    known, reached = reviewed(risk, truth, sampled, int(random.uniform(0, noise) * IMAGES))
    rest = np.argsort(-risk, kind="stable")
    rest = rest[known[rest] < 0]
    short = int(np.ceil(0.95 * truth.sum())) - int(truth[known >= 0].sum())
    needed = 0 if short <= 0 else int(np.searchsorted(np.cumsum(truth[rest]), short)) + 1
    forecast = reviews_for_recall(risk, plan.strata, sampled, known, risk=risk, reached=reached)
    if forecast.reviews is None or forecast.low is None or forecast.high is None:
        return 0, np.nan, np.nan, needed
    gap = abs(forecast.reviews - needed) / needed if needed else np.nan
    return 1, gap, forecast.low <= needed <= forecast.high, needed


def run() -> None:
    """Print both tables."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(workers) as pool:
        rows = [row for regime in REGIMES for noise in HALF_WIDTHS for row in coverage_rows(pool, regime, noise)]
        show("Remaining errors: coverage of the 95 % interval", rows)
        rows = [row for regime in REGIMES for noise in HALF_WIDTHS for row in forecast_rows(pool, regime, noise)]
        show("Reviews to 95 % recall: error of the forecast", rows)


def coverage_rows(pool: ProcessPoolExecutor, regime: str, noise: float) -> Iterable[Row]:
    outcomes = pool.map(coverage_of_one, [(regime, noise, seed) for seed in range(DATASETS)], chunksize=25)
    holds, width, images, textbook, naive, left, twice, bias = np.mean(list(outcomes), axis=0)
    yield Row(
        f"risk {regime}, {noise:.1%} wrong: all errors",
        f"{holds:.1%} (textbook normal {textbook:.1%}, Jeffreys a stratum {naive:.1%})",
        "93–97 %",
        f"{DATASETS} datasets of {IMAGES:,}; risk {REGIMES[regime]}; {images:,.0f} audit images, "
        f"± {100 * width:.2f} points (planned {100 * HALF_WIDTHS[noise]:.2f}), point off by {bias:+.1%} on average",
    )
    yield Row(
        f"risk {regime}, {noise:.1%} wrong: remaining, partly reviewed",
        f"{left:.1%}",
        "93–97 %, more where nothing is left",
        "the queue reviewed 0 to 2 images an error",
    )
    yield Row(
        f"risk {regime}, {noise:.1%} wrong: audit in two draws",
        f"{twice:.1%}",
        "",
        "drawn, then extended; the second draw's size depends on what the first found, which costs about a point",
    )


def forecast_rows(pool: ProcessPoolExecutor, regime: str, noise: float) -> Iterable[Row]:
    outcomes = pool.map(forecast_of_one, [(regime, noise, seed) for seed in range(FORECASTS)], chunksize=5)
    told, gap, holds, needed = np.array(list(outcomes), dtype=np.float64).T
    sure = told > 0
    value = f"{np.nanmedian(gap):.0%}" if np.isfinite(gap).any() else "–"
    inside = f"{holds[sure].mean():.0%}" if sure.any() else "–"
    yield Row(
        f"risk {regime}, {noise:.1%} wrong: median relative error",
        f"{value}; interval holds {inside}; forecast given in {told.mean():.0%}",
        "",
        f"{FORECASTS} datasets, queue at 0 to 1 image an error; median needed {np.median(needed):,.0f}",
    )
