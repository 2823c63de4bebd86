"""Fetch and authorise in one call: what a person may not know of does not exist for them."""

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404

from labeling.models import Dataset, Membership, Person, Role

REVIEWERS = (Role.ANNOTATOR, Role.MODERATOR, Role.ML)
ENGINEERS = (Role.ML,)


@dataclass(frozen=True)
class DatasetAccess:
    dataset: Dataset
    role: Role
    senior: bool = False

    @property
    def is_engineer(self) -> bool:
        return self.role in {Role.ML, Role.ADMIN}

    @property
    def may_adjudicate(self) -> bool:
        """Whether this person's verdict alone may settle what others disagree about: a lead's, or a senior's."""
        return self.is_engineer or self.senior


def access_dataset(person: Person | AnonymousUser, slug: str, *roles: Role) -> DatasetAccess:
    """The dataset and the person's role in it.

    Args:
        roles: the roles that may go on; none means every member. An admin always may.

    Raises:
        Http404: there is no such dataset, or the person is not a member: the two cannot be told apart.
        PermissionDenied: a member whose role is not among `roles`.
    """
    dataset = Dataset.objects.select_related("taxonomy").filter(slug=slug).first()
    if dataset is None or not isinstance(person, Person) or not person.is_active:
        raise Http404("No such dataset.")
    role, senior = _standing(person, dataset)
    if role is None:
        raise Http404("No such dataset.")
    if roles and role is not Role.ADMIN and role not in roles:
        wanted = " or ".join(Role(wanted).label for wanted in roles)
        raise PermissionDenied(
            f"This needs the role {wanted} in {dataset.slug}; yours is {role.label}. An admin can change it."
        )
    return DatasetAccess(dataset, role, senior)


def access_escalations(person: Person | AnonymousUser) -> Person:
    """The person, if they may see and decide what is in quarantine.

    The permission is a flag of its own: no role in a dataset brings it, and being a superuser does not either. Running
    a machine is no reason to see what may be illegal, and whoever sees it is to be named beforehand.

    Raises:
        Http404: they may not; for them there is no such page.
    """
    if not isinstance(person, Person) or not person.is_active or not person.escalations:
        raise Http404("No such page.")
    return person


def role_in(person: Person, dataset: Dataset) -> Role | None:
    """The person's role in the dataset, None for an outsider; a superuser is an admin everywhere."""
    return _standing(person, dataset)[0]


def may_adjudicate(person: Person, dataset: Dataset) -> bool:
    """Whether this person's verdict alone may settle what others disagree about: a lead's, or a senior's."""
    role, senior = _standing(person, dataset)
    return role is not None and DatasetAccess(dataset, role, senior).may_adjudicate


def datasets_of(person: Person) -> QuerySet[Dataset]:
    """The datasets that exist for this person."""
    datasets = Dataset.objects.select_related("taxonomy").order_by("slug")
    return datasets if person.is_superuser else datasets.filter(memberships__person=person)


def _standing(person: Person, dataset: Dataset) -> tuple[Role | None, bool]:
    """The person's role, and whether they are a senior; one SQL query at most."""
    if person.is_superuser:
        return Role.ADMIN, False
    membership = Membership.objects.filter(dataset=dataset, person=person).first()
    return (Role(membership.role), membership.senior) if membership else (None, False)
