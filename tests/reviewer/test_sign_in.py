"""Coming in by password and by one-time link."""

import pytest
from django.test import Client

from labeling.actions.people import make_sign_in_token
from labeling.models import Person
from tests.reviewer.conftest import text

PASSWORD = "a-long-password-1"


@pytest.fixture
def carol(db: None) -> Person:
    person = Person(username="carol")
    person.set_password(PASSWORD)
    person.save()
    return person


def test_it_signs_in_by_password_and_goes_where_one_wanted(carol: Person, client: Client) -> None:
    response = client.post("/sign-in/", {"username": "carol", "password": PASSWORD, "next": "/runs/"})

    assert response.headers["Location"] == "/runs/"


def test_it_never_redirects_to_another_site(carol: Person, client: Client) -> None:
    response = client.post("/sign-in/", {"username": "carol", "password": PASSWORD, "next": "//evil.example/"})

    assert response.headers["Location"] == "/"


def test_it_says_that_the_password_is_wrong_but_not_which_part(carol: Person, client: Client) -> None:
    wrong_password = client.post("/sign-in/", {"username": "carol", "password": "no"})
    wrong_name = client.post("/sign-in/", {"username": "nobody", "password": "no"})

    assert wrong_password.status_code == wrong_name.status_code == 422
    assert "The name or the password is wrong" in text(wrong_password)
    assert "The name or the password is wrong" in text(wrong_name)


def test_a_link_survives_being_looked_at_and_works_once(carol: Person, client: Client) -> None:
    link = f"/sign-in/{carol.pk}/{make_sign_in_token(carol)}/"

    assert "Sign in as carol" in text(client.get(link))
    assert client.get(link).status_code == 200, "a prefetch must not use the link up"
    assert client.post(link).headers["Location"] == "/"
    assert client.get("/me/").status_code == 200

    again = Client().post(link)
    assert again.status_code == 410
    assert "manage.py sign_in_link NAME" in text(again)


@pytest.mark.parametrize("link", ["/sign-in/1/nonsense/", "/sign-in/999999/nonsense/"])
def test_a_wrong_link_says_how_to_get_a_new_one_and_nothing_of_the_person(
    link: str, carol: Person, client: Client
) -> None:
    response = client.get(link)

    assert response.status_code == 410
    assert "carol" not in text(response)
    assert "manage.py sign_in_link NAME" in text(response)


def test_signing_out_takes_a_post(carol: Person, client: Client) -> None:
    client.force_login(carol)

    assert client.get("/sign-out/").status_code == 405
    client.post("/sign-out/")
    assert client.get("/me/").status_code == 302
