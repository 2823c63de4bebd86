"""Comfort on the pages: settings, defaults, the daily cap, the break, and what is counted."""

import json
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.test import Client

from labeling.actions.claims import hold_claims
from labeling.actions.wellness import Wishes, set_comfort
from labeling.models import Comfort, Dataset, Exposure, Person, ReviewItem
from labeling.queue_filter import QueueFilter
from reviewer.focus_items import HOLD
from tests.reviewer.conftest import first_claim, text

HTMX = {"HX-Request": "true"}
OWN = {
    f"own-{name}": ""
    for name in ("shield_style", "shield_from_rank", "image_size", "daily_cap", "break_minutes", "interleave")
}


def _send(client: Client, url: str, body: dict[str, Any]) -> Any:
    return client.post(url, json.dumps(body), content_type="application/json")


def test_ones_own_settings_are_kept_and_shown(teammate: Person, as_teammate: Client) -> None:
    sent = OWN | {"own-shield_style": "grey", "own-daily_cap": "300", "own-interleave": "no"}
    assert as_teammate.post("/me/comfort/", sent).status_code == 302
    stored = Comfort.objects.get(person=teammate)
    assert (stored.shield_style, stored.daily_cap, stored.interleave, stored.break_minutes) == (
        "grey",
        300,
        False,
        None,
    )
    page = text(as_teammate.get("/me/"))
    assert "of at most 300" in page
    assert 'data-shield-style="grey"' in page


@pytest.mark.parametrize(("field", "value"), [("daily_cap", "-1"), ("shield_style", "neon"), ("shield_from_rank", "0")])
def test_a_setting_that_is_none_changes_nothing(field: str, value: str, as_teammate: Client) -> None:
    response = as_teammate.post("/me/comfort/", OWN | {f"own-{field}": value})
    assert response.status_code == 422
    assert not Comfort.objects.exists()


def test_only_who_runs_the_place_sets_the_defaults(teammate: Person, as_teammate: Client) -> None:
    sent = {name.replace("own-", "everybody-"): value for name, value in OWN.items()} | {"everybody-daily_cap": "100"}
    assert as_teammate.post("/me/defaults/", sent).status_code == 403
    teammate.is_superuser = True
    teammate.save()
    assert as_teammate.post("/me/defaults/", sent).status_code == 302
    assert Comfort.objects.get().daily_cap == 100


def test_what_is_decided_or_passed_over_is_counted_by_either_way_in(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    item = first_claim(pictures, teammate).item
    fields = {"decision": "keep", "key": str(uuid4())}
    as_teammate.post(f"/d/looks/review/{item.pk}/verdict/", fields, headers=HTMX)
    held = hold_claims(dataset=pictures, reviewer=teammate, filters=QueueFilter(), hold=3)
    as_teammate.post(f"/d/looks/review/{held[0].item_id}/skip/", headers=HTMX)
    one = {"item": held[1].item_id, "key": str(uuid4()), "decision": "keep", "seconds": 1}
    assert _send(as_teammate, "/d/looks/review/verdicts/", {"verdicts": [one]}).json()["results"][0]["status"] == 200
    as_teammate.post("/me/reveal/")
    exposure = Exposure.objects.get(person=teammate)
    assert (exposure.views, exposure.reveals) == (3, 1)
    assert 0 < exposure.sensitive_views <= 3


def test_after_the_daily_cap_only_harmless_images_are_offered_and_it_is_said(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    drawings, neutral = (pictures.taxonomy.classes.get(name=name) for name in ("drawings", "neutral"))
    harmless = ReviewItem.objects.filter(image__given_class=drawings)
    harmless.update(suggested_class=neutral)
    set_comfort(person=teammate, wishes=Wishes(daily_cap=1))
    Exposure.objects.create(person=teammate, day="2000-01-01", sensitive_views=50)
    assert len(_send(as_teammate, "/d/looks/review/next/", {}).json()["items"]) == HOLD
    with mock.patch("reviewer.exposure.exposure_today") as today:
        today.return_value = mock.Mock(reached=True, sensitive_views=1)
        answer = _send(as_teammate, "/d/looks/review/next/", {}).json()
        page = text(as_teammate.get("/d/looks/review/", headers=HTMX))
    assert {one["item"] for one in answer["items"]} == set(harmless.values_list("pk", flat=True))
    assert "which is your limit" in answer["progress"]["notice"]
    assert answer["progress"]["capped"] is True
    assert "which is your limit" in page


def test_a_break_is_suggested_after_so_many_minutes(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    with mock.patch("reviewer.exposure.minutes_without_pause", return_value=51):
        assert (
            "51 minutes without a break" in _send(as_teammate, "/d/looks/review/next/", {}).json()["progress"]["notice"]
        )
        set_comfort(person=teammate, wishes=Wishes(break_minutes=0))
        assert _send(as_teammate, "/d/looks/review/next/", {}).json()["progress"]["notice"] == ""


def test_a_higher_rank_to_shield_from_shows_milder_classes(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    shielded = sum(one["shielded"] for one in _send(as_teammate, "/d/looks/review/next/", {}).json()["items"])
    set_comfort(person=teammate, wishes=Wishes(shield_from_rank=9))
    assert shielded > 0
    assert not any(one["shielded"] for one in _send(as_teammate, "/d/looks/review/next/", {}).json()["items"])
