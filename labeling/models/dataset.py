"""Datasets, where their images come from, and the people who may see them."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models

from labeling.models.taxonomy import Taxonomy


class Theme(models.TextChoices):
    SYSTEM = "system", "as the system"
    DARK = "dark", "dark"
    LIGHT = "light", "light"


def theme_choices() -> list[tuple[str, str]]:
    return Theme.choices


class Person(AbstractUser):
    """Somebody who signs in. What a person may do is decided per dataset, by `Membership`.

    `keys` says where the keys lie that this person has moved, `{"k": "j", "j": "k"}`; a permutation.
    """

    theme = models.CharField(max_length=10, choices=theme_choices, default=Theme.SYSTEM)
    shield = models.BooleanField(default=True, help_text="Blur and grey images of harmful classes until revealed.")
    keys = models.JSONField(default=dict, blank=True)
    escalations = models.BooleanField(default=False, help_text="May see and decide what is in quarantine.")


class QueueOrder(models.TextChoices):
    """The strategies by which open items are ordered; `pipeline.ordering` computes them."""

    EVALUATION_FIRST = "evaluation_first", "validation and test first, then by expected cost"
    EXPECTED_COST = "expected_cost", "expected cost of the error"
    LABEL_QUALITY = "label_quality", "label quality alone"


def queue_order_choices() -> list[tuple[str, str]]:
    return QueueOrder.choices


class Consensus(models.TextChoices):
    """How the verdicts of several people on one image become one; `actions.standing` carries it out."""

    MAJORITY = "majority", "more than half agree"
    UNANIMOUS = "unanimous", "all agree"
    SENIOR = "senior", "a senior decides"
    DAWID_SKENE = "dawid_skene", "Dawid–Skene: weighed by how reliable each person is"


def consensus_choices() -> list[tuple[str, str]]:
    return Consensus.choices


class Dataset(models.Model):
    """A collection of images under one taxonomy.

    `quality_thresholds` overrides single thresholds of the image quality findings by name; an empty one changes none.
    Each image wants the verdicts of `verdicts_wanted` people, which `consensus` makes one of. `blind_share` of the
    images are shown without label and suggestion, and before `golden_rate` of them a golden image is shown. An image
    of the unknown band is to be decided within `triage_hours` of its arrival.
    """

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=200)
    taxonomy = models.ForeignKey(Taxonomy, on_delete=models.PROTECT, related_name="datasets")
    queue_order = models.CharField(max_length=30, choices=queue_order_choices, default=QueueOrder.EVALUATION_FIRST)
    quality_thresholds = models.JSONField(default=dict)
    verdicts_wanted = models.PositiveSmallIntegerField(default=1)
    consensus = models.CharField(max_length=20, choices=consensus_choices, default=Consensus.MAJORITY)
    blind_share = models.FloatField(default=0)
    golden_rate = models.FloatField(default=0)
    triage_hours = models.PositiveIntegerField(default=24)
    grouped_up_to = models.PositiveBigIntegerField(default=0, help_text="Near duplicates were sought to this image.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(verdicts_wanted__gte=1), name="dataset_wants_a_verdict"),
            models.CheckConstraint(
                condition=models.Q(blind_share__gte=0, blind_share__lte=1, golden_rate__gte=0, golden_rate__lte=1),
                name="dataset_shares_0_1",
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class Role(models.TextChoices):
    ANNOTATOR = "annotator", "annotator"
    MODERATOR = "moderator", "moderator"
    ML = "ml", "ML engineer"
    ADMIN = "admin", "admin"


def role_choices() -> list[tuple[str, str]]:
    return Role.choices


class Membership(models.Model):
    """A person's role in one dataset; without one the dataset does not exist for them."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="memberships")
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=role_choices)
    senior = models.BooleanField(default=False, help_text="Settles disagreements, and decides where a senior does.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "person"], name="membership_once"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} {self.role} of {self.dataset_id}"


class ImageRoot(models.Model):
    """A folder on this machine (or its mount) whose files are read in place and never written."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="roots")
    path = models.CharField(max_length=4096)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "path"], name="image_root_once"),
        ]

    def __str__(self) -> str:
        return self.path


class Source(models.Model):
    """Where images came from: a host, a scraper, a folder. Label noise is often a source's."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="sources")
    name = models.CharField(max_length=300)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "name"], name="source_once"),
        ]

    def __str__(self) -> str:
        return self.name
