"""The order of the queue: named strategies over what a ranking stored, so that changing one needs no new scoring."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from labeling.actions.issues import QueuedImage, choose_order, record_order, represent_groups
from labeling.actions.put_first import keep_first
from labeling.actions.runs import Listener, RunReporter, running
from labeling.errors import NothingToDo
from labeling.models import Dataset, ItemState, Person, QueueOrder, ReviewItem, Run, RunKind, Split

CHUNK = 2000
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Orderable:
    """What the strategies look at, one entry an image.

    Attributes:
        label_quality: (N,) 0..1, low = likely wrong.
        risk: (N,) 0..1, the probability that the label is wrong.
        suspected: (N,) the run believes the label to be wrong.
        evaluation: (N,) the image is in the validation or the test split.
        given_rank, suggested_rank: (N,) harm ranks of the two labels, 0 = harmless.
    """

    label_quality: Floats
    risk: Floats
    suspected: Bools
    evaluation: Bools
    given_rank: Integers
    suggested_rank: Integers


def expected_cost(images: Orderable) -> Floats:
    """Probability of being wrong × cost of the error, 0..1.

    A label that calls harmful what is harmless costs 1; one that hides harm costs up to 2, by how many harm ranks it
    hides, because what such a label teaches is to let it pass. Divided by 2.
    """
    hidden = np.maximum(images.suggested_rank - images.given_rank, 0)
    most = max(int(images.suggested_rank.max(initial=0)), 1)
    answer: Floats = images.risk * (1 + hidden / most) / 2
    return answer


def _by_label_quality(images: Orderable) -> Floats:
    return images.label_quality


def _by_expected_cost(images: Orderable) -> Floats:
    return 1 - expected_cost(images)


def _evaluation_first(images: Orderable) -> Floats:
    """Suspected in validation and test, suspected in train, then the rest in the same two steps.

    A clean test split makes every later figure true, so it is worth cleaning before what is trained on.
    """
    step = 2 * (~images.suspected).astype(np.float64) + ~images.evaluation
    return step + 1 - expected_cost(images)


STRATEGIES: dict[QueueOrder, Callable[[Orderable], Floats]] = {
    QueueOrder.EVALUATION_FIRST: _evaluation_first,
    QueueOrder.EXPECTED_COST: _by_expected_cost,
    QueueOrder.LABEL_QUALITY: _by_label_quality,
}


def priorities(order: str, images: Orderable) -> Floats:
    """(N,) places in the queue, low = shown first."""
    return STRATEGIES[QueueOrder(order)](images)


@dataclass(frozen=True)
class OrderSummary:
    dataset: str
    order: str
    items: int
    represented: int


def reorder(
    dataset: Dataset,
    order: QueueOrder,
    *,
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> OrderSummary:
    """Give the dataset's queue another order, from what its last ranking stored.

    Raises:
        NothingToDo: nothing is ranked yet; the order is kept for when it is.
    """
    choose_order(dataset=dataset, order=order)
    if not ReviewItem.objects.filter(dataset=dataset).exists():
        raise NothingToDo(
            f"The queue of {dataset.slug} will be ordered by “{order.label}” once there is one; first run: "
            f"manage.py find_issues {dataset.slug}"
        )
    with running(
        dataset=dataset,
        kind=RunKind.REORDER,
        parameters={"order": order.value},
        person=person,
        queued=queued,
        listener=listener,
    ) as reporter:
        summary = _reorder(dataset, order, reporter)
        reporter.run.summary = asdict(summary)
    return summary


def _reorder(dataset: Dataset, order: QueueOrder, reporter: RunReporter) -> OrderSummary:
    rows = list(
        ReviewItem.objects.filter(dataset=dataset)
        .order_by("pk")
        .values_list(
            "pk",
            "label_quality",
            "risk",
            "suspected",
            "image__split",
            "image__given_class__harm_rank",
            "suggested_class__harm_rank",
        )
    )
    images = Orderable(
        label_quality=np.array([row[1] for row in rows], dtype=np.float64),
        risk=np.array([row[2] for row in rows], dtype=np.float64),
        suspected=np.array([row[3] for row in rows], dtype=np.bool_),
        evaluation=np.array([row[4] in {Split.VALIDATION, Split.TEST} for row in rows], dtype=np.bool_),
        given_rank=np.array([row[5] for row in rows], dtype=np.int64),
        suggested_rank=np.array([row[6] for row in rows], dtype=np.int64),
    )
    wanted = dict(zip([row[0] for row in rows], priorities(order, images).tolist(), strict=True))
    reporter.stage("writing the order", len(wanted))
    keys = list(wanted)
    for start in range(0, len(keys), CHUNK):
        part = keys[start : start + CHUNK]
        record_order(priorities={key: wanted[key] for key in part})
        reporter.advance(len(part))
    keep_first(dataset=dataset, suspected_anew=False)
    return OrderSummary(dataset.slug, order.value, len(keys), represent(dataset))


def represent(dataset: Dataset) -> int:
    """Choose each near-duplicate group's representative anew; how many items are represented by another."""
    rows = ReviewItem.objects.filter(dataset=dataset).values_list(
        "pk", "image__duplicate_group_id", "stands_alone", "state", "suspected", "priority"
    )
    return represent_groups(
        dataset=dataset,
        queued=[
            QueuedImage(pk, None if alone else group, state == ItemState.OPEN, suspected, priority)
            for pk, group, alone, state, suspected, priority in rows.iterator(chunk_size=5000)
        ],
    )
