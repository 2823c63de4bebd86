"""The order of the queue: strategies over stored scores."""

import numpy as np
import pytest

from labeling.errors import NothingToDo
from labeling.models import Dataset, QueueOrder, ReviewItem, RunKind
from labeling.pipeline.ordering import Orderable, expected_cost, priorities, reorder
from labeling.queries.ranking import ranking
from tests.builders import make_dataset


def images(**columns: object) -> Orderable:
    facts = {
        "label_quality": [0.1, 0.1, 0.1, 0.9],
        "risk": [0.9, 0.9, 0.9, 0.1],
        "suspected": [True, True, True, False],
        "evaluation": [False, True, False, True],
        "given_rank": [0, 0, 3, 0],
        "suggested_rank": [0, 0, 0, 0],
    } | columns
    return Orderable(**{name: np.array(values) for name, values in facts.items()})


def test_a_label_that_hides_harm_costs_twice_one_that_invents_it() -> None:
    costs = expected_cost(images(given_rank=[0, 3, 0, 0], suggested_rank=[3, 0, 0, 1]))
    assert costs[0] == pytest.approx(2 * costs[1])
    assert costs[1] == pytest.approx(costs[2])
    assert costs.min() >= 0
    assert costs.max() <= 1


def test_validation_and_test_come_first_among_the_suspected_and_again_among_the_rest() -> None:
    order = priorities(
        "evaluation_first",
        images(suspected=[True, True, False, False], evaluation=[False, True, False, True]),
    ).argsort()
    assert order.tolist() == [1, 0, 3, 2]


def test_label_quality_alone_is_the_plain_ranking() -> None:
    order = priorities("label_quality", images(label_quality=[0.4, 0.2, 0.3, 0.1])).argsort()
    assert order.tolist() == [3, 1, 2, 0]


def test_a_probability_of_being_wrong_of_nothing_costs_nothing() -> None:
    assert expected_cost(images(risk=[0.0] * 4)).tolist() == [0.0] * 4


def test_the_order_is_changed_from_what_is_stored_and_stays_for_the_next_ranking(dataset: Dataset) -> None:
    before = [row.path for row in ranking(dataset, as_queued=True)]
    summary = reorder(dataset, QueueOrder.EVALUATION_FIRST)
    assert (summary.items, summary.order) == (12, "evaluation_first")
    tests = [row.path for row in ranking(dataset, as_queued=True)][:4]
    assert {ReviewItem.objects.get(image__path=path).image.split for path in tests} == {"test"}
    reorder(dataset, QueueOrder.LABEL_QUALITY)
    assert [row.path for row in ranking(dataset, as_queued=True)] == before
    assert Dataset.objects.get(pk=dataset.pk).queue_order == "label_quality"
    assert dataset.runs.filter(kind=RunKind.REORDER, state="done").count() == 2


def test_the_worst_first_list_does_not_depend_on_the_order_of_the_queue(dataset: Dataset) -> None:
    worst = [row.path for row in ranking(dataset)]
    reorder(dataset, QueueOrder.EVALUATION_FIRST)
    assert [row.path for row in ranking(dataset)] == worst


@pytest.mark.django_db
def test_without_a_ranking_the_order_is_kept_for_later() -> None:
    empty = make_dataset("empty")
    with pytest.raises(NothingToDo, match="find_issues empty"):
        reorder(empty, QueueOrder.EXPECTED_COST)
    assert Dataset.objects.get(pk=empty.pk).queue_order == "expected_cost"
