"""Several models' out-of-sample probabilities joined into one, each weighted by what it adds.

The pool is log-linear: the logarithms of the members' probabilities, each at its own temperature, are added with
weights of 0 or more that fit the given labels best (stacking: Wolpert, "Stacked generalization", Neural Networks 1992;
logarithmic pools: Genest and Zidek, "Combining probability distributions", Statistical Science 1986). One offset a
class is fitted beside them, so that a member that only knows how frequent classes are earns nothing, and thrown away
afterwards. Three kinds of members are left out, because what adds no evidence adds noise: one that knows less than
half as much as the best, one whose weight does not lower the log loss by more than chance would (Vuong, "Likelihood
ratio tests for model selection", Econometrica 1989), and one whose weight is under a fifth of the greatest.

**Out-of-sample members only.** The given labels are the evidence, and they are wrong in places. A member that learned
from the very labels it judges repeats their errors, has the lowest log loss of all, and would take the whole weight.
Nothing in the arrays betrays it.

A linear pool of the same weights gave .001 to .002 less average precision on CIFAR-10N and .005 more on roman
numerals, but fell below the better member by up to .04 beside a weak one, where this one stayed within .005 even
before weak members were left out. `benchmarks/ranking.py` measures what is used now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from inference.calibration import FIT_VALUES, fit_temperature, log_softmax
from inference.errors import ArrayRefused
from inference.judged import Judged, judged
from inference.types import AnyFloatArray, AnyIntArray, BoolArray, Float32Array, Float64Array, Int64Array

UNLABELLED = -1
CHANCE = 2.5
"""Standard errors by which a member must lower the log loss."""

LEAST_SHARE = 0.2
"""Of the greatest weight. A member under it moves the order by about nothing, down as often as up."""

LEAST_KNOWLEDGE = 0.5
"""Of what the best member tells about the given labels: by how much it lowers the log loss under their frequencies'.
Weaker members lower the log loss of a pool and yet disturb the order of the few images that matter."""

PRIOR = 1.0
"""How strongly, in images, weights are drawn to equal ones and offsets to 0: it decides between equal members."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a member brought.

    Attributes:
        name: as the caller calls it.
        temperature: that fits the given labels best; above 1 = overconfident.
        log_loss: of the given labels at that temperature, in nats an image; low = good.
        weight: its share of the pool, 0..1; the shares sum to 1. 0 = left out.
    """

    name: str
    temperature: float
    log_loss: float
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """The members' joint opinion.

    Attributes:
        probabilities: (N, K) float32, rows sum to 1; calibrated to the given labels when two members or more have
            weight, else the only one's own.
        log_loss: of the given labels, in nats an image; NaN without labels.
        members: in the order they came.
        notes: what had to be done differently, in sentences for people; empty when nothing.
    """

    probabilities: Float32Array
    log_loss: float
    members: tuple[Member, ...]
    notes: tuple[str, ...]


def combine(
    labels: AnyIntArray,
    probabilities: Sequence[AnyFloatArray],
    *,
    names: Sequence[str] | None = None,
    calibrate_one: bool = False,
) -> Ensemble:
    """Join members by evidence in the given labels; the truth is never asked.

    Args:
        labels: (N,) given class indices 0..K−1; -1 for an unlabelled image, which is judged and tells nothing.
        probabilities: one (N, K) array a member, out-of-sample, rows sum to 1.
        names: one a member; without them members are called by number, from 1.
        calibrate_one: read a single member, too, at the temperature that fits the given labels. A pool always is.

    Raises:
        ArrayRefused: no members, members of different shapes, or arrays that do not fit.
    """
    labels = np.asarray(labels)
    if not probabilities:
        raise ArrayRefused("expected the probabilities of one member or more, received none")
    called = [f"member {number}" for number in range(1, len(probabilities) + 1)] if names is None else list(names)
    if len(called) != len(probabilities):
        raise ArrayRefused(f"expected a name for each of {len(probabilities)} members, received {len(called)}")
    labelled = labels != UNLABELLED
    judgements = [_checked(labels, labelled, one, name) for one, name in zip(probabilities, called, strict=True)]
    shapes = {judgement.probabilities.shape for judgement in judgements}
    if len(shapes) > 1:
        raise ArrayRefused(f"expected members of one shape, received {', '.join(map(str, sorted(shapes)))}")
    rows = _sample(labelled, judgements)
    known = judgements[0].labels[rows]
    logits = [np.log(np.maximum(judgement.of(rows), judgement.floor)) for judgement in judgements]
    temperatures = [fit_temperature(known, one) if len(rows) else 1.0 for one in logits]
    calibrated = [one / temperature for one, temperature in zip(logits, temperatures, strict=True)]
    alone = [_mean_loss(known, one) for one in calibrated]
    weights, notes = _weights(known, calibrated, alone)
    kept = np.flatnonzero(weights).tolist()
    if len(kept) == 1 and calibrate_one:
        joint, loss = _pool(judgements, (weights > 0) / np.array(temperatures)), alone[kept[0]]
    elif len(kept) == 1:
        joint, loss = _own(judgements[kept[0]]), _mean_loss(known, logits[kept[0]])
    else:
        joint = _pool(judgements, weights / np.array(temperatures))
        loss = _mean_loss(known, np.tensordot(weights, np.stack(calibrated), axes=1))
    members = tuple(
        Member(name, float(temperature), loss_alone, float(share))
        for name, temperature, loss_alone, share in zip(
            called, temperatures, alone, weights / weights.sum(), strict=True
        )
    )
    return Ensemble(joint, loss, members, notes)


def _checked(labels: AnyIntArray, labelled: BoolArray, probabilities: AnyFloatArray, name: str) -> Judged:
    try:
        # An unlabelled image is given class 0 for the check of its probabilities, and never looked up.
        return judged(np.where(labelled, labels, 0), probabilities)
    except ArrayRefused as refused:
        raise ArrayRefused(f"{name}: {refused}") from refused


def _sample(labelled: BoolArray, judgements: list[Judged]) -> Int64Array:
    """Evenly spaced labelled images, as many as a fit needs."""
    rows = np.flatnonzero(labelled)
    at_most = max(1000, FIT_VALUES // judgements[0].n_classes)
    return rows[:: -(-len(rows) // at_most)] if len(rows) > at_most else rows


def _weights(
    labels: Int64Array, logits: list[Float64Array], alone: list[float]
) -> tuple[Float64Array, tuple[str, ...]]:
    """(M,) weights of 0 or more, not all 0, and what had to be done differently."""
    members = len(logits)
    if members == 1:
        return np.ones(1), ()
    equal = np.full(members, 1 / members)
    if not len(labels):
        return equal, ("No image has a label to weigh members by: all weigh the same.",)
    weights = _chosen(labels, logits, alone)
    if not weights.any():
        return equal, ("No member tells more about the given labels than chance could: all weigh the same.",)
    return weights, ()


def _chosen(labels: Int64Array, logits: list[Float64Array], alone: list[float]) -> Float64Array:
    """(M,) weights; members that add nothing are left out one by one, the least useful first."""
    centred = [one - one.mean(axis=0) for one in logits]
    frequencies = np.bincount(labels) / len(labels)
    knowledge = float(-np.log(frequencies[labels]).mean()) - np.array(alone)
    kept = np.flatnonzero((knowledge > 0) & (knowledge >= LEAST_KNOWLEDGE * knowledge.max())).tolist()
    chosen = np.zeros(len(centred))
    if len(kept) == 1:
        chosen[kept] = 1
        return chosen
    offsets_alone = _fit(labels, [])[1]
    weights, losses = _fit(labels, [centred[member] for member in kept])
    while kept:
        without = [
            _fit(labels, [centred[other] for other in kept if other != member])[1] if len(kept) > 1 else offsets_alone
            for member in kept
        ]
        gains = [_standard_errors(fewer - losses) for fewer in without]
        # Of equals the last one goes, so that the order in which members come decides and not rounding.
        least = min(range(len(kept)), key=lambda at: (round(gains[at], 6), -at))
        small = weights < LEAST_SHARE * weights.max()
        if gains[least] >= CHANCE and not small.any():
            break
        kept.pop(least if gains[least] < CHANCE else int(np.flatnonzero(small)[-1]))
        weights, losses = _fit(labels, [centred[member] for member in kept])
    chosen[kept] = weights
    return chosen


def _standard_errors(gain: Float64Array) -> float:
    spread = float(gain.std()) / np.sqrt(len(gain))
    return float(gain.mean()) / spread if spread > 1e-12 else 0.0


def _fit(labels: Int64Array, logits: list[Float64Array]) -> tuple[Float64Array, Float64Array]:
    """Weights (M,) ≥ 0 that minimise the log loss beside one offset a class, and (n,) the loss of each image.

    The problem is convex: a multinomial logit whose M features are the members' log-probabilities of each class.
    """
    count, members = len(labels), len(logits)
    images = np.arange(count)
    classes = len(logits[0]) if members else int(labels.max()) + 1
    own_counts = np.bincount(labels, minlength=classes)
    own = [float(one[labels, images].sum()) for one in logits]
    equal = 1 / max(1, members)

    def predict(values: Float64Array) -> Float64Array:
        joint = np.repeat(values[members:, None], count, axis=1)
        for weight, one in zip(values[:members].tolist(), logits, strict=True):
            joint += weight * one
        return log_softmax(joint)

    def objective(values: Float64Array) -> tuple[float, Float64Array]:
        logs = predict(values)
        pull = np.concatenate([values[:members] - equal, values[members:]])
        loss = -logs[labels, images].sum() + PRIOR * (pull**2).sum()
        shares = np.exp(logs, out=logs)
        slopes = [float(np.vdot(shares, one)) - hit for one, hit in zip(logits, own, strict=True)]
        slope = np.concatenate([slopes, shares.sum(axis=1) - own_counts]) + 2 * PRIOR * pull
        return float(loss) / count, slope / count

    start = np.concatenate([np.full(members, equal), np.zeros(classes)])
    bounds = [(0.0, None)] * members + [(None, None)] * classes
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-7, "ftol": 1e-12}
    )
    return found.x[:members], -predict(found.x)[labels, images]


def _mean_loss(labels: Int64Array, logits: Float64Array) -> float:
    if not len(labels):
        return float("nan")
    return float(-log_softmax(logits)[labels, np.arange(len(labels))].mean())


def _own(judgement: Judged) -> Float32Array:
    probabilities = np.empty(judgement.probabilities.shape, dtype=np.float32)
    for chunk in judgement.chunks():
        probabilities[chunk.rows] = chunk.probabilities.T
    return probabilities


def _pool(judgements: list[Judged], powers: Float64Array) -> Float32Array:
    """(N, K) the normalised product of the members' probabilities, each to its power."""
    members = [(judgements[m], float(powers[m])) for m in np.flatnonzero(powers).tolist()]
    joint = np.empty(members[0][0].probabilities.shape, dtype=np.float32)
    for chunks in zip(*(judgement.chunks() for judgement, _ in members), strict=True):
        total = np.zeros_like(chunks[0].probabilities)
        for chunk, (judgement, power) in zip(chunks, members, strict=True):
            total += power * np.log(np.maximum(chunk.probabilities, judgement.floor))
        joint[chunks[0].rows] = np.exp(log_softmax(total)).T
    return joint
