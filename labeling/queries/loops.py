"""The rounds of the loop that are done: what each cleaned, trained and was worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labeling.models import Dataset, Level, Run, RunKind, RunState


@dataclass(frozen=True)
class LoopRound:
    """One round; accuracies are on the test split of its release, {point, low, high}.

    Attributes:
        number: 1 for the first round.
        reviewed, corrected: images decided, and labels that were not the given ones, when the release was cut.
        level: of the accuracies.
        accuracy: of the model that was trained; `before` of the one that was current.
        evaluation: of the model that was trained.
    """

    number: int
    run: Run
    release: str
    model: str
    reviewed: int
    corrected: int
    level: str
    accuracy: Mapping[str, float]
    before: Mapping[str, float] | None
    promoted: bool
    why: str
    evaluation: int


def loop_rounds(dataset: Dataset) -> list[LoopRound]:
    """Every round that ended well, oldest first; one SQL query."""
    runs = dataset.runs.filter(kind=RunKind.LOOP, state=RunState.DONE).select_related("created_by").order_by("id")
    return [_round(number, run, run.summary) for number, run in enumerate(runs, start=1)]


def _round(number: int, run: Run, summary: Mapping[str, Any]) -> LoopRound:
    level = Level.CLASS.value if Level.CLASS in summary["accuracy"] else Level.GROUP.value
    return LoopRound(
        number=number,
        run=run,
        release=summary["release"],
        model=summary["model"],
        reviewed=summary["reviewed"],
        corrected=summary["corrected"],
        level=level,
        accuracy=summary["accuracy"][level],
        before=summary["accuracy_of_current"].get(level),
        promoted=summary["promoted"],
        why=summary["why"],
        evaluation=summary["evaluation"],
    )
