"""Audit, duplicates, sources and settings through their URLs."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from labeling.actions.claims import hold_claims
from labeling.models import (
    BulkAction,
    Dataset,
    Image,
    ItemState,
    LabelIssue,
    Person,
    ReviewItem,
    Run,
    RunKind,
    Source,
    Verdict,
)
from labeling.pipeline.auditing import draw_audit, estimate_remaining
from labeling.pipeline.ordering import represent
from labeling.queue_filter import QueueFilter
from tests.reviewer.conftest import first_claim, text

HTMX = {"HX-Request": "true"}
BLIND = "/d/looks/review/?audit=1"


@pytest.fixture
def audited(pictures: Dataset) -> Dataset:
    draw_audit(pictures, half_width=0.2)
    return pictures


def _group(dataset: Dataset) -> ReviewItem:
    items = list(ReviewItem.objects.order_by("priority")[:3])
    Image.objects.filter(item__in=items).update(duplicate_group_id=items[0].image_id)
    represent(dataset)
    return items[0]


def test_a_blind_item_gives_nothing_away(audited: Dataset, teammate: Person, as_teammate: Client) -> None:
    """Not the label, the suggestion, the reason, the score, nor by which button is which."""
    claim = hold_claims(dataset=audited, reviewer=teammate, filters=QueueFilter(audit=True), hold=6)[0]
    page = text(as_teammate.get(BLIND, headers=HTMX))
    item = claim.item
    assert "which class is it?" in page
    for secret in (item.reason, "chip-given", "chip-suggested", "is-given", "is-suggested", "shown_suggestion"):
        assert secret not in page
    assert 'value="keep"' not in page
    assert f'/images/{item.image_id}/"' not in page
    assert 'data-keys="1 ' not in page
    # Two images of different labels give the same page, but for the numbers in it.
    other = item
    while other.image.given_class_id == item.image.given_class_id:
        as_teammate.post(f"/d/looks/review/{other.pk}/skip/?audit=1", headers=HTMX)
        other = hold_claims(dataset=audited, reviewer=teammate, filters=QueueFilter(audit=True), hold=6)[0].item
    assert _without_numbers(text(as_teammate.get(BLIND, headers=HTMX))) == _without_numbers(page)


def _without_numbers(page: str) -> str:
    page = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)
    page = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|v=[0-9a-f]{12}", "", page)
    return re.sub(r"\d+", "", page)


def test_a_blind_answer_is_kept_as_blind_and_an_agreeing_one_as_keep(
    audited: Dataset, teammate: Person, as_teammate: Client
) -> None:
    [claim] = hold_claims(dataset=audited, reviewer=teammate, filters=QueueFilter(audit=True), hold=1)
    given = claim.item.image.given_class.name
    response = as_teammate.post(
        f"/d/looks/review/{claim.item_id}/verdict/?audit=1",
        {"decision": f"relabel:{given}", "key": str(uuid4())},
        headers=HTMX,
    )
    verdict = Verdict.objects.get()
    assert (verdict.kind, verdict.blind, verdict.shown_suggestion_id) == ("keep", True, None)
    assert "kept" not in text(response)  # Whether one agreed with the label would tell about the next image, too.


def test_the_audit_page_goes_from_nothing_over_a_draw_to_numbers(pictures: Dataset, as_owner: Client) -> None:
    page = text(as_owner.get("/d/looks/audit/"))
    assert "Draw the sample" in page
    as_owner.post("/d/looks/audit/draw/", {"half_width": "20"})
    run = Run.objects.get(kind=RunKind.AUDIT)
    assert run.parameters == {"half_width": 0.2, "extend": False}
    draw_audit(pictures, half_width=0.2, queued=run)
    page = text(as_owner.get("/d/looks/audit/"))
    assert "images blind" in page
    assert "Extend the sample" in page


def test_the_overview_says_how_many_errors_remain_with_the_interval(
    audited: Dataset, teammate: Person, as_teammate: Client
) -> None:
    assert "audit images are judged" in text(as_teammate.get("/d/looks/"))
    for claim in hold_claims(dataset=audited, reviewer=teammate, filters=QueueFilter(audit=True), hold=10):
        as_teammate.post(
            f"/d/looks/review/{claim.item_id}/verdict/?audit=1",
            {"decision": f"relabel:{claim.item.image.given_class.name}", "key": str(uuid4())},
        )
    estimates = estimate_remaining(audited)
    page = text(as_teammate.get("/d/looks/"))
    assert f"{estimates.remaining.point:.0f} errors left" in page
    assert f"({estimates.remaining.low:.0f}–{estimates.remaining.high:.0f}, 95 %)" in page
    assert "errors left (95 %)" in text(as_teammate.get("/d/looks/audit/"))


@pytest.mark.parametrize("width", ["", "0", "-1", "abc", "nan", "99"])
def test_a_width_that_is_none_draws_nothing_and_says_so(width: str, pictures: Dataset, as_owner: Client) -> None:
    response = as_owner.post("/d/looks/audit/draw/", {"half_width": width}, follow=True)
    assert "Nothing was drawn" in text(response)
    assert not Run.objects.filter(kind=RunKind.AUDIT).exists()


def test_an_annotator_may_not_draw_order_or_decide_a_source(pictures: Dataset, as_teammate: Client) -> None:
    source = Source.objects.create(dataset=pictures, name="example.org")
    for url in (
        "/d/looks/audit/draw/",
        "/d/looks/order/",
        "/d/looks/rerank/",
        "/d/looks/settings/quality/",
        f"/d/looks/sources/{source.pk}/decide/",
    ):
        assert as_teammate.post(url, {}).status_code == 403
    assert as_teammate.get("/d/looks/settings/").status_code == 403


def test_the_focus_page_shows_the_group_that_a_verdict_settles(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    item = _group(pictures)
    assert first_claim(pictures, teammate).item == item
    page = text(as_teammate.get("/d/looks/review/", headers=HTMX))
    assert "Settles 2 near duplicates too" in page
    response = as_teammate.post(
        f"/d/looks/review/{item.pk}/verdict/", {"decision": "exclude", "key": str(uuid4())}, headers=HTMX
    )
    assert "with 2 near duplicates" in text(response)
    assert Image.objects.filter(excluded=True).count() == 3


def test_images_that_are_not_alike_are_set_apart(pictures: Dataset, teammate: Person, as_teammate: Client) -> None:
    item = _group(pictures)
    first_claim(pictures, teammate)
    response = as_teammate.post(f"/d/looks/review/{item.pk}/separate/", headers=HTMX)
    assert "2 images are now reviewed by themselves" in text(response)
    assert not ReviewItem.objects.filter(represented_by__isnull=False).exists()


def test_a_conflicting_group_is_decided_and_taken_back(pictures: Dataset, as_teammate: Client) -> None:
    item = _group(pictures)
    page = text(as_teammate.get("/d/looks/duplicates/?show=conflicts"))
    assert "labelled drawings and hentai and neutral" in page
    done = as_teammate.post(
        f"/d/looks/duplicates/{item.image_id}/decide/",
        {"decision": "relabel:porn", "key": str(uuid4())},
        follow=True,
    )
    assert "3 images of the near-duplicate group" in text(done)
    assert Image.objects.filter(current_class__name="porn", duplicate_group=item.image_id).count() == 3
    act = BulkAction.objects.get()
    back = as_teammate.post(f"/d/looks/bulk/{act.pk}/revert/", {"key": str(uuid4())}, follow=True)
    assert "Taken back: 3 verdicts" in text(back)
    assert set(ReviewItem.objects.values_list("state", flat=True)) == {ItemState.OPEN}


def test_only_its_author_or_an_engineer_takes_a_bulk_action_back(
    pictures: Dataset, as_owner: Client, as_teammate: Client
) -> None:
    source = Source.objects.create(dataset=pictures, name="example.org")
    Image.objects.filter(dataset=pictures).update(source=source)
    page = text(as_owner.get("/d/looks/sources/"))
    assert "example.org" in page
    sent = {"decision": "exclude", "key": str(uuid4())}
    done = as_owner.post(f"/d/looks/sources/{source.pk}/decide/", sent, follow=True)
    assert "10 images of example.org excluded" in text(done)
    act = BulkAction.objects.get()
    assert as_teammate.post(f"/d/looks/bulk/{act.pk}/revert/", {"key": str(uuid4())}).status_code == 403
    as_owner.post(f"/d/looks/bulk/{act.pk}/revert/", {"key": str(uuid4())})
    assert not Image.objects.filter(excluded=True).exists()
    page = text(as_owner.get("/d/looks/sources/"))
    assert "Bring it again" in page


@pytest.mark.parametrize("decision", ["", "relabel:cat", "undo", "relabel:", "unsure"])
def test_a_bulk_decision_that_is_none_changes_nothing(decision: str, pictures: Dataset, as_owner: Client) -> None:
    source = Source.objects.create(dataset=pictures, name="example.org")
    Image.objects.filter(dataset=pictures).update(source=source)
    sent = {"decision": decision, "key": str(uuid4())}
    done: Any = as_owner.post(f"/d/looks/sources/{source.pk}/decide/", sent, follow=True)
    assert "Not saved" in text(done)
    assert not Verdict.objects.exists()


def test_thresholds_are_changed_on_the_settings_page(pictures: Dataset, as_owner: Client) -> None:
    page = text(as_owner.get("/d/looks/settings/"))
    names = [line.split('"')[0] for line in page.split('name="')[1:] if line.split('"')[0] != "csrfmiddlewaretoken"]
    values = {name: "0.5" if name == "dark" else _value(page, name) for name in names if name != "order"}
    done = as_owner.post("/d/looks/settings/quality/", values, follow=True)
    assert "Find issues again" in text(done)
    assert Dataset.objects.get(pk=pictures.pk).quality_thresholds == {"dark": 0.5}
    refused = as_owner.post("/d/looks/settings/quality/", values | {"aspect_ratio": "0.1"}, follow=True)
    assert "Not a threshold" in text(refused)


def _value(page: str, name: str) -> str:
    field = page.split(f'name="{name}"')[1]
    return field.split('value="')[1].split('"')[0]


def test_issues_of_a_kind_are_reviewed_through_the_overview(pictures: Dataset, as_owner: Client) -> None:
    item = ReviewItem.objects.order_by("priority").last()
    assert item is not None
    ReviewItem.objects.update(suspected=False)
    LabelIssue.objects.create(run=item.run, image=item.image, kind="outlier", reason="off-topic?")
    assert "/d/looks/review/?issue=outlier" in text(as_owner.get("/d/looks/"))
    assert "1 image to review" in text(as_owner.get("/d/looks/review/?issue=outlier"))


def test_the_queue_is_ordered_by_a_named_strategy(pictures: Dataset, as_owner: Client) -> None:
    as_owner.post("/d/looks/order/", {"order": "expected_cost"})
    assert Run.objects.get(kind=RunKind.REORDER).parameters == {"order": "expected_cost"}
    refused = as_owner.post("/d/looks/order/", {"order": "by mood"}, follow=True)
    assert "The order is one of evaluation_first" in text(refused)
