"""Geometry of learning curves: losses by epoch, as coordinates that a template only draws."""

from collections.abc import Sequence
from dataclasses import dataclass

from labeling.queries.training import EpochRow
from reviewer.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick

_ROUND = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TICKS = 8


@dataclass(frozen=True)
class LearningChart:
    """Two lines: `learned` is the loss of training, `judged` that of validation, empty without any.

    `best_x` and `best_y` mark the epoch whose weights are kept, so far.
    """

    learned: str
    judged: str
    best: EpochRow
    best_x: float
    best_y: float
    ticks: tuple[Tick, ...]
    levels: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    ground: int = HEIGHT - BOTTOM


def best_epoch(epochs: Sequence[EpochRow]) -> EpochRow:
    """The one with the least validation loss; the last one where nothing was validated."""
    judged = [epoch for epoch in epochs if epoch.validation_loss is not None]
    return min(judged, key=lambda epoch: (epoch.validation_loss, epoch.number)) if judged else epochs[-1]


def learning_chart(epochs: Sequence[EpochRow]) -> LearningChart | None:
    """Epochs on x, losses on y from 0; None before the first epoch has ended, and of a fit that has only one."""
    if len(epochs) < 2:
        return None
    losses = [loss for epoch in epochs for loss in (epoch.loss, epoch.validation_loss) if loss is not None]
    most = max(*losses, 1e-6)
    step = next((step for step in _ROUND if most / step <= 5), most / 4)
    last = epochs[-1].number
    ground, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def x(number: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (number - 1) / (last - 1), 1)

    def y(loss: float) -> float:
        return round(ground - room * loss / most, 1)

    best = best_epoch(epochs)
    shown = range(1, last + 1, -(-last // _TICKS))
    return LearningChart(
        learned=" ".join(f"{x(epoch.number)},{y(epoch.loss)}" for epoch in epochs),
        judged=" ".join(
            f"{x(epoch.number)},{y(epoch.validation_loss)}" for epoch in epochs if epoch.validation_loss is not None
        ),
        best=best,
        best_x=x(best.number),
        best_y=y(best.loss if best.validation_loss is None else best.validation_loss),
        ticks=tuple(Tick(x(number), str(number)) for number in shown),
        levels=tuple(Tick(y(step * place), f"{step * place:.2g}") for place in range(int(most / step) + 1)),
    )
