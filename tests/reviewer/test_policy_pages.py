"""The policy page: first version, figures, conflicts, promises, drawing; with and without JavaScript."""

import json
import re
from typing import Any

import numpy as np
import pytest
from django.test import Client

from labeling.models import BandSample, Dataset, Image, ImageBand, Policy, ReviewItem, Run, RunKind, RunState
from labeling.queries.counts import KEEPER
from tests.reviewer.conftest import text
from tests.scored import adult_scores, score_images

PAGE, SAVE, DRAW = "/d/looks/policy/", "/d/looks/policy/save/", "/d/looks/policy/sample/"
FIVE = {"side_0": "safe", "side_1": "adult", "side_2": "safe", "side_3": "adult", "side_4": "adult"}


@pytest.fixture
def scored(pictures: Dataset) -> Dataset:
    """`looks`: ten ranked images with adult scores from 0 to .9."""
    images = list(Image.objects.filter(dataset=pictures).order_by("pk"))
    score_images(pictures, images, adult_scores(*(np.arange(10) / 10)))
    return pictures


def sent(**changes: Any) -> dict[str, Any]:
    return {"expected": 0, "safe_up_to": "0.2", "adult_from": "0.8", "note": "begin", **FIVE, **changes}


def test_it_says_what_to_do_before_anything_is_scored(pictures: Dataset, as_owner: Client, as_teammate: Client) -> None:
    assert "no model has scored this dataset" in text(as_owner.get(PAGE))
    assert "Score the images" in text(as_owner.get(PAGE))
    assert "An ML engineer of this dataset scores the images" in text(as_teammate.get(PAGE))
    assert "nothing to decide by" in text(as_owner.post(SAVE, sent(), follow=True))


def test_a_first_version_is_offered_and_saved(scored: Dataset, as_owner: Client) -> None:
    page = text(as_owner.get(PAGE))
    assert "Save as version 1" in page
    assert 'name="safe_up_to" id="safe_up_to" min="0" max="1" step="any" required value="0.2"' in page
    answer = text(as_owner.post(SAVE, sent(), follow=True))
    assert "Version 1 is in force: 3 safe, 5 unknown, 2 adult" in answer
    assert "begin" in answer
    policy = Policy.objects.get()
    assert policy.created_by is not None
    assert policy.created_by.username == "owner"
    assert ImageBand.objects.filter(band="unknown").count() == 5


def test_the_page_shows_the_figures_of_the_thresholds_in_its_link(scored: Dataset, as_owner: Client) -> None:
    as_owner.post(SAVE, sent())
    page = text(as_owner.get(PAGE + "?safe_up_to=0.5&adult_from=0.6"))
    assert 'data-figure="safe.images">6<' in page
    assert 'data-figure="unknown.images">0<' in page
    assert 'data-figure="adult.images">4<' in page
    assert "not known: no random image of it was judged" in page
    assert "4.2 s an image, an assumption" in page


def test_without_javascript_a_button_shows_the_figures_and_saves_nothing(scored: Dataset, as_owner: Client) -> None:
    as_owner.post(SAVE, sent())
    page = text(as_owner.post(SAVE, sent(expected=1, safe_up_to="0.4", note="mine", look="1")))
    assert 'data-figure="safe.images">5<' in page
    assert 'value="mine"' in page
    assert Policy.objects.count() == 1


def test_what_the_pages_code_computes_with_is_what_the_server_counts(scored: Dataset, as_owner: Client) -> None:
    as_owner.post(SAVE, sent())
    page = as_owner.get(PAGE).content.decode()
    found = re.search(r'<script id="tuning" type="application/json">(.*?)</script>', page)
    assert found
    facts = json.loads(found[1])
    for at in (0, 99, 100, 500, 1000):
        assert facts["safe"]["images"][at] == ImageBand.objects.filter(unsafe__lte=at / 1000).count()
        assert facts["adult"]["images"][at] == ImageBand.objects.filter(adult__gte=at / 1000).count()


def test_two_people_who_save_at_once_lose_nothing(scored: Dataset, as_owner: Client) -> None:
    as_owner.post(SAVE, sent())
    as_owner.post(SAVE, sent(expected=1, safe_up_to="0.3", note="theirs"))
    mine = as_owner.post(SAVE, sent(expected=1, safe_up_to="0.123", note="mine", side_0=""))
    assert mine.status_code == 409
    page = text(mine)
    assert "Version 2 was saved by owner in the meantime" in page
    assert 'value="0.123"' in page
    assert 'value="mine"' in page
    assert "theirs" in page
    assert re.search(r'name="side_0" value="" aria-label="drawings: neither" +checked', page)
    assert 'name="expected" value="2"' in page
    assert Policy.objects.count() == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"safe_up_to": "0.9"}, "The thresholds cross"),
        ({"safe_up_to": "abc"}, "for the end of the safe band, received &#x27;abc&#x27;"),
        ({"adult_from": ""}, "received &#x27;nothing&#x27;"),
        ({"adult_from": "nan"}, "from 0 to 1"),
        ({"adult_from": "7"}, "from 0 to 1"),
        ({"side_3": "", "side_1": "", "side_4": ""}, "at least one class on the adult side"),
        ({"rule_class": "hate", "rule_at": "0.5", "rule_action": "blur"}, "received &#x27;hate&#x27;"),
        ({"rule_class": "porn", "rule_at": "x", "rule_action": "blur"}, "for the rule for porn"),
        ({"rule_class": "porn", "rule_at": "0.5", "rule_action": "burn"}, "an action of"),
    ],
)
def test_what_does_not_hold_is_said_and_kept_in_the_form(
    scored: Dataset, as_owner: Client, change: dict[str, str], says: str
) -> None:
    answer = as_owner.post(SAVE, sent(note="keep me", **change))
    assert answer.status_code == 400
    assert says in text(answer)
    assert 'value="keep me"' in text(answer)
    assert not Policy.objects.exists()


def test_rules_are_saved_in_their_order(scored: Dataset, as_owner: Client) -> None:
    rules = {
        "rule_class": ["sexy", "", "porn"],
        "rule_at": ["0.5", "", "0.85"],
        "rule_action": ["review", "blur", "blur"],
    }
    as_owner.post(SAVE, sent(**rules))
    assert Policy.objects.get().definition["rules"] == [
        {"class": "sexy", "at": 0.5, "action": "review"},
        {"class": "porn", "at": 0.85, "action": "blur"},
    ]
    assert "sexy from 0.5: review, porn from 0.85: blur" in text(as_owner.get(PAGE))


def test_a_member_looks_and_only_an_engineer_changes(scored: Dataset, as_owner: Client, as_teammate: Client) -> None:
    as_owner.post(SAVE, sent())
    page = text(as_teammate.get(PAGE))
    assert "Save as version" not in page
    assert "Versions" in page
    assert as_teammate.post(SAVE, sent(expected=1)).status_code == 403
    assert as_teammate.post(DRAW, {"side": "safe", "threshold": "0.2", "wanted": "1"}).status_code == 403


def test_a_promise_asks_for_reviews_draws_them_and_is_then_kept(scored: Dataset, as_owner: Client) -> None:
    as_owner.post(SAVE, sent())
    ask = PAGE + "?most_adult=60&most_safe=60&sure=80"
    page = text(as_owner.get(ask))
    assert "Not enough reviewed images." in page
    assert "Review about <b>2 more</b>, here." in page
    answer = text(as_owner.post(DRAW, {"side": "safe", "threshold": "0.2", "wanted": "3"}, follow=True))
    assert "3 images of the safe side are drawn to be judged blind" in answer
    assert "Judge 3 images blind" in answer
    assert BandSample.objects.get().drawn == 3
    start = text(as_owner.get("/d/looks/review/?check=safe"))
    assert "3 images to review" in start
    assert "drawn from the safe side, blind" in start
    drawn = ReviewItem.objects.filter(image__banding__band="safe")
    classes = scored.taxonomy.classes.get(name="neutral")
    Image.objects.filter(item__in=drawn).update(current_class=classes)
    drawn.update(state="settled")
    KEEPER.forget()
    page = text(as_owner.get(ask))
    assert re.search(r"<b>Safe up to 0\.\d+</b>: \d images decided without people, at most \d+ % of them adult", page)
    assert "Take these thresholds over" in page


@pytest.mark.parametrize(
    ("query", "says"), [("most_adult=0&most_safe=1&sure=95", "greater than"), ("most_adult=x", "Enter a number")]
)
def test_a_promise_that_cannot_be_meant_is_refused(scored: Dataset, as_owner: Client, query: str, says: str) -> None:
    as_owner.post(SAVE, sent())
    assert says in text(as_owner.get(f"{PAGE}?{query}"))


@pytest.mark.parametrize(
    "values", [{}, {"side": "unknown", "threshold": "0.2", "wanted": "5"}, {"side": "safe", "threshold": "0.2"}]
)
def test_nothing_is_drawn_by_what_cannot_be_meant(scored: Dataset, as_owner: Client, values: dict[str, str]) -> None:
    as_owner.post(SAVE, sent())
    assert "Nothing was drawn" in text(as_owner.post(DRAW, values, follow=True))
    assert not BandSample.objects.exists()


def test_many_images_are_left_to_the_worker(scored: Dataset, as_owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviewer.views.policy.AT_ONCE", 5)
    answer = text(as_owner.post(SAVE, sent(), follow=True))
    assert "Version 1 is saved, and is being applied" in answer
    assert "Version 1 is saved and not in force yet" in answer
    assert Run.objects.filter(kind=RunKind.POLICY, state=RunState.QUEUED).count() == 1
    assert not ImageBand.objects.exists()


def test_the_explorer_offers_bands_once_there_are_some(scored: Dataset, as_owner: Client) -> None:
    assert 'name="band"' not in text(as_owner.get("/d/looks/images/"))
    as_owner.post(SAVE, sent())
    page = text(as_owner.get("/d/looks/images/?band=adult"))
    assert '<option value="adult" selected>' in page
    adult = set(ImageBand.objects.filter(band="adult").values_list("image_id", flat=True))
    assert set(map(int, re.findall(r'name="image" value="(\d+)"', page))) == adult


def test_an_outsider_sees_nothing(scored: Dataset, as_outsider: Client) -> None:
    assert as_outsider.get(PAGE).status_code == 404
    assert as_outsider.post(SAVE, sent()).status_code == 404
    assert as_outsider.post(DRAW, {}).status_code == 404


def test_the_overview_leads_to_the_unknown_band(scored: Dataset, as_owner: Client) -> None:
    assert "unknown band" not in text(as_owner.get("/d/looks/"))
    as_owner.post(SAVE, sent())
    assert '<a href="/d/looks/triage/">5</a> <small>50 %</small>' in text(as_owner.get("/d/looks/"))
