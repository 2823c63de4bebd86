"""The page of the loop: starting a round, its history as a chart, promoting and rolling back."""

import pytest
from django.test import Client

from labeling.actions.promotions import record_promotion
from labeling.models import Dataset, Person, Promotion, Run, RunKind, RunState
from labeling.queries.loops import loop_rounds
from reviewer import charts
from tests.reviewer.conftest import text
from tests.scored import a_model

PAGE = "/d/looks/loop/"


def share(point: float, half: float = 0.05) -> dict[str, float]:
    return {"point": point, "low": point - half, "high": point + half}


def a_round(dataset: Dataset, release: str, point: float, *, promoted: bool) -> Run:
    return Run.objects.create(
        dataset=dataset,
        kind=RunKind.LOOP,
        state=RunState.DONE,
        summary={
            "release": release,
            "model": f"head@{release[-1]}",
            "current": "starter@1",
            "reviewed": 40,
            "corrected": 7,
            "evaluation": 1,
            "accuracy": {"class": share(point), "group": share(0.95)},
            "accuracy_of_current": {"class": share(0.6)},
            "promoted": promoted,
            "why": "Better: +5.0 points." if promoted else "It may be chance.",
        },
    )


def test_it_says_what_to_do_before_the_first_round(pictures: Dataset, as_owner: Client, as_teammate: Client) -> None:
    page = text(as_owner.get(PAGE))
    assert "No round yet" in page
    assert "Run a round" in page
    assert "nothing is promoted" in page
    assert "Run a round" not in text(as_teammate.get(PAGE)).replace("run a round", "")


def test_a_round_is_queued_for_the_worker_with_a_recipe_that_fits(pictures: Dataset, as_owner: Client) -> None:
    assert "Waits for a worker" in text(as_owner.post(PAGE + "start/", {"recipe": "quick_head"}, follow=True))
    assert Run.objects.get(kind=RunKind.LOOP).parameters["recipe"] == "quick_head"
    assert "Nothing was started" in text(as_owner.post(PAGE + "start/", {"recipe": "seven_mobilenet"}, follow=True))
    assert Run.objects.filter(kind=RunKind.LOOP).count() == 1


def test_the_history_is_a_chart_and_a_table(pictures: Dataset, as_owner: Client) -> None:
    a_round(pictures, "1.0", 0.7, promoted=True)
    a_round(pictures, "1.1", 0.75, promoted=False)
    page = text(as_owner.get(PAGE))
    assert "2 rounds" in page
    assert page.count('class="dot"') == page.count('class="dot-open"') == 1
    assert "<title>round 2, release 1.1: 75.0% by class (70.0% to 80.0%), not promoted</title>" in page
    assert "It may be chance." in page


def test_the_charts_axis_begins_below_the_lowest_figure_and_a_better_round_stands_higher(pictures: Dataset) -> None:
    a_round(pictures, "1.0", 0.7, promoted=True)
    a_round(pictures, "1.1", 0.8, promoted=True)
    chart = charts.rounds(loop_rounds(pictures))
    assert chart is not None
    first, second = chart.marks
    assert (second.y, second.x) < (first.y, second.x + 1)
    assert chart.levels[0].text == "60%"
    assert all(mark.before_y is not None and mark.y < mark.before_y <= chart.ground for mark in chart.marks)
    assert charts.rounds([]) is None


def test_a_model_is_promoted_by_a_worker_and_rolled_back_at_once(
    pictures: Dataset, owner: Person, as_owner: Client
) -> None:
    model = a_model(pictures)
    as_owner.post(PAGE + "promote/", {"model": model.pk})
    assert Run.objects.get(kind=RunKind.PROMOTE).parameters == {"model": model.pk, "reason": "by owner"}
    record_promotion(dataset=pictures, model_version=model, person=owner)
    assert "Roll back to the starter model" in text(as_owner.get(PAGE))
    page = text(as_owner.post(PAGE + "rollback/", follow=True))
    assert "looks works with nsfwjs-mobilenet-v2 again." in page
    event = Promotion.objects.all()[0]
    assert (event.model_version, event.person) == (None, owner)
    assert Run.objects.filter(kind=RunKind.FIND_ISSUES, state=RunState.QUEUED).exists()
    assert "could be rolled back" in text(as_owner.post(PAGE + "rollback/", follow=True))


@pytest.mark.parametrize("model", ["", "x", "999999"])
def test_a_model_that_is_not_there_is_not_promoted(model: str, pictures: Dataset, as_owner: Client) -> None:
    assert as_owner.post(PAGE + "promote/", {"model": model}).status_code == 404
