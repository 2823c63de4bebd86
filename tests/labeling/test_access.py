"""Who may see what: an outsider finds nothing, a wrong role is told so."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404

from labeling.access import ENGINEERS, access_dataset, datasets_of
from labeling.actions.people import add_person, check_sign_in_token, make_sign_in_token, remove_member, set_role
from labeling.models import Dataset, Person, Role
from tests.conftest import member


def test_a_member_gets_the_dataset_and_their_role(dataset: Dataset, anna: Person) -> None:
    access = access_dataset(anna, "looks")
    assert (access.dataset, access.role, access.is_engineer) == (dataset, Role.ANNOTATOR, False)


def test_an_outsider_cannot_tell_a_dataset_from_none(dataset: Dataset) -> None:
    outsider = Person.objects.create(username="olga")
    with pytest.raises(Http404) as known:
        access_dataset(outsider, "looks")
    with pytest.raises(Http404) as unknown:
        access_dataset(outsider, "nothing")
    assert str(known.value) == str(unknown.value)
    with pytest.raises(Http404):
        access_dataset(AnonymousUser(), "looks")
    assert not datasets_of(outsider).exists()


def test_a_wrong_role_is_refused_and_told_which_is_needed(dataset: Dataset, anna: Person) -> None:
    with pytest.raises(PermissionDenied, match="needs the role ML engineer in looks; yours is annotator"):
        access_dataset(anna, "looks", *ENGINEERS)


def test_an_admin_may_everything_and_a_superuser_is_admin_everywhere(dataset: Dataset) -> None:
    assert access_dataset(member(dataset, "ada", Role.ADMIN), "looks", *ENGINEERS).is_engineer
    root, _ = add_person(name="root", superuser=True)
    assert access_dataset(root, "looks", *ENGINEERS).role is Role.ADMIN
    assert list(datasets_of(root)) == [dataset]


def test_a_deactivated_person_is_an_outsider(dataset: Dataset, anna: Person) -> None:
    anna.is_active = False
    with pytest.raises(Http404):
        access_dataset(anna, "looks")


def test_roles_change_and_memberships_end(dataset: Dataset, anna: Person) -> None:
    set_role(dataset=dataset, person=anna, role=Role.ML)
    assert access_dataset(anna, "looks", *ENGINEERS).role is Role.ML
    assert remove_member(dataset=dataset, person=anna)
    with pytest.raises(Http404):
        access_dataset(anna, "looks")


def test_a_sign_in_token_works_until_the_next_sign_in(dataset: Dataset, anna: Person) -> None:
    from django.contrib.auth.models import update_last_login

    token = make_sign_in_token(anna)
    assert check_sign_in_token(anna, token)
    assert not check_sign_in_token(Person.objects.create(username="eve"), token)
    update_last_login(Person, anna)
    assert not check_sign_in_token(anna, token)
