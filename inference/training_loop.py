"""The loop behind a recipe: epochs over a stream, early stopping, and a state that is kept often enough to be killed.

Everything random is drawn from the seed and the number of the epoch, or is part of the state: a loop that goes on from
a kept state meets the same pictures, in the same order, varied in the same way. Loads TensorFlow inside its functions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import ModelRefused
from inference.fit_state import write_arrays
from inference.head import balance
from inference.picture_stream import PictureStream
from inference.recipes.base import TrainingRecipe
from inference.recipes.network import Networks
from inference.train import rate_at
from inference.training import Answers, Choices, EpochFigures
from inference.types import AnyIntArray, BoolArray, Float64Array, Int64Array

STATE, BEST = "state.npz", "best.npz"
LEAST_PROBABILITY = 1e-7


@dataclass(slots=True)
class _Sums:
    """What the batches of an epoch have come to so far."""

    loss: float = 0.0
    weight: float = 0.0
    right: float = 0.0
    seen: float = 0.0


@dataclass(slots=True)
class _State:
    """Where the loop is: the epochs that are done, and the batches of the next one."""

    history: list[EpochFigures] = field(default_factory=list)
    batch: int = 0
    sums: _Sums = field(default_factory=_Sums)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A training, all told.

    Attributes:
        recipe, choices, answers: what and how.
        networks: freshly made the same way on every call.
        augment: from `augmenter`; None = pictures as they are.
        stream: of the pictures.
        labels, validation: (N,) as in `Pictures`.
        folder: where the state is kept.
        frozen_epochs: epochs in which the backbone stays as it came; None for all.
        mixed: whether the network computes in 16 bits.
        on_batch: called with epoch, batches done and batches of the epoch.
        on_epoch: called after every epoch, also for those that the state tells of.
    """

    recipe: TrainingRecipe
    choices: Choices
    answers: Answers
    networks: Networks
    augment: Any
    stream: PictureStream
    labels: AnyIntArray
    validation: BoolArray
    folder: Path
    frozen_epochs: int | None
    mixed: bool
    on_batch: Callable[[int, int, int], None]
    on_epoch: Callable[[EpochFigures], None]


def follow(course: Course) -> tuple[tuple[EpochFigures, ...], int]:
    """Train, and leave the networks with their best weights: those of the least validation loss, or the last ones.

    Returns:
        Every epoch, and the number of the best one.

    Raises:
        ModelRefused: the loss is no number any more, or no picture can be read.
    """
    loop = _Loop(course)
    for epoch in loop.state.history:
        course.on_epoch(epoch)
    while not loop.is_over():
        loop.run_epoch()
        course.on_epoch(loop.state.history[-1])
    return tuple(loop.state.history), loop.leave_the_best()


class _Loop:
    def __init__(self, course: Course) -> None:
        import keras

        self.course = course
        recipe, choices = course.recipe, course.choices
        if course.frozen_epochs is None:
            course.networks.backbone.trainable = False
        optimizer = keras.optimizers.AdamW(choices.learning_rate, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self._rate = optimizer
        self._optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if course.mixed else optimizer
        # All that is ever trained; while the backbone is frozen, its part rests.
        self._optimizer.build(course.networks.scores.trainable_variables)
        self._variables = [
            *course.networks.scores.variables,
            *self._optimizer.variables,
            *(course.augment.variables if course.augment is not None else ()),
        ]
        counts = np.bincount(course.labels[~course.validation], minlength=len(course.answers.class_names))
        self._class_weights = balance(counts) if choices.class_weights else np.ones(len(counts))
        self._learn = np.flatnonzero(~course.validation)
        self._judge = np.flatnonzero(course.validation)
        self._batches = -(-len(self._learn) // choices.batch_size)
        # Batches of nearly one size: a last one of two pictures would weigh as much as a whole one.
        self._size = -(-len(self._learn) // self._batches)
        self._steps: dict[bool, Any] = {}
        self.state = self._restored()
        self._kept_at = time.monotonic()

    def is_over(self) -> bool:
        history = self.state.history
        if len(history) >= self.course.choices.epochs:
            return True
        return bool(history) and history[-1].number - self._best_epoch() >= self.course.choices.patience

    def run_epoch(self) -> None:
        course, state = self.course, self.state
        number, begun = len(state.history) + 1, time.monotonic()
        order = np.random.default_rng((course.choices.seed, number)).permutation(self._learn)
        step = self._step(number)
        course.on_batch(number, state.batch, self._batches)
        for rows, pictures, usable in course.stream.batches(order[state.batch * self._size :], self._size):
            self._rate.learning_rate.assign(self._rate_now(number, state.batch))
            labels = course.labels[rows]
            weights = np.where(usable, self._class_weights[labels], 0.0).astype(np.float32)
            loss, right = (float(value) for value in step(pictures, self._targets(labels), weights))
            state.batch += 1
            if not np.isfinite(loss):
                raise self._diverged(loss, number)
            weight = float(weights.sum())
            state.sums.loss += loss * weight
            state.sums.weight += weight
            state.sums.right += right
            state.sums.seen += float(usable.sum())
            course.on_batch(number, state.batch, self._batches)
            if time.monotonic() - self._kept_at >= course.choices.checkpoint_seconds and state.batch < self._batches:
                self._keep()
        if not state.sums.seen:
            raise ModelRefused("expected pictures to learn from, not one of them can be read: see the refused files")
        self._end_epoch(number, begun)

    def leave_the_best(self) -> int:
        self.course.networks.backbone.trainable = True
        best = self.course.folder / BEST
        if best.is_file():
            with np.load(best) as kept:
                for place, variable in enumerate(self.course.networks.scores.variables):
                    variable.assign(kept[f"best_{place}"])
        return self._best_epoch()

    def _end_epoch(self, number: int, begun: float) -> None:
        state, sums = self.state, self.state.sums
        judged = self._judged()
        if judged[0] is not None and not np.isfinite(judged[0]):
            raise self._diverged(judged[0], number)
        figures = EpochFigures(
            number,
            sums.loss / max(sums.weight, 1e-12),
            sums.right / sums.seen,
            *judged,
            round(time.monotonic() - begun, 3),
        )
        better = judged[0] is not None and all(judged[0] < (past.validation_loss or 0) for past in state.history)
        state.history.append(figures)
        state.batch, state.sums = 0, _Sums()
        if better:
            variables = self.course.networks.scores.variables
            write_arrays(self.course.folder / BEST, {f"best_{at}": np.array(one) for at, one in enumerate(variables)})
        self._keep()

    def _judged(self) -> tuple[float | None, float | None, float | None]:
        """Loss, accuracy and accuracy of the group on the validation pictures that can be read."""
        course = self.course
        parts, kept = [], []
        for rows, pictures, usable in course.stream.batches(self._judge, course.choices.batch_size):
            scores = np.asarray(self._answer(pictures), dtype=np.float64)
            parts.append(scores[usable])
            kept.append(rows[usable])
        rows = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
        if not len(rows):
            return None, None, None
        labels, probabilities = course.labels[rows], self._probabilities(np.concatenate(parts))
        weights = self._class_weights[labels]
        own = np.maximum(probabilities[np.arange(len(rows)), labels], LEAST_PROBABILITY)
        if not np.isfinite(probabilities).all():
            return float("nan"), None, None
        loss = float((-np.log(own) * weights).sum() / weights.sum())
        accuracy = float((probabilities.argmax(axis=1) == labels).mean())
        return loss, accuracy, self._group_accuracy(probabilities, labels)

    def _group_accuracy(self, probabilities: Float64Array, labels: AnyIntArray) -> float | None:
        groups = self.course.answers.groups
        names = sorted(set(groups))
        if not 1 < len(names) < len(groups):
            return None
        group_of = np.array([names.index(group) for group in groups])
        sums = np.stack([probabilities[:, group_of == at].sum(axis=1) for at in range(len(names))], axis=1)
        return float((sums.argmax(axis=1) == group_of[labels]).mean())

    def _probabilities(self, answers: Float64Array) -> Float64Array:
        positive = self.course.answers.positive
        if positive is None:
            return answers
        both = np.empty((len(answers), 2))
        both[:, positive], both[:, 1 - positive] = answers[:, 0], 1 - answers[:, 0]
        return both

    def _targets(self, labels: AnyIntArray) -> Int64Array:
        """What the network itself is to say: class numbers, or 1 for the positive class."""
        positive = self.course.answers.positive
        return labels.astype(np.int64) if positive is None else (labels == positive).astype(np.int64)

    def _rate_now(self, epoch: int, batch: int) -> float:
        choices = self.course.choices
        if not self.course.recipe.falling:
            return choices.learning_rate
        share = ((epoch - 1) * self._batches + batch + 1) / (choices.epochs * self._batches)
        return choices.learning_rate * rate_at(share)

    def _step(self, epoch: int) -> Any:
        """One step of training, traced once for the frozen backbone and once for the whole network."""
        frozen_epochs = self.course.frozen_epochs
        whole = frozen_epochs is not None and epoch > frozen_epochs
        if whole not in self._steps:
            scores = self.course.networks.scores
            resting = set() if whole else {id(one) for one in self.course.networks.backbone.variables}
            trained = [one for one in scores.trainable_variables if id(one) not in resting]
            one_output = self.course.answers.positive is not None
            self._steps[whole] = _traced_step(
                scores, trained, self._optimizer, self.course.augment, one_output=one_output
            )
        return self._steps[whole]

    @cached_property
    def _answer(self) -> Callable[[Any], Any]:
        import tensorflow as tf

        answers = self.course.networks.answers
        asked: Callable[[Any], Any] = tf.function(
            lambda images: answers(images, training=False),
            input_signature=[tf.TensorSpec((None, *answers.inputs[0].shape[1:]), tf.float32)],
        )
        return asked

    def _best_epoch(self) -> int:
        history = self.state.history
        judged = [epoch for epoch in history if epoch.validation_loss is not None]
        if not judged:
            return history[-1].number
        return min(judged, key=lambda epoch: (epoch.validation_loss, epoch.number)).number

    def _diverged(self, loss: float, epoch: int) -> ModelRefused:
        rate = self.course.choices.learning_rate
        return ModelRefused(
            f"expected a falling loss, received {loss} in epoch {epoch}: the weights have run away. Train again with a "
            f"lower learning rate ({rate / 10:g} instead of {rate:g}); if that does not help, from other weights"
        )

    def _keep(self) -> None:
        state = self.state
        arrays: dict[str, Any] = {f"now_{at}": np.array(one) for at, one in enumerate(self._variables)}
        facts = {
            "history": [asdict(epoch) for epoch in state.history],
            "batch": state.batch,
            "sums": asdict(state.sums),
            "refused": [[row, *why] for row, why in sorted(self.course.stream.refused.items())],
        }
        arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
        write_arrays(self.course.folder / STATE, arrays)
        self._kept_at = time.monotonic()

    def _restored(self) -> _State:
        path = self.course.folder / STATE
        if not path.is_file():
            return _State()
        with np.load(path) as kept:
            facts = json.loads(kept["facts"].tobytes())
            for at, variable in enumerate(self._variables):
                variable.assign(kept[f"now_{at}"])
        self.course.stream.refused.update({int(row): (code, reason) for row, code, reason in facts["refused"]})
        history = [EpochFigures(**epoch) for epoch in facts["history"]]
        return _State(history, facts["batch"], _Sums(**facts["sums"]))


def _traced_step(scores: Any, trained: list[Any], optimizer: Any, augment: Any, *, one_output: bool) -> Any:
    """(pictures, targets, weights) → mean weighted loss, and how many were right."""
    import tensorflow as tf

    scaled = hasattr(optimizer, "scale_loss")

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, *scores.inputs[0].shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None,), tf.float32),
        ]
    )
    def step(pictures: Any, targets: Any, weights: Any) -> Any:
        if augment is not None:
            pictures = augment(pictures, training=True)
        with tf.GradientTape() as tape:
            said = scores(pictures, training=True)
            if one_output:
                losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets[:, None], tf.float32), said)[:, 0]
                chosen = tf.cast(said[:, 0] > 0, tf.int64)
            else:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, said)
                chosen = tf.argmax(said, axis=1)
            loss = tf.reduce_sum(losses * weights) / tf.maximum(tf.reduce_sum(weights), 1e-6)
            aim = optimizer.scale_loss(loss) if scaled else loss
        optimizer.apply(tape.gradient(aim, trained), trained)
        right = tf.reduce_sum(tf.cast((chosen == targets) & (weights > 0), tf.float32))
        return loss, right

    return step
