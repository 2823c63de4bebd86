"""People: accounts, memberships and one-time sign-in links."""

from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ValidationError
from django.db import transaction

from labeling.errors import WrongUsage
from labeling.models import Dataset, Membership, Person, Role

MOVABLE = tuple("1234567890abcdefghijklmnopqrstuvwxyz")
"""The keys that a person may move; Enter, Space, Escape, the arrows, + and - stay where they are."""


class _SignInTokens(PasswordResetTokenGenerator):
    """A token that stops being valid at the next sign-in (it hashes `last_login`), or after a day."""

    key_salt = "labeling.actions.people.SignInTokens"


_tokens = _SignInTokens()


def make_sign_in_token(person: Person) -> str:
    return _tokens.make_token(person)


def check_sign_in_token(person: Person, token: str) -> bool:
    """Whether the token is unused, fresh and of this person."""
    return person.is_active and _tokens.check_token(person, token)


def add_person(*, name: str, superuser: bool = False) -> tuple[Person, bool]:
    """The person of this name, made without a password when there is none yet.

    Returns:
        the person, and whether it was made now. Without a password one signs in by a link.

    Raises:
        WrongUsage: the name is empty, too long, or has characters that a name may not have.
    """
    try:
        Person._meta.get_field("username").clean(name, None)
    except ValidationError as error:
        raise WrongUsage(f"{name[:40]!r} cannot be a name: {' '.join(error.messages)}") from error
    with transaction.atomic():
        person, created = Person.objects.get_or_create(
            username=name, defaults={"is_superuser": superuser, "is_staff": superuser}
        )
        if created:
            person.set_unusable_password()
            person.save(update_fields=["password"])
        return person, created


def set_theme(*, person: Person, theme: str) -> None:
    person.theme = theme
    person.save(update_fields=["theme"])


def set_shield(*, person: Person, shield: bool) -> None:
    """Whether images of harmful classes are blurred and grey until this person reveals them."""
    person.shield = shield
    person.save(update_fields=["shield"])


def set_keys(*, person: Person, keys: dict[str, str]) -> None:
    """Where the keys lie that this person has moved.

    Args:
        keys: a letter or digit of Winnow's own map → where it is to lie. What is not named keeps its place, or goes
            where a moved one came from, so that no key is lost.

    Raises:
        WrongUsage: a place that is no letter or digit, or two keys at one place.
    """
    for own, place in keys.items():
        if own not in MOVABLE or place not in MOVABLE:
            raise WrongUsage(f"Expected a letter or digit as a key, received {place[:20]!r}.")
    if len(set(keys.values())) < len(keys):
        twice = next(place for place in keys.values() if list(keys.values()).count(place) > 1)
        raise WrongUsage(f"{twice.upper()} was chosen for two keys; each needs a place of its own.")
    # Whoever is pushed from its place goes along the chain to the place that became free.
    whole = dict(keys)
    for own in MOVABLE:
        if own in whole:
            continue
        place = own
        while place in keys.values():
            place = next(pushing for pushing, where in keys.items() if where == place)
        whole[own] = place
    person.keys = {own: place for own, place in whole.items() if own != place}
    person.save(update_fields=["keys"])


def set_role(*, dataset: Dataset, person: Person, role: Role) -> Membership:
    """Make the person a member of the dataset with this role, or change the role."""
    with transaction.atomic():
        membership, _ = Membership.objects.update_or_create(dataset=dataset, person=person, defaults={"role": role})
        return membership


def set_senior(*, dataset: Dataset, person: Person, senior: bool) -> None:
    """Whether the person settles disagreements; verdicts keep what their giver was when they gave them.

    Raises:
        WrongUsage: the person is no member of the dataset.
    """
    with transaction.atomic():
        changed = Membership.objects.filter(dataset=dataset, person=person).update(senior=senior)
    if not changed:
        raise WrongUsage(f"{person.username} is no member of {dataset.slug}, so cannot be a senior of it.")


def remove_member(*, dataset: Dataset, person: Person) -> bool:
    """Take the membership away, with the claims; the person's verdicts stay."""
    with transaction.atomic():
        person.claims.filter(item__dataset=dataset).delete()
        removed, _ = Membership.objects.filter(dataset=dataset, person=person).delete()
        return bool(removed)
