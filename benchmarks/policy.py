"""Policies: how long a million stored predictions take to be banded anew, and whether the tuner keeps its promises.

The million images are synthetic and written by SQL, in a process and a home of their own. The promises are tried on
simulated sides of known error rates, with the very functions that the policy page calls.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Row, show
from inference.estimation import UNKNOWN
from inference.risk_control import STEPS, DrawnImages, at_most, fewest_reviews, seen_at, widest
from inference.types import BoolArray, Float64Array

CHECKOUT = Path(__file__).parents[1]
IMAGES = 1_000_000
SIMULATIONS = 2_000
MOST, CONFIDENCE, AIM = 0.01, 0.95, 0.3
JUDGED = 3_000
_FINE = 200_000


def run() -> None:
    show("Policy", [*_banding_rows(), *_promise_rows()])


# ---- promises ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """A simulated side: how its scores lie, and how often an image of a score is decided wrongly."""

    what: str
    scores: Callable[[np.random.Generator, int], Float64Array]
    rate: Callable[[Float64Array], Float64Array]


def _at_the_ends(random: np.random.Generator, count: int) -> Float64Array:
    return random.beta(0.4, 0.6, count)


def _even(random: np.random.Generator, count: int) -> Float64Array:
    return random.random(count)


SIDES = (
    Side("errors rise with the score", _at_the_ends, lambda score: 0.4 * score**2),
    Side("errors rise steeply", _even, lambda score: np.where(score > 0.35, 0.2, 0.004)),
    Side("a hair too many errors everywhere", _even, lambda score: np.full(len(score), 1.02 * MOST)),
    Side(
        "many errors among the lowest scores", _even, lambda score: np.where(score < 0.1, 0.03, 0.004 + 0.2 * score**6)
    ),
    Side("nearly as many errors as allowed", _even, lambda score: np.where(score < 0.3, 0.0, 1.4 * MOST)),
)


def _true_rates(side: Side) -> Float64Array:
    """The share of wrong decisions at each threshold of `STEPS`, from a sample so large that chance is out of it."""
    score = np.sort(side.scores(np.random.default_rng(0), _FINE))
    wrong = np.cumsum(side.rate(score))
    places = np.searchsorted(score, STEPS, side="right")
    return np.asarray(np.where(places > 0, wrong[np.maximum(places - 1, 0)] / np.maximum(places, 1), 0.0))


def _sample(side: Side, random: np.random.Generator, *, in_disorder: bool) -> DrawnImages:
    """A random sample; in disorder, a queue had the likely errors judged first, and a tenth still waits."""
    score = side.scores(random, JUDGED)
    wrong = (random.random(JUDGED) < side.rate(score)).astype(np.int64)
    draw = random.random(JUDGED)
    if in_disorder:
        waits: BoolArray = (draw > 0.8) & (random.random(JUDGED) < 0.5) & (wrong == 0)
        wrong = np.where(waits, UNKNOWN, wrong)
    return DrawnImages(score, draw, wrong)


def _searched(drawn: DrawnImages) -> float | None:
    """What a search for the widest threshold with a fitting bound finds: the mistake that is not made."""
    seen = seen_at(drawn, STEPS)
    fits = [
        threshold
        for threshold, reviewed, wrong in zip(STEPS.tolist(), seen.reviewed.tolist(), seen.wrong.tolist(), strict=True)
        if reviewed >= fewest_reviews(most=MOST, confidence=CONFIDENCE)
        and at_most(reviewed, wrong, confidence=CONFIDENCE) <= MOST
    ]
    return max(fits) if fits else None


def _promise_rows() -> list[Row]:
    return [_promise_row(side, in_disorder=in_disorder) for side in SIDES for in_disorder in (False, True)]


def _promise_row(side: Side, *, in_disorder: bool) -> Row:
    true = dict(zip(STEPS.tolist(), _true_rates(side).tolist(), strict=True))
    right = [threshold for threshold in STEPS.tolist() if true[threshold] <= MOST]
    broken = searched_broken = proposed = 0
    reach = []
    for seed in range(SIMULATIONS):
        drawn = _sample(side, np.random.default_rng([seed, int(in_disorder)]), in_disorder=in_disorder)
        promise = widest(drawn, STEPS, most=MOST, confidence=CONFIDENCE, aim=AIM)
        if promise.threshold is not None:
            proposed += 1
            broken += true[promise.threshold] > MOST
            reach.append(promise.threshold)
        searched = _searched(drawn)
        searched_broken += searched is not None and true[searched] > MOST
    widest_right = f"{max(right):g}" if right else "none"
    middle = f"{np.median(reach):.3g}" if reach else "none"
    order = "judged in disorder, some waiting" if in_disorder else f"{JUDGED:,} judged"
    return Row(
        f"promise broken: {side.what}, {order}",
        f"{broken / SIMULATIONS:.1%}",
        "≤ 5 %",
        f"{SIMULATIONS:,} simulations, at most {MOST:.0%} wrong at {CONFIDENCE:.0%}; proposed in "
        f"{proposed / SIMULATIONS:.0%}, median threshold {middle} (true widest {widest_right}); "
        f"a plain search for the widest fitting bound breaks it in {searched_broken / SIMULATIONS:.1%}",
    )


# ---- banding -----------------------------------------------------------------------------------------------------


def _banding_rows() -> list[Row]:
    folder = tempfile.mkdtemp(prefix="winnow-policy-")
    environment = os.environ | {
        "WINNOW_HOME": folder,
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "reviewer.settings",
        "LOG_LEVEL": "ERROR",
    }
    try:
        _python(environment, "manage.py", "migrate", "-v0")
        _python(environment, "-m", "benchmarks.pages", "build", str(IMAGES))
        facts: dict[str, Any] = json.loads(_python(environment, "-m", "benchmarks.policy", "band").splitlines()[-1])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        Row(
            f"{IMAGES:,} images banded anew: {one['what']}",
            f"{one['seconds']:.1f} s",
            one["wanted"],
            f"SQLite, until the bands are in force; the queue followed after {one['whole']:.1f} s in all; "
            f"{one['changed']:,} changed their band, {one['queued']:,} queued, {one['withdrawn']:,} withdrawn; "
            f"somebody else's write waited {one['waited']:.1f} s at most ({one['refused']} refused), the longest "
            f"read took {one['read']:.2f} s",
        )
        for one in facts["runs"]
    ] + [
        Row(
            "the policy page's figures, computed",
            f"{facts['tuning']:.1f} s",
            "",
            f"SQLite, {IMAGES:,} images; kept for two minutes then",
        )
    ]


def _python(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def band() -> None:
    """In the process of the home: policies over the images that `benchmarks.pages build` wrote."""
    import django

    django.setup()
    from dataclasses import replace

    from django.utils import timezone

    from labeling.models import Dataset, ReviewItem
    from labeling.pipeline.policies import apply_policy, default_definition, model_for_policy, save_policy
    from labeling.pipeline.thresholds import tuning_of
    from labeling.queries.policies import policy_in_force

    dataset = Dataset.objects.get()
    _give_probabilities()
    model = model_for_policy(dataset)
    default = default_definition(model)
    runs = []
    version = 0

    def apply(what: str, wanted: str, **changes: Any) -> None:
        nonlocal version
        save_policy(dataset, replace(default, **changes), model, expected=version)
        version += 1
        with _Bystanders() as bystanders:
            begun = timezone.now()
            summary = apply_policy(dataset)
            whole = (timezone.now() - begun).total_seconds()
        in_force = policy_in_force(dataset)
        assert in_force is not None
        assert in_force.applied_at is not None
        seconds = (in_force.applied_at - begun).total_seconds()
        runs.append(
            {
                "what": what,
                "wanted": wanted,
                "seconds": seconds,
                "whole": whole,
                "changed": summary.changed,
                "queued": summary.queued,
                "withdrawn": summary.withdrawn,
                "waited": bystanders.waited,
                "read": bystanders.read,
                "refused": bystanders.refused,
            }
        )
        print(f"{what}: {seconds:.1f} s, {whole:.1f} s", file=sys.stderr)

    apply("first version, all ranked", "")
    apply("both thresholds moved, all ranked", "< 10 s", safe_up_to=0.1, adult_from=0.9)
    apply("nearly all made unknown, all ranked", "< 10 s", safe_up_to=0.001, adult_from=0.999)
    apply("nearly none left unknown, all ranked", "< 10 s", safe_up_to=0.5, adult_from=0.501)
    apply("other sums, all ranked", "", safe=("neutral",), adult=("porn", "sexy"))
    version_before = version
    ReviewItem.objects.filter(state="open", image__banding__isnull=False)._raw_delete("default")
    apply("back to the first sums, nothing ranked", "", safe_up_to=0.5, adult_from=0.501)
    apply("thresholds moved, nothing ranked", "< 10 s", safe_up_to=0.45, adult_from=0.55)
    apply("thresholds moved back, nothing ranked", "< 10 s", safe_up_to=0.5, adult_from=0.501)
    assert version == version_before + 3
    begun = time.perf_counter()
    tuning_of(dataset)
    print(json.dumps({"runs": runs, "tuning": time.perf_counter() - begun}))


class _Bystanders:
    """Somebody who writes and somebody who counts while a policy is applied: how long each had to wait at most."""

    def __init__(self) -> None:
        self.waited = self.read = 0.0
        self.refused = 0
        self._ended = threading.Event()

    def __enter__(self) -> "_Bystanders":
        self._threads = [threading.Thread(target=self._write), threading.Thread(target=self._read)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        from django.db import OperationalError, connection

        from labeling.models import Person

        while not self._ended.wait(0.05):
            begun = time.perf_counter()
            try:
                Person.objects.filter(username="lena").update(first_name="Lena")
            except OperationalError:
                self.refused += 1
            self.waited = max(self.waited, time.perf_counter() - begun)
        connection.close()

    def _read(self) -> None:
        from django.db import connection

        from labeling.models import ImageBand

        while not self._ended.wait(0.05):
            begun = time.perf_counter()
            list(ImageBand.objects.filter(band="unknown").order_by("dataset", "-unsafe")[:50])
            self.read = max(self.read, time.perf_counter() - begun)
        connection.close()


def _give_probabilities() -> None:
    """Probabilities as a sharp model gives them: most images at the two ends."""
    from django.db import connection

    rows = np.random.default_rng(1).dirichlet(np.full(5, 0.15), IMAGES).astype("<f4")
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(
            "UPDATE labeling_prediction SET probabilities = %s WHERE id = %s",
            [(row.tobytes(), number) for number, row in enumerate(rows, start=1)],
        )
        cursor.execute("COMMIT")


if __name__ == "__main__":
    if sys.argv[1:] == ["band"]:
        band()
    else:
        run()
