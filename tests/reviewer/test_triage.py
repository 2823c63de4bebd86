"""The triage page, and what focus mode tells about an unknown image."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from labeling.actions.claims import hold_claims
from labeling.actions.verdicts import record_verdict
from labeling.models import Claim, Dataset, Image, Person, ReviewItem, VerdictKind
from labeling.pipeline.policies import apply_policy, default_definition, model_for_policy, save_policy
from labeling.queries.triage import UNKNOWN
from tests.reviewer.conftest import text
from tests.scored import a_model, adult_scores, score_images


@pytest.fixture
def sorted_pictures(pictures: Dataset) -> Dataset:
    images = list(pictures.images.order_by("pk"))
    score_images(pictures, images, adult_scores(*(number / 10 for number in range(len(images)))), a_model(pictures))
    model = model_for_policy(pictures)
    save_policy(pictures, default_definition(model), model, expected=0)
    apply_policy(pictures)
    return pictures


def test_without_a_policy_it_says_what_to_do_next(pictures: Dataset, as_teammate: Client, as_owner: Client) -> None:
    assert "An ML engineer sets one" in text(as_teammate.get("/d/looks/triage/"))
    assert "Score the images →" in text(as_owner.get("/d/looks/triage/"))


def test_it_shows_what_waits_and_starts_in_either_order(sorted_pictures: Dataset, as_teammate: Client) -> None:
    page = text(as_teammate.get("/d/looks/triage/"))
    assert "5 unknown images wait" in page
    assert "None waits for longer than 24 hours" in page
    started = as_teammate.post("/d/looks/review/claim/?band=unknown&order=riskiest", follow=True)
    assert "unknown</b> band" in text(started)
    assert "waits 0" in text(started)


def test_overdue_images_are_said_to_be(sorted_pictures: Dataset, as_owner: Client) -> None:
    Image.objects.update(imported_at=timezone.now() - timedelta(hours=30))
    assert "5</b> wait for longer than 24 hours" in text(as_owner.get("/d/looks/triage/"))
    assert as_owner.post("/d/looks/triage/within/", {"hours": "36"}).status_code == 302
    assert "None waits for longer than 36 hours" in text(as_owner.get("/d/looks/triage/"))


@pytest.mark.parametrize("hours", ["", "0", "soon", "99999"])
def test_hours_that_are_none_change_nothing(hours: str, sorted_pictures: Dataset, as_owner: Client) -> None:
    answer = as_owner.post("/d/looks/triage/within/", {"hours": hours}, follow=True)
    assert "Nothing was changed" in text(answer)
    assert Dataset.objects.get().triage_hours == 24


def test_only_an_engineer_says_how_soon(sorted_pictures: Dataset, as_teammate: Client) -> None:
    assert as_teammate.post("/d/looks/triage/within/", {"hours": "2"}).status_code == 403


def test_a_decision_on_a_near_duplicate_is_shown_beside_the_image(
    sorted_pictures: Dataset, teammate: Person, owner: Person, as_teammate: Client
) -> None:
    one, other = (claim.item for claim in hold_claims(dataset=sorted_pictures, reviewer=owner, filters=UNKNOWN, hold=2))
    record_verdict(item=one, reviewer=owner, kind=VerdictKind.EXCLUDE, label=None, key=uuid4(), seconds=1)
    Image.objects.filter(pk__in=[one.image_id, other.image_id]).update(duplicate_group=one.image_id)
    Claim.objects.all().delete()
    ReviewItem.objects.exclude(pk__in=[one.pk, other.pk]).delete()
    page = text(as_teammate.post("/d/looks/review/claim/?band=unknown", follow=True))
    assert "A near duplicate was decided before: excluded, by owner on" in page
