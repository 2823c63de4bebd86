"""What a hostile or an unlucky request must not do."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.test import Client

from labeling.actions.people import set_shield
from labeling.models import Dataset, Person
from tests.reviewer.conftest import first_claim

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "url",
    [
        "/d/looks/images/?split=%00",
        "/d/looks/images/?label=%00",
        "/d/looks/review/?split=%00",
        "/d/looks/review/?given=%00&suggested=%00",
    ],
)
def test_a_filter_that_no_database_can_hold_finds_nothing_and_breaks_nothing(as_owner: Client, url: str) -> None:
    # PostgreSQL refuses NUL in a text, which was a server error.
    assert as_owner.get(url).status_code in {200, 400, 404}


def test_claiming_with_such_a_filter_breaks_nothing(as_owner: Client) -> None:
    assert as_owner.post("/d/looks/review/claim/?split=%00").status_code in {302, 400, 404}


@pytest.mark.parametrize("digits", [30, 4000, 5000])
def test_a_number_longer_than_python_reads_is_no_server_error(as_owner: Client, digits: int) -> None:
    number = "9" * digits
    for url in (f"/d/looks/images/?after={number}", f"/runs/?before={number}"):
        assert as_owner.get(url).status_code in {200, 400, 404}


def test_a_key_used_for_another_item_is_answered_in_words(
    pictures: Dataset, teammate: Person, browse: Callable[[Person], Client]
) -> None:
    client, key = browse(teammate), str(uuid4())
    set_shield(person=teammate, shield=False)
    for _ in range(2):
        item = first_claim(pictures, teammate).item
        answer = client.post(
            f"/d/looks/review/{item.pk}/verdict/", {"decision": "keep", "key": key}, headers={"HX-Request": "true"}
        )
        assert answer.status_code == 200
    assert "already used for another decision" in answer.content.decode()
