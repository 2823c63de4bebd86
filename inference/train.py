"""Train an image network from the weights of another: one loop, early stopping, and a checkpoint after every epoch.

Loads TensorFlow inside its functions, so call them in a process of its own (see `fine_tuning`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.errors import ArrayRefused, ModelRefused
from inference.fit_state import write_arrays
from inference.logistic import softmax
from inference.types import AnyIntArray, Float32Array, Float64Array, Int64Array

BATCH_NORM_MOMENTUM = 0.95
"""Networks come with .99 to .999, which after a few hundred batches still is another domain's mean."""

MAX_SHIFT = 1 / 8
"""Of the picture's side, in both directions."""

WARM_UP = 0.15
"""Share of all batches in which the learning rate rises, before it falls along a cosine."""


BEAT_BATCHES = 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: at most; the learning rate falls to 0 by then.
        patience: epochs without a better log loss on the held-out part, after which training ends.
        batch_size: images a step.
        learning_rate: its peak, for Adam.
        weight_decay: decoupled, of all weights but biases and normalisation.
        augment: mirror and shift pictures at random.
        class_weights: let every class count alike, whatever its size.
        validation_share: part of the images to learn from that early stopping holds out.
        seed: of everything random.

    Raises:
        ArrayRefused: a number out of range.
    """

    epochs: int = 8
    patience: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    augment: bool = True
    class_weights: bool = False
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        whole = (self.epochs, self.patience, self.batch_size)
        if min(whole) < 1 or self.learning_rate <= 0 or self.weight_decay < 0 or not 0 < self.validation_share < 0.9:
            raise ArrayRefused(
                "expected epochs, patience and batch size of 1 or more, a learning rate above 0, a weight decay of 0 "
                f"or more and a validation share between 0 and 0.9, received {asdict(self)}"
            )


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        loss: mean log loss of its batches, as they were met.
        validation_loss: mean log loss of the held-out part afterwards.
    """

    number: int
    loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What to learn from.

    Attributes:
        images: (N, H, W, 3) float16, prepared; may be a memory map.
        labels: (N,) class indices; read at `learn` and `judge` only.
        weights: (N,) how much an image counts.
        learn: row numbers to learn from, at least one.
        judge: row numbers that tell when to stop; none of them in `learn`.
    """

    images: npt.NDArray[np.float16]
    labels: AnyIntArray
    weights: Float64Array
    learn: Int64Array
    judge: Int64Array


def trainable_network(original: Any, embedding_layer: str, side: int | None, n_classes: int, seed: int) -> Any:
    """A network for other classes, and for pictures of another size, that starts from a trained one.

    Kept is all up to the last map that still has height and width: such a network takes any size. Behind it come the
    mean over the map, dropout, and a new linear layer. A network without such a map, or one that cannot be rebuilt for
    another size, is kept up to its embedding, and keeps its size.

    Args:
        original: a Keras network with one picture as input.
        embedding_layer: where its embedding is read.
        side: height and width wanted, in pixels; None = its own.
        n_classes: K.
        seed: of the new layer.

    Returns:
        A Keras network with weights of its own: (n, height, width, 3) → (n, K) logits. Its input tells the size that
        it got.
    """
    import keras

    keras.utils.set_random_seed(seed)
    own = tuple(original.inputs[0].shape[1:3])
    trunk = trunk_of(original, embedding_layer)
    try:
        trunk = copy_of(trunk, own if side is None else (side, side))
    except Exception:  # Keras raises many kinds where a layer inside holds on to its size.
        trunk = copy_of(trunk, own)
    for layer in trunk._flatten_layers():
        layer.trainable = True
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    features = trunk.outputs[0]
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="winnow_pool")(features)
    features = keras.layers.Dropout(0.2, seed=seed, name="winnow_dropout")(features)
    scores = keras.layers.Dense(n_classes, kernel_initializer="zeros", name="winnow_scores")(features)
    return keras.Model(trunk.inputs[0], scores)


def train(
    network: Any,
    lesson: Lesson,
    recipe: Recipe,
    checkpoint: Path,
    progress: Callable[[Epoch], None],
    beat: Callable[[], None] = lambda: None,
) -> tuple[Epoch, ...]:
    """Train, and leave the network with its best weights.

    After every epoch weights, optimiser and history are written to `checkpoint`, whole or not at all; a call that
    finds the file goes on behind it, with the same pictures in the same order.

    Args:
        network: from `trainable_network`, freshly made the same way on every call.
        lesson: what to learn from.
        recipe: how.
        checkpoint: the file; the caller removes it when its work is kept elsewhere.
        progress: called after every epoch, also for those that the checkpoint tells of.
        beat: called every few seconds in between.

    Returns:
        Every epoch.

    Raises:
        ModelRefused: the loss is no number any more: the learning rate is too high for this network.
    """
    import keras

    optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(network.trainable_variables)
    step = _step(network, optimizer)
    class_weights = _class_weights(lesson, recipe)
    history, best = _restored(checkpoint, network, optimizer)
    for epoch in history:
        progress(epoch)
    batches = max(1, len(lesson.learn) // recipe.batch_size)
    for number in range(len(history) + 1, recipe.epochs + 1):
        if _is_over(history, recipe):
            break
        rng = np.random.default_rng((recipe.seed, number))
        order = rng.permutation(lesson.learn)
        losses = []
        for batch, rows in enumerate(np.array_split(order, batches)):
            share = ((number - 1) * batches + batch + 1) / (recipe.epochs * batches)
            optimizer.learning_rate.assign(recipe.learning_rate * rate_at(share))
            rows = np.sort(rows)  # A memory map is read in its own order.
            images = _augmented(lesson.images[rows], rng) if recipe.augment else lesson.images[rows]
            labels = lesson.labels[rows]
            weights = lesson.weights[rows] * class_weights[labels]
            if batch % BEAT_BATCHES == 0:
                beat()
            losses.append(float(step(images.astype(np.float32), labels, weights.astype(np.float32))))
        probabilities = predict(network, lesson.images, lesson.judge, mirrored=False)
        validation_loss = _log_loss(probabilities, lesson.labels[lesson.judge])
        if not np.isfinite(validation_loss + sum(losses)):
            raise ModelRefused(
                f"expected a falling loss, received {validation_loss} after epoch {number}: lower the learning rate "
                f"({recipe.learning_rate:g})"
            )
        epoch = Epoch(number, float(np.mean(losses)), validation_loss)
        if all(validation_loss < earlier.validation_loss for earlier in history):
            best = [np.array(variable) for variable in network.variables]
        history.append(epoch)
        _keep(checkpoint, network, optimizer, history, best)
        progress(epoch)
    for variable, value in zip(network.variables, best, strict=True):
        variable.assign(value)
    return tuple(history)


def predict(
    network: Any, images: npt.NDArray[np.float16], rows: Int64Array, *, mirrored: bool, batch_size: int = 64
) -> Float32Array:
    """Probabilities of some images.

    Args:
        network: (n, H, W, 3) → (n, K) logits.
        images: (N, H, W, 3) float16.
        rows: which.
        mirrored: answer with the mean over the picture and its mirror image.

    Returns:
        (len(rows), K) float32.
    """
    answers = [np.empty((0, network.outputs[0].shape[1]), dtype=np.float32)]
    for start in range(0, len(rows), batch_size):
        batch = images[rows[start : start + batch_size]].astype(np.float32)
        probabilities = softmax(np.asarray(network(batch, training=False)))
        if mirrored:
            probabilities = (probabilities + softmax(np.asarray(network(batch[:, :, ::-1], training=False)))) / 2
        answers.append(probabilities.astype(np.float32))
    return np.concatenate(answers)


def trunk_of(original: Any, embedding_layer: str) -> Any:
    """A network up to its last map that still has height and width; or up to its embedding, where it has none."""
    import keras

    last = None
    for layer in original.layers:
        try:
            shape = tuple(layer.output.shape)
        except (AttributeError, ValueError):  # Shared by several places, or never called: it has no one output.
            continue
        if len(shape) == 4 and None not in shape[1:] and min(shape[1:3]) > 1 and type(layer).__name__ != "InputLayer":
            last = layer
    # One tensor, not a list of one: a copy's input must have the same structure.
    return keras.Model(original.inputs[0], (last or original.get_layer(embedding_layer)).output)


def copy_of(trunk: Any, size: tuple[int, ...]) -> Any:
    """The network once more, with its weights, for pictures of this (height, width)."""
    import keras

    copy = keras.models.clone_model(trunk, input_tensors=keras.Input((*size, 3), name="winnow_picture"))
    copy.set_weights(trunk.get_weights())
    return copy


def _step(network: Any, optimizer: Any) -> Callable[..., Any]:
    import tensorflow as tf

    size = network.inputs[0].shape[1:]

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, *size), tf.float32),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None,), tf.float32),
        ]
    )
    def step(images: Any, labels: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            scores = network(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return step  # type: ignore[no-any-return]


def _augmented(images: npt.NDArray[np.float16], rng: np.random.Generator) -> npt.NDArray[np.float16]:
    """Each mirrored or not, and shifted; what comes in at a border repeats the border."""
    height, width = images.shape[1:3]
    up, along = round(height * MAX_SHIFT), round(width * MAX_SHIFT)
    padded = np.pad(images, ((0, 0), (up, up), (along, along), (0, 0)), mode="edge")
    answer = np.empty_like(images)
    tops, lefts = rng.integers(0, 2 * up + 1, len(images)), rng.integers(0, 2 * along + 1, len(images))
    for row, (top, left, mirror) in enumerate(zip(tops, lefts, rng.random(len(images)) < 0.5, strict=True)):
        cut = padded[row, top : top + height, left : left + width]
        answer[row] = cut[:, ::-1] if mirror else cut
    return answer


def rate_at(share: float) -> float:
    """The learning rate's share of its peak, after a share of all batches."""
    if share < WARM_UP:
        return share / WARM_UP
    return float(0.5 + 0.5 * np.cos(np.pi * (share - WARM_UP) / (1 - WARM_UP)))


def _class_weights(lesson: Lesson, recipe: Recipe) -> Float64Array:
    counts = np.bincount(lesson.labels[lesson.learn]).astype(np.float64)
    counts = np.concatenate([counts, np.zeros(max(0, int(lesson.labels.max(initial=0)) + 1 - len(counts)))])
    if not recipe.class_weights:
        return np.ones_like(counts)
    alike = counts.sum() / np.count_nonzero(counts)
    answer: Float64Array = np.divide(alike, counts, out=np.ones_like(counts), where=counts > 0)
    return answer


def _is_over(history: list[Epoch], recipe: Recipe) -> bool:
    if not history:
        return False
    best = min(history, key=lambda epoch: epoch.validation_loss)
    return history[-1].number - best.number >= recipe.patience


def _log_loss(probabilities: Float32Array, labels: AnyIntArray) -> float:
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(own, 1e-12)).mean())


def _keep(checkpoint: Path, network: Any, optimizer: Any, history: list[Epoch], best: list[Any]) -> None:
    now = [np.array(variable) for variable in (*network.variables, *optimizer.variables)]
    arrays = {f"now_{number}": value for number, value in enumerate(now)}
    arrays |= {f"best_{number}": value for number, value in enumerate(best)}
    arrays["history"] = np.frombuffer(json.dumps([asdict(epoch) for epoch in history]).encode(), dtype=np.uint8)
    write_arrays(checkpoint, arrays)


def _restored(checkpoint: Path, network: Any, optimizer: Any) -> tuple[list[Epoch], list[Any]]:
    variables = [*network.variables, *optimizer.variables]
    if not checkpoint.is_file():
        return [], [np.array(variable) for variable in network.variables]
    with np.load(checkpoint) as kept:
        history = [Epoch(**epoch) for epoch in json.loads(kept["history"].tobytes())]
        for number, variable in enumerate(variables):
            variable.assign(kept[f"now_{number}"])
        return history, [kept[f"best_{number}"] for number in range(len(network.variables))]
