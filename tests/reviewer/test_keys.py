"""Moving keys: a permutation, so that none is lost, and refused in words."""

import pytest
from django.test import Client

from labeling.actions.people import MOVABLE, set_keys
from labeling.errors import WrongUsage
from labeling.models import Dataset, Person
from reviewer.forms import KeysForm
from tests.reviewer.conftest import text

OWN = {f"key_{own}": own for own in (*KeysForm.CLASSES, *KeysForm.ACTIONS)}


@pytest.mark.parametrize(
    ("wanted", "moved"),
    [
        ({"k": "j"}, {"k": "j", "j": "k"}),
        ({"k": "u", "u": "k"}, {"k": "u", "u": "k"}),
        ({"k": "u", "u": "j"}, {"k": "u", "u": "j", "j": "k"}),
        ({"1": "a", "2": "s", "s": "x", "x": "2"}, {"1": "a", "a": "1", "2": "s", "s": "x", "x": "2"}),
        ({"k": "k"}, {}),
    ],
)
def test_whoever_is_pushed_away_goes_where_the_other_came_from(
    wanted: dict[str, str], moved: dict[str, str], teammate: Person
) -> None:
    set_keys(person=teammate, keys=wanted)
    teammate.refresh_from_db()
    assert teammate.keys == moved
    assert sorted(teammate.keys.get(own, own) for own in MOVABLE) == sorted(MOVABLE)


@pytest.mark.parametrize("wanted", [{"k": "u", "x": "u"}, {"k": "?"}, {"k": ""}, {"?": "k"}, {"k": "é"}])
def test_two_keys_at_one_place_and_what_is_no_key_are_refused(wanted: dict[str, str], teammate: Person) -> None:
    with pytest.raises(WrongUsage):
        set_keys(person=teammate, keys=wanted)
    teammate.refresh_from_db()
    assert teammate.keys == {}


def test_keys_are_chosen_shown_everywhere_and_put_back(
    pictures: Dataset, teammate: Person, as_teammate: Client
) -> None:
    assert as_teammate.post("/me/keys/", OWN | {"key_k": "J"}).status_code == 302
    page = text(as_teammate.get("/d/looks/review/"))
    assert 'data-keys="j:k,k:j"' in page
    assert "<dt><kbd>J</kbd></dt><dd>keep the given label</dd>" in page
    assert 'value="J"' in text(as_teammate.get("/me/"))
    as_teammate.post("/me/keys/", {"reset": "1"})
    teammate.refresh_from_db()
    assert teammate.keys == {}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({"key_k": "u"}, "U was chosen for two keys"),
        ({"key_k": "?"}, "Expected a letter or digit"),
        ({"key_k": ""}, "This field is required"),
    ],
)
def test_a_choice_that_cannot_be_is_said_and_changes_nothing(
    sent: dict[str, str], why: str, teammate: Person, as_teammate: Client
) -> None:
    response = as_teammate.post("/me/keys/", OWN | sent)
    assert response.status_code == 422
    assert why in text(response)
    teammate.refresh_from_db()
    assert teammate.keys == {}
