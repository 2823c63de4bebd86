"""Out-of-sample probabilities: several members, each cross-validated, none of which learned from what it judges.

The members that learn from embeddings are
- multinomial logistic regression on standardised embeddings after the power transform sign(x)·√|x| (Perronnin,
  Sánchez and Mensink, "Improving the Fisher kernel for large-scale image classification", ECCV 2010), see `logistic`;
- a cosine nearest-neighbour vote, see `neighbour_vote`.

Measured on 8,000 images of CIFAR-10N with the starter model's embeddings, average precision of the label errors: the
linear head .252 (.22 without the transform), the vote .17 to .19. Random Fourier features (a kernel machine in small)
came to .23 alone and added .004 to the linear head, which does not earn their time. To let labels that people have
verified count three or ten times helped no ranking after them: every label counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference import ensembles, logistic, neighbour_vote
from inference.errors import ArrayRefused, InSample, NotEnoughLabels
from inference.fit_state import FitState, SourceState, fingerprint, read_state, write_state
from inference.splits import stratify_groups
from inference.types import (
    AnyFloatArray,
    AnyIntArray,
    BoolArray,
    Float32Array,
    Float64Array,
    Int8Array,
    Int64Array,
)

UNLABELLED = -1
LINEAR, VOTE = "logistic regression on embeddings", "nearest-neighbour vote on embeddings"
OWN_OPINION = "the scoring model itself"
"""Names of the members."""

_BLOCK = 256
_FLOOR = 1e-6
_MAX_POWER = 10.0
_EVIDENCE = 20_000
"""Labels that the powers are found from: more change the third digit."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One opinion on every image.

    Attributes:
        name: for people.
        probabilities: (N, K) float32, rows sum to 1.
    """

    name: str
    probabilities: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class OutOfSample:
    """Probabilities of models that never saw the image, nor one of its group.

    Attributes:
        probabilities: (N, K) float32, rows sum to 1: all members together.
        fold: (N,) int8, the fold in which the image was held out.
        opinions: what each member says alone.
        missing: (N,) bool, images that no member could look at; they were given the classes' shares.
        notes: what had to be done differently, in sentences for people; empty when nothing.
    """

    probabilities: Float32Array
    fold: Int8Array
    opinions: tuple[Member, ...]
    missing: BoolArray
    notes: tuple[str, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """The members' names."""
        return tuple(member.name for member in self.opinions)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Checked labels, and which fold holds out which image.

    Attributes:
        labels: (N,) int64, -1 where there is none.
        groups: (N,) int64.
        fold: (N,) int8, 0..folds−1.
        folds: how many.
        prior: (K,) shares of the classes among all labels.
        notes: what had to be done differently.
    """

    labels: Int64Array
    groups: Int64Array
    fold: Int8Array
    folds: int
    prior: Float64Array
    notes: tuple[str, ...]


Combine = Callable[[Sequence[Member], AnyIntArray], Float32Array]


def combine(members: Sequence[Member], labels: AnyIntArray) -> Float32Array:
    """The members joined by evidence in the given labels, see `ensembles`: (N, K) float32.

    Args:
        members: one or more, of the same images.
        labels: (N,) class indices, -1 where there is none.
    """
    said = [member.probabilities for member in members]
    names = [member.name for member in members]
    return possible(ensembles.combine(labels, said, names=names, calibrate_one=True).probabilities, said)


def possible(pooled: Float32Array, said: Sequence[Float32Array]) -> Float32Array:
    """The pooled probabilities, and 0 for what no member thinks possible (a logarithmic pool has no zeros)."""
    kept = np.where(np.any([one > 0 for one in said], axis=0), pooled, 0)
    answer: Float32Array = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    return answer


def out_of_sample(
    embeddings: AnyFloatArray | Sequence[AnyFloatArray],
    labels: AnyIntArray,
    *,
    n_classes: int,
    groups: AnyIntArray | None = None,
    folds: int = 5,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    further: Sequence[Member] = (),
    state: Path | None = None,
    combine: Combine = combine,
    progress: Callable[[int, int], None] | None = None,
) -> OutOfSample:
    """Cross-validate light classifiers on embeddings.

    What happens with few labels or embeddings, each told in `notes`: with fewer groups than folds there are fewer
    folds; a class that has no image left to learn from in some fold gets its share of all labels there, as a prior;
    a class without any label gets probability 0; unlabelled images are predicted and not learned from; an image
    without an embedding (a row with NaN or infinity) gets the classes' shares, and is marked when no member knows it.

    Args:
        embeddings: (N, D) float, or several such arrays of the same images by several models: each has members of
            its own, and one more classifier sees all of them joined.
        labels: (N,) class indices 0..K−1, or -1 for an unlabelled image.
        n_classes: K, at least 2.
        groups: (N,) near-duplicate group ids; a group stays in one fold. None: every image is a group.
        folds: at least 2.
        seed: of the assignment to folds.
        class_names: K names for the notes; without them classes are named by index.
        further: opinions from elsewhere that are out-of-sample already: `scoring_model_opinion`, a fine-tuned member.
        state: a file in which `refit` finds what it can use again; written when all is fitted.
        combine: members and labels → their common probabilities.
        progress: called as (steps done, steps).

    Raises:
        NotEnoughLabels: fewer than two classes have labels, or the labelled images form fewer than two groups.
        ArrayRefused: shapes, types, labels out of range, no embedding at all.
    """
    plan = assign_folds(labels, n_classes=n_classes, groups=groups, folds=folds, seed=seed, class_names=class_names)
    sources = _sources(embeddings, len(plan.labels))
    key = fingerprint(sources, plan.groups, n_classes, folds, seed) if state is not None else ""
    return _judge(sources, plan, None, key, _names(class_names, n_classes), further, state, combine, progress)


def refit(
    embeddings: AnyFloatArray | Sequence[AnyFloatArray],
    labels: AnyIntArray,
    *,
    state: Path,
    n_classes: int,
    groups: AnyIntArray | None = None,
    folds: int = 5,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    further: Sequence[Member] = (),
    combine: Combine = combine,
    progress: Callable[[int, int], None] | None = None,
) -> OutOfSample:
    """The same as `out_of_sample` after some labels have changed, in a fraction of its time.

    Folds stay as they were, so that two rankings differ by the labels alone. Used again is what knows no labels
    (spread, correlations, neighbours), and the weights to begin with, which the optimiser leaves for the very optimum
    that a fit from nothing finds. So no state can make a result wrong, only slow: one of other embeddings, groups or
    classes, or a damaged one, is left alone, and everything is fitted afresh.

    Args, Raises: as in `out_of_sample`. An image that is no longer part of the set is best passed as unlabelled (-1):
        without its row these are other embeddings.
    """
    known, ids = _checked_labels(labels, groups, n_classes, folds)
    sources = _sources(embeddings, len(known))
    key = fingerprint(sources, ids, n_classes, folds, seed)
    kept = read_state(state, key)
    plan = assign_folds(
        known,
        n_classes=n_classes,
        groups=ids,
        folds=folds,
        seed=seed,
        class_names=class_names,
        known=None if kept is None else kept.fold,
    )
    if kept is not None and kept.folds != plan.folds:
        kept = None
    return _judge(sources, plan, kept, key, _names(class_names, n_classes), further, state, combine, progress)


def scoring_model_opinion(
    probabilities: AnyFloatArray,
    class_map: Sequence[int | None] | None,
    *,
    n_classes: int,
    trained_on_these: bool,
) -> Member:
    """What the scoring model itself says, in the dataset's classes.

    Args:
        probabilities: (N, K') of the model; a row with NaN says nothing.
        class_map: K' entries: the dataset's class index of each of the model's classes, or None where it has no
            counterpart, whose probability then goes to the others by their shares. None: the classes are the same.
        n_classes: K, of the dataset.
        trained_on_these: whether the model learned from these images.

    Returns:
        The member; rows that say nothing, or only of classes without a counterpart, are NaN.

    Raises:
        InSample: the model was trained on these images.
        ArrayRefused: shapes, or a map that does not fit.
    """
    if trained_on_these:
        raise InSample(
            "expected a model that never saw these images, received one that was trained on them: it would confirm the "
            "labels that it learned; leave its opinion out, or score with another model"
        )
    values = np.asarray(probabilities)
    mapped = range(n_classes) if class_map is None else class_map
    if values.ndim != 2 or values.shape[1] != len(mapped):
        raise ArrayRefused(f"expected (N, {len(mapped)}) probabilities for the class map, received {values.shape}")
    if any(one is not None and not 0 <= one < n_classes for one in mapped):
        raise ArrayRefused(f"expected a class map to 0..{n_classes - 1} or None, received {list(mapped)}")
    answer = np.zeros((len(values), n_classes))
    for column, one in enumerate(mapped):
        if one is not None:
            answer[:, one] += values[:, column]
    sums = answer.sum(axis=1, keepdims=True)
    answer = np.divide(answer, sums, out=np.full_like(answer, np.nan), where=sums > 1e-6)
    return Member(OWN_OPINION, answer.astype(np.float32))


def assign_folds(
    labels: AnyIntArray,
    *,
    n_classes: int,
    groups: AnyIntArray | None = None,
    folds: int = 5,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    known: Int8Array | None = None,
) -> Plan:
    """Check the labels and deal near-duplicate groups into folds, every class alike.

    Args, Raises: as in `out_of_sample`; and
        known: (N,) the folds of these groups from an earlier call, kept where there still are as many.
    """
    checked, ids = _checked_labels(labels, groups, n_classes, folds)
    counts = np.bincount(checked[checked != UNLABELLED], minlength=n_classes)
    _check_enough(checked, ids, counts)
    notes = _notes_on_labels(counts, len(checked), _names(class_names, n_classes))
    labelled_groups = len(np.unique(ids[checked != UNLABELLED]))
    if labelled_groups < folds:
        notes.append(f"{labelled_groups} folds instead of {folds}: the labelled images form only so many groups.")
        folds = labelled_groups
    if known is None or int(known.max()) + 1 != folds:
        known = stratify_groups(checked, ids, [1 / folds] * folds, seed=seed)
    return Plan(checked, ids, known, folds, counts / counts.sum(), tuple(notes))


def with_prior(probabilities: AnyFloatArray, learned: BoolArray, prior: Float64Array) -> Float32Array:
    """What a classifier could not learn keeps its share of all labels; the rest is shared by what it says.

    Args:
        probabilities: (n, K), rows sum to 1.
        learned: (K,) or (n, K), the classes that the classifier knows. With fewer than two it says nothing.
        prior: (K,) shares of the classes.
    """
    learned = np.broadcast_to(learned, probabilities.shape)
    kept = np.where(learned, probabilities, 0)
    sums = kept.sum(axis=1, keepdims=True)
    kept = np.divide(kept, sums, out=np.zeros_like(kept), where=sums > 0)
    answer = np.where(learned, kept * (learned * prior).sum(axis=1, keepdims=True), prior)
    answer[learned.sum(axis=1) < 2] = prior
    scaled: Float32Array = (answer / answer.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def _judge(
    sources: list[AnyFloatArray],
    plan: Plan,
    kept: FitState | None,
    key: str,
    names: list[str],
    further: Sequence[Member],
    state: Path | None,
    combine: Combine,
    progress: Callable[[int, int], None] | None,
) -> OutOfSample:
    weights = np.where(plan.labels == UNLABELLED, 0.0, 1.0)
    notes = [*plan.notes, *_notes_on_lost_classes(plan, names)]
    opinions: list[Member] = []
    states: list[SourceState] = []
    missing = np.ones(len(plan.labels), dtype=bool)
    parts = [[one] for one in sources] + ([sources] if len(sources) > 1 else [])
    for number, part in enumerate(parts):
        of = "" if len(sources) == 1 else " of all models joined" if len(part) > 1 else f" of model {number + 1}"
        fitted = _fit_source(part, plan, weights, kept.sources[number] if kept is not None else None)
        opinions += [Member(member.name + of, member.probabilities) for member in fitted.opinions]
        states.append(fitted.state)
        missing &= ~fitted.usable
        notes += [note.format(of=of) for note in fitted.notes]
        if progress is not None:
            progress(number + 1, len(parts))
    for member in further:
        filled, silent = _filled(member, plan)
        opinions.append(filled)
        missing &= silent
    if state is not None:
        write_state(state, FitState(key, plan.fold, plan.folds, tuple(states)))
    together = np.where(missing[:, None], plan.prior, combine(opinions, plan.labels)).astype(np.float32)
    return OutOfSample(together, plan.fold, tuple(opinions), missing, tuple(notes))


@dataclass(frozen=True, slots=True, eq=False)
class _FittedSource:
    opinions: tuple[Member, ...]
    state: SourceState
    usable: BoolArray
    notes: tuple[str, ...]


def _fit_source(
    part: Sequence[AnyFloatArray], plan: Plan, weights: Float64Array, kept: SourceState | None
) -> _FittedSource:
    """The members of one model's embeddings: both; or the linear head alone, of several models' joined."""
    features, usable = _power_transformed(part)
    notes = []
    if not usable.any():
        raise ArrayRefused("expected an embedding of one image at least, received none: score the images again")
    if not usable.all() and len(part) == 1:
        notes.append(f"{int((~usable).sum())} images have no usable embedding{{of}}: the classes' shares stand in.")
    if kept is not None:
        scaling, near = kept.scaling, kept.neighbours
    else:
        scaling = logistic.measure_scaling(features, usable)
        near = neighbour_vote.find_neighbours(
            features,
            scaling.mean,
            scaling.spread,
            scaling.correlation,
            plan.groups,
            usable & (len(part) == 1),
        )
    if len(part) == 1 and not np.isfinite(near.similarity).any():
        notes.append("No image has a neighbour outside its group{of}, or all look the same: nobody could vote.")
    counted = np.where(usable, weights, 0.0)
    learned = _learned(plan, counted)
    fitted = logistic.fit_folds(
        features,
        scaling,
        plan.labels,
        plan.fold,
        counted,
        folds=plan.folds,
        n_classes=len(plan.prior),
        start=kept.weights if kept is not None else None,
    )
    if not fitted.finished.all():
        notes.append(f"The classifier{{of}} of {int((~fitted.finished).sum())} folds was stopped before its optimum.")
    linear = logistic.held_out_probabilities(features, scaling, fitted, plan.fold)
    linear = with_prior(linear, learned[plan.fold] & usable[:, None], plan.prior)
    opinions = [Member(LINEAR, linear)]
    if len(part) == 1:
        opinions.append(Member(VOTE, neighbour_vote.vote(near, plan.labels, counted, plan.prior)))
    state = SourceState(scaling, near, fitted.weights)
    return _FittedSource(tuple(opinions), state, usable, tuple(notes))


def _learned(plan: Plan, weights: Float64Array) -> BoolArray:
    """(F, K): the classes of which the classifier of a fold meets an image."""
    met = np.zeros((plan.folds, len(plan.prior)), dtype=bool)
    for number in range(plan.folds):
        met[number, plan.labels[(plan.fold != number) & (weights > 0)]] = True
    return met


def _filled(member: Member, plan: Plan) -> tuple[Member, BoolArray]:
    """The member with the classes' shares where it says nothing, and where that is."""
    shape = (len(plan.labels), len(plan.prior))
    if member.probabilities.shape != shape:
        raise ArrayRefused(f"expected {shape} probabilities of {member.name}, received {member.probabilities.shape}")
    silent: BoolArray = np.asarray(~np.isfinite(member.probabilities).all(axis=1))
    sums = member.probabilities[~silent].sum(axis=1)
    if (member.probabilities[~silent] < 0).any() or (np.abs(sums - 1) > 1e-3).any():
        raise ArrayRefused(f"expected probabilities of {member.name} whose rows sum to 1, received others")
    return Member(member.name, np.where(silent[:, None], plan.prior, member.probabilities).astype(np.float32)), silent


def _sources(embeddings: AnyFloatArray | Sequence[AnyFloatArray], count: int) -> list[AnyFloatArray]:
    sources = [embeddings] if isinstance(embeddings, np.ndarray) else [np.asarray(one) for one in embeddings]
    if not sources:
        raise ArrayRefused("expected embeddings of one model or more, received none: score the images first")
    for one in sources:
        if one.ndim != 2 or not np.issubdtype(one.dtype, np.floating) or not one.shape[1]:
            raise ArrayRefused(f"expected (N, D) float embeddings, received {one.shape} {one.dtype}")
        if len(one) != count:
            raise ArrayRefused(f"expected as many embeddings as labels, received {len(one)} and {count}")
    return sources


def _names(class_names: Sequence[str] | None, n_classes: int) -> list[str]:
    names = list(map(str, range(n_classes))) if class_names is None else list(class_names)
    if len(names) != n_classes:
        raise ArrayRefused(f"expected {n_classes} class names, received {len(names)}")
    return names


def _checked_labels(
    given: AnyIntArray, groups: AnyIntArray | None, n_classes: int, folds: int
) -> tuple[Int64Array, Int64Array]:
    labels = np.asarray(given)
    ids = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if labels.ndim != 1 or ids.shape != labels.shape:
        raise ArrayRefused(f"expected as many groups as labels, received {ids.shape} and {labels.shape}")
    if n_classes < 2 or folds < 2 or folds > 100:
        raise ArrayRefused(f"expected 2 or more classes and 2 to 100 folds, received {n_classes} and {folds}")
    if len(labels) and not (np.issubdtype(labels.dtype, np.integer) and np.issubdtype(ids.dtype, np.integer)):
        raise ArrayRefused(f"expected whole numbers as labels and groups, received {labels.dtype} and {ids.dtype}")
    if len(labels) and not UNLABELLED <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ArrayRefused(
            f"expected labels -1 to {n_classes - 1}, received {int(labels.min())} to {int(labels.max())}"
        )
    return labels.astype(np.int64), ids.astype(np.int64)


def _check_enough(labels: AnyIntArray, groups: AnyIntArray, counts: AnyIntArray) -> None:
    present = int((counts > 0).sum())
    if present < 2:
        raise NotEnoughLabels(
            f"expected labels of two classes or more, received {int(counts.sum())} labels of {present}: "
            "nothing tells classes apart"
        )
    if len(np.unique(groups[labels != UNLABELLED])) < 2:
        raise NotEnoughLabels("expected two near-duplicate groups or more, all labelled images form one: add images")


def _notes_on_labels(counts: AnyIntArray, total: int, names: list[str]) -> list[str]:
    notes = []
    absent = [name for name, number in zip(names, counts.tolist(), strict=True) if not number]
    if absent:
        notes.append(f"Classes without a label, never predicted: {', '.join(absent)}.")
    unlabelled = total - int(counts.sum())
    if unlabelled:
        notes.append(f"{unlabelled} images have no label: they were predicted, not learned from.")
    return notes


def _notes_on_lost_classes(plan: Plan, names: list[str]) -> list[str]:
    met = _learned(plan, np.where(plan.labels == UNLABELLED, 0.0, 1.0))
    lost = np.flatnonzero(~met.all(axis=0) & (plan.prior > 0))
    if not len(lost):
        return []
    shown = ", ".join(names[one] for one in lost)
    return [f"Classes with too few images to learn from in every fold (a prior was used there): {shown}."]


def _power_transformed(part: Sequence[AnyFloatArray]) -> tuple[Float32Array, BoolArray]:
    """sign(x)·√|x| of all columns side by side, and which rows are finite; the others become 0."""
    features = np.empty((len(part[0]), sum(one.shape[1] for one in part)), dtype=np.float32)
    usable = np.empty(len(features), dtype=bool)
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = np.concatenate([one[rows] for one in part], axis=1, dtype=np.float32)
        finite = np.isfinite(block).all(axis=1)
        block[~finite] = 0
        features[rows] = np.copysign(np.sqrt(np.abs(block)), block)
        usable[rows] = finite
    return features, usable
