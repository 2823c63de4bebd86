"""Escalations: images that may be illegal, out of everybody's sight until restricted staff decide."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.image import Image
from labeling.models.review import ReviewItem


class EscalationState(models.TextChoices):
    OPEN = "open", "waits for two people"
    KEPT = "kept", "kept in quarantine"
    RELEASED = "released", "released"


def escalation_state_choices() -> list[tuple[str, str]]:
    return EscalationState.choices


class Escalation(models.Model):
    """One case: bytes that somebody escalated, and every image that has them, in whatever dataset.

    `state`, `legal_hold` and `purged_at` are the fold of its events; only `actions.escalations` writes them and
    `check_integrity` recomputes them. Our own copies are kept until `retain_until`, and longer under a legal hold.
    """

    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=20, choices=escalation_state_choices, default=EscalationState.OPEN)
    legal_hold = models.BooleanField(default=False)
    retain_until = models.DateTimeField()
    purged_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sha256"], condition=~Q(state="released"), name="escalation_one_at_a_time"),
        ]

    def __str__(self) -> str:
        return f"case {self.pk}"


class Quarantine(models.Model):
    """An image in quarantine: `models.visible` leaves it out everywhere, because of this row.

    `item` is the image's review item, if it is ranked; repeated here so that hiding it takes no join.
    """

    image = models.OneToOneField(Image, on_delete=models.PROTECT, primary_key=True, related_name="quarantine")
    item = models.OneToOneField(ReviewItem, on_delete=models.PROTECT, null=True, related_name="quarantine")
    escalation = models.ForeignKey(Escalation, on_delete=models.PROTECT, related_name="quarantined")

    def __str__(self) -> str:
        return f"quarantine of case {self.escalation_id}"


class EscalationEventKind(models.TextChoices):
    ESCALATED = "escalated", "escalated an image"
    FOUND = "found", "another image with these bytes was found"
    LISTED = "listed", "looked at the list of cases"
    OPENED = "opened", "opened the case"
    LOOKED = "looked", "looked at the image"
    FOR_RELEASE = "for_release", "is for releasing it"
    FOR_KEEPING = "for_keeping", "is for keeping it"
    HOLD_ON = "hold_on", "put it under legal hold"
    HOLD_OFF = "hold_off", "ended the legal hold"
    EXPORTED = "exported", "took the case file, without the image"
    EXPORTED_IMAGE = "exported_image", "took the case file with the image"
    PURGED = "purged", "our copies were removed"
    GRANTED = "granted", "was given the permission"
    WITHDRAWN = "withdrawn", "lost the permission"


def escalation_event_kind_choices() -> list[tuple[str, str]]:
    return EscalationEventKind.choices


class EscalationEvent(models.Model):
    """What somebody did about a case, or saw of it; rows are only ever added (a database trigger refuses changes).

    `escalation` is null for what is about no single case: a look at the list, a permission. `person` is null for what
    Winnow did by itself.
    """

    escalation = models.ForeignKey(Escalation, on_delete=models.PROTECT, null=True, related_name="events")
    kind = models.CharField(max_length=20, choices=escalation_event_kind_choices)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, null=True, related_name="+")
    note = models.CharField(max_length=1000, blank=True)
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["escalation", "id"], name="escalation_event_log")]

    def __str__(self) -> str:
        return f"{self.kind} of case {self.escalation_id}"
