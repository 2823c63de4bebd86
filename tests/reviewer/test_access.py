"""Who sees what: an outsider cannot tell that a dataset exists, a wrong role is told which one it takes."""

import re
from typing import Any

import pytest
from django.test import Client

from labeling.models import Dataset, Image, Person, Release, Run, RunKind
from tests.reviewer.conftest import text

MEMBER_PAGES = [
    "/d/looks/",
    "/d/looks/review/",
    "/d/looks/images/",
    "/d/looks/images/{image}/",
    "/d/looks/images/{image}/file",
    "/d/looks/releases/",
    "/d/looks/releases/1.0..1.1/",
    "/d/looks/duplicates/",
    "/d/looks/sources/",
    "/d/looks/audit/",
    "/d/looks/policy/",
    "/d/looks/evaluations/",
    "/d/looks/loop/",
    "/d/looks/interchange/",
    "/d/looks/models/",
    "/runs/{run}/",
]
POSTS = [
    "/d/looks/score/",
    "/d/looks/find-issues/",
    "/d/looks/releases/cut/",
    "/d/looks/review/claim/",
    "/d/looks/review/undo/",
    "/d/looks/review/leave/",
    "/d/looks/review/{item}/skip/",
    "/d/looks/review/{item}/separate/",
    "/d/looks/order/",
    "/d/looks/rerank/",
    "/d/looks/settings/quality/",
    "/d/looks/audit/draw/",
    "/d/looks/policy/save/",
    "/d/looks/policy/sample/",
    "/d/looks/audit/estimate/",
    "/d/looks/duplicates/{image}/decide/",
    "/d/looks/sources/1/decide/",
    "/d/looks/bulk/1/revert/",
    "/d/looks/evaluations/start/",
    "/d/looks/loop/start/",
    "/d/looks/loop/promote/",
    "/d/looks/loop/rollback/",
    "/d/looks/interchange/verdicts/",
    "/d/looks/review/{item}/verdict/",
    "/runs/{run}/stop/",
]


def _fill(url: str, dataset: Dataset) -> str:
    image = Image.objects.filter(dataset=dataset).order_by("pk").first()
    assert image is not None
    run, _ = Run.objects.get_or_create(dataset=dataset, kind=RunKind.IMPORT)
    if ".." in url:
        for minor in (0, 1):
            Release.objects.create(dataset=dataset, major=1, minor=minor, content_hash="", ratios=[80, 10, 10])
    return url.format(image=image.pk, run=run.pk, item=image.item.pk)


@pytest.mark.parametrize("url", ["/", "/runs/", "/me/", *MEMBER_PAGES])
def test_it_asks_everybody_to_sign_in_first(url: str, pictures: Dataset, client: Client) -> None:
    url = _fill(url, pictures)

    response = client.get(url)

    assert response.status_code == 302
    assert response.headers["Location"] == f"/sign-in/?next={url}"


@pytest.mark.parametrize("url", MEMBER_PAGES)
def test_it_serves_a_member(url: str, pictures: Dataset, as_teammate: Client) -> None:
    response = as_teammate.get(_fill(url, pictures))

    assert response.status_code == 200
    response.close()


@pytest.mark.parametrize("url", MEMBER_PAGES)
def test_it_answers_an_outsider_as_if_there_were_nothing(url: str, pictures: Dataset, as_outsider: Client) -> None:
    response = as_outsider.get(_fill(url, pictures))

    assert response.status_code == 404
    assert "looks" not in text(response)
    assert _without_token(response) == _without_token(as_outsider.get("/d/no-such-dataset/"))


def _without_token(response: Any) -> str:
    return re.sub(r'"X-CSRFToken": "\w+"', "", text(response))


@pytest.mark.parametrize("url", POSTS)
def test_it_takes_nothing_from_an_outsider(url: str, pictures: Dataset, as_outsider: Client) -> None:
    assert as_outsider.post(_fill(url, pictures)).status_code == 404


@pytest.mark.parametrize("url", POSTS)
def test_it_changes_nothing_by_get(url: str, pictures: Dataset, as_owner: Client) -> None:
    assert as_owner.get(_fill(url, pictures)).status_code == 405


@pytest.mark.parametrize(
    "url", ["/d/looks/score/", "/d/looks/find-issues/", "/d/looks/releases/cut/", "/d/looks/releases/1/export/"]
)
def test_it_tells_a_member_which_role_it_takes(url: str, as_teammate: Client) -> None:
    response = as_teammate.post(url)

    assert response.status_code == 403
    assert "ML engineer" in text(response)


def test_it_lets_only_engineers_and_the_starter_stop_a_run(
    pictures: Dataset, teammate: Person, as_owner: Client, as_teammate: Client
) -> None:
    run = Run.objects.create(dataset=pictures, kind=RunKind.SCORE)

    assert as_teammate.post(f"/runs/{run.pk}/stop/").status_code == 403
    assert as_owner.post(f"/runs/{run.pk}/stop/").status_code == 302
    run.refresh_from_db()
    assert run.state == "stopped"


def test_it_hides_the_buttons_that_a_role_may_not_use(as_owner: Client, as_teammate: Client) -> None:
    assert "/d/looks/score/" in text(as_owner.get("/d/looks/"))
    assert "/d/looks/score/" not in text(as_teammate.get("/d/looks/"))


def test_it_lists_only_the_datasets_of_the_person(as_teammate: Client, as_outsider: Client) -> None:
    assert 'href="/d/looks/"' in text(as_teammate.get("/"))
    nothing = text(as_outsider.get("/"))
    assert 'href="/d/looks/"' not in nothing
    assert "manage.py demo" in nothing
    assert "manage.py import_images" in nothing
