"""The page where tokens are made and revoked: shown once, for those who lead the dataset."""

import re
from typing import Any

import pytest
from django.test import Client

from labeling.actions.reports import take_report
from labeling.actions.tokens import check_token, make_token
from labeling.errors import TokenRefused
from labeling.models import ApiToken, Dataset, ReportKind, Scope
from labeling.pipeline.delivering import watch, webhook_secret
from tests.reviewer.conftest import text

pytestmark = pytest.mark.django_db
SENT = {"name": "The shop", "scopes": ["predict", "report"], "per_minute": "60", "days": "30"}


def test_a_token_is_made_shown_once_and_works(as_owner: Client, pictures: Dataset) -> None:
    made = as_owner.post("/d/looks/programs/tokens/", SENT)

    found = re.search(r"winnow_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made.content.decode())
    assert found
    token = check_token(found[0], Scope.REPORT)
    assert (token.dataset, token.name, token.per_minute) == (pictures, "The shop", 60)
    assert token.expires_at is not None
    assert "no-store" in made.headers["Cache-Control"]
    again = text(as_owner.get("/d/looks/programs/"))
    assert found[0] not in again
    assert found[0].rpartition("_")[2][:12] not in again
    assert "The shop" in again


def test_a_revoked_token_is_refused_at_once(as_owner: Client, pictures: Dataset) -> None:
    made = as_owner.post("/d/looks/programs/tokens/", SENT).content.decode()
    found = re.search(r"winnow_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made)
    assert found

    as_owner.post(f"/d/looks/programs/tokens/{ApiToken.objects.get().pk}/revoke/")

    with pytest.raises(TokenRefused):
        check_token(found[0], Scope.REPORT)
    assert "revoked" in text(as_owner.get("/d/looks/programs/"))


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"scopes": []}, {"scopes": ["all"]}, {"per_minute": "0"}, {"days": "x"}]
)
def test_what_cannot_be_made_is_said_and_nothing_is_made(as_owner: Client, wrong: dict[str, object]) -> None:
    refused = as_owner.post("/d/looks/programs/tokens/", SENT | wrong)
    assert refused.status_code == 422
    assert 'role="alert"' in refused.content.decode()
    assert not ApiToken.objects.exists()


def test_only_those_who_lead_the_dataset_see_the_page(as_teammate: Client, as_outsider: Client) -> None:
    assert as_teammate.get("/d/looks/programs/").status_code == 403
    assert as_outsider.get("/d/looks/programs/").status_code == 404
    assert as_outsider.post("/d/looks/programs/tokens/", SENT).status_code == 404


def test_a_token_of_another_dataset_is_not_revoked_from_here(as_owner: Client, pictures: Dataset) -> None:
    other = Dataset.objects.create(slug="other", title="Other", taxonomy=pictures.taxonomy)
    token = ApiToken.objects.create(dataset=other, name="x", public_part="0" * 12, secret_sha256="", scopes=["predict"])
    assert as_owner.post(f"/d/looks/programs/tokens/{token.pk}/revoke/").status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_an_address_is_told_from_here_and_stopped_from_here(as_owner: Client, pictures: Dataset) -> None:
    as_owner.post("/d/looks/programs/webhooks/", {"url": "https://shop.example/told"})
    page = text(as_owner.get("/d/looks/programs/"))
    webhook = pictures.webhooks.get()
    assert "https://shop.example/told" in page
    assert webhook_secret(webhook) in page
    assert "API_WEBHOOKS" in page
    as_owner.post(f"/d/looks/programs/webhooks/{webhook.pk}/stop/")
    assert webhook_secret(webhook) not in text(as_owner.get("/d/looks/programs/"))


def test_what_is_no_address_is_said_beside_the_field(as_owner: Client, pictures: Dataset) -> None:
    refused = as_owner.post("/d/looks/programs/webhooks/", {"url": "ftp://shop.example/"})
    assert refused.status_code == 422
    assert "http://" in text(refused)
    assert not pictures.webhooks.exists()


def test_the_page_asks_as_many_questions_for_many_reports_as_for_few(
    as_owner: Client, pictures: Dataset, django_assert_max_num_queries: Any
) -> None:
    token, _ = make_token(dataset=pictures, name="The shop", scopes=[Scope.REPORT])
    watch(pictures, "https://shop.example/told", None)
    for image in pictures.images.all():
        take_report(token=token, image=image, kind=ReportKind.FALSE_POSITIVE, reason="no")
    with django_assert_max_num_queries(14):
        page = text(as_owner.get("/d/looks/programs/"))
    assert page.count("held back, but harmless") == 10
    assert "waits for review" in page
