"""The review queue: items, claims, and the append-only verdicts."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from labeling.models.dataset import Consensus, Dataset, consensus_choices
from labeling.models.image import Image
from labeling.models.run import Run
from labeling.models.taxonomy import TaxonomyClass
from labeling.models.visible import Everything, OfVisibleImages, OfVisibleItems, VisibleItems


class ItemState(models.TextChoices):
    OPEN = "open", "open"
    UNSURE = "unsure", "waits for a second person"
    DISPUTED = "disputed", "people disagree"
    SETTLED = "settled", "settled"


def item_state_choices() -> list[tuple[str, str]]:
    return ItemState.choices


class ReviewItem(models.Model):
    """An image waiting for people, with the order and the reason that its last `find_issues` run gave it.

    Every scored image has an item: the queue is a ranking, not a filter. `suspected` marks those that the run itself
    believes to be wrong. `priority` is the place in the dataset's order, low first. Of a near-duplicate group one
    item is shown, and the others are represented by it; its verdict is theirs too.

    `missing` verdicts are wanted yet; null while nobody has given one, when it is as many as the dataset wants.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="items")
    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="item")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=20, choices=item_state_choices, default=ItemState.OPEN)
    label_quality = models.FloatField(help_text="0..1, low = likely wrong.")
    risk = models.FloatField(default=0, help_text="Probability that the label is wrong, 0..1, as the run saw it.")
    suspected = models.BooleanField(default=False)
    suggested_class = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, related_name="+")
    given_class = models.ForeignKey(
        TaxonomyClass,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text="The image's own, which never changes; repeated here so that a confusion pair is one index range.",
    )
    reason = models.CharField(max_length=300)
    priority = models.FloatField(default=0)
    suspected_before = models.BooleanField(
        null=True,
        help_text="A person put the item first in the queue; what `suspected` was before that. Null: nobody did.",
    )
    missing = models.PositiveSmallIntegerField(null=True)
    represented_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="represents")
    stands_alone = models.BooleanField(default=False, help_text="A person said that it is unlike its group.")

    objects = VisibleItems()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(label_quality__gte=0, label_quality__lte=1), name="item_quality_0_1"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["dataset", "priority", "id"], name="item_queue", condition=~Q(state="settled")),
            models.Index(fields=["dataset", "suspected", "represented_by", "state"], name="item_progress"),
            models.Index(
                fields=["dataset", "suspected", "priority", "id"], name="item_suspects", condition=~Q(state="settled")
            ),
            models.Index(
                fields=["dataset", "given_class", "suggested_class", "priority", "id"],
                name="item_pair",
                condition=~Q(state="settled"),
            ),
            models.Index(
                fields=["dataset", "given_class", "suggested_class", "represented_by", "state"],
                name="item_pair_progress",
            ),
            # Of most items nobody is the representative: an index that counts those too tells planners that a
            # representative has a million near duplicates.
            models.Index(
                fields=["represented_by", "state"], name="item_represents", condition=Q(represented_by__isnull=False)
            ),
            models.Index(fields=["dataset", "label_quality", "image"], name="item_quality"),
            models.Index(fields=["dataset", "-risk", "image"], name="item_risk"),
            models.Index(fields=["dataset", "suggested_class", "image"], name="item_suggested"),
            models.Index(fields=["dataset", "state", "image"], name="item_state"),
        ]

    def __str__(self) -> str:
        return f"item {self.pk} of {self.dataset_id}"


class Claim(models.Model):
    """An exclusive hold of one person on one slot of an item, until its lease expires.

    The unique constraint is what makes a claim race-safe: of two people who insert the same slot, one fails. A golden
    image takes no slot: any number of people may hold it at once.
    """

    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="claims")
    slot = models.PositiveSmallIntegerField(default=0)
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="claims")
    lease_expires_at = models.DateTimeField()
    returned = models.BooleanField(default=False, help_text="Came back by undo, so it is shown first.")
    blind = models.BooleanField(default=False, help_text="Shown without label, prediction and reason.")
    golden = models.BooleanField(default=False, help_text="Asked to measure the person; changes no label.")
    claimed_at = models.DateTimeField(default=timezone.now)

    objects = OfVisibleItems()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["item", "slot"], name="claim_slot_once", condition=Q(golden=False)),
            models.UniqueConstraint(fields=["item", "reviewer"], name="claim_reviewer_once"),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer_id} holds {self.item_id}/{self.slot}"


class FilledSlot(models.Model):
    """A person's verdict that counts on an item which is not settled; kept by the fold, and checkable.

    An unsure verdict has no slot: somebody looked and will not be asked again, and the slot is still free. The unique
    constraints are what keeps one person from filling two slots of an item.
    """

    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="filled")
    slot = models.PositiveSmallIntegerField(null=True)
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    verdict = models.ForeignKey("Verdict", on_delete=models.CASCADE, related_name="+")

    objects = OfVisibleItems()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["item", "slot"], name="filled_slot_once"),
            models.UniqueConstraint(fields=["item", "reviewer"], name="filled_reviewer_once"),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer_id} filled {self.item_id}/{self.slot}"


class Skip(models.Model):
    """'Not now': this person is not offered this item again until `until`."""

    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="skips")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    until = models.DateTimeField()

    objects = OfVisibleItems()
    everything = Everything()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["item", "reviewer"], name="skip_once"),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer_id} skips {self.item_id}"


class VerdictKind(models.TextChoices):
    KEEP = "keep", "keep"
    RELABEL = "relabel", "relabel"
    EXCLUDE = "exclude", "exclude"
    UNSURE = "unsure", "unsure"
    UNDO = "undo", "undo"
    ASK = "ask", "ask more people"
    REOPEN = "reopen", "reopen"
    ESCALATE = "escalate", "escalate"


NO_DECISIONS = (VerdictKind.UNDO, VerdictKind.ASK, VerdictKind.REOPEN, VerdictKind.ESCALATE)
"""What stands in the log beside what people decided about the images."""


def verdict_kind_choices() -> list[tuple[str, str]]:
    return VerdictKind.choices


class BulkKind(models.TextChoices):
    GROUP = "group", "near-duplicate group"
    SOURCE = "source", "source"
    EXPLORER = "explorer", "selection of images"
    GRID = "grid", "page of a grid"
    KNOWN = "known", "the same file as one decided before"
    PERSON = "person", "a person's work"
    AGAIN = "again", "sent to review again"
    RULE = "rule", "change of the rule"
    IMPORT = "import", "import of verdicts"
    REVERT = "revert", "revert"


def bulk_kind_choices() -> list[tuple[str, str]]:
    return BulkKind.choices


class BulkAction(models.Model):
    """One act of one person that made many verdicts, and that is taken back as one.

    A revert is a bulk action too, and names what it takes back.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="bulk_actions")
    kind = models.CharField(max_length=20, choices=bulk_kind_choices)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="bulk_actions")
    summary = models.CharField(max_length=300, help_text="What it did, in words.")
    reverts = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="reverted_by")
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=(Q(kind="revert") & Q(reverts__isnull=False)) | (~Q(kind="revert") & Q(reverts__isnull=True)),
                name="bulk_revert_names_action",
            ),
        ]

    def __str__(self) -> str:
        return self.summary


class Verdict(models.Model):
    """One decision of one person; rows are only ever added (a database trigger refuses changes).

    `key` makes a repeated request harmless. `undoes` names the verdict that an undo takes back; an undo can be
    undone in turn, and each verdict can be taken back once. The `shown_*` fields are what the person saw, and
    `hidden_suggestion` what a blind one was kept from seeing.

    `wanted`, `rule`, `senior`, `alone` and `evidence` are what the fold needs to know of the moment of the decision:
    how many verdicts the image wanted, how they become one, whether the person was a senior, whether this verdict
    decides by itself whatever others said, and by class (and "0" for exclude) how probable this answer of this person
    is where that class is right. An `ask` says that `wanted` verdicts are wanted from then on; after a `reopen` the
    verdicts before it no longer count. An `escalate` says nothing about the label; it put the image into quarantine.
    """

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="verdicts")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="verdicts")
    kind = models.CharField(max_length=20, choices=verdict_kind_choices)
    label = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    undoes = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="undone_by")
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    shown_suggestion = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    shown_quality = models.FloatField(null=True)
    seconds = models.FloatField(null=True, help_text="From seeing the image to deciding.")
    blind = models.BooleanField(default=False, help_text="Label, prediction and reason were hidden.")
    bulk = models.ForeignKey(BulkAction, on_delete=models.PROTECT, null=True, related_name="verdicts")
    hidden_suggestion = models.ForeignKey(TaxonomyClass, on_delete=models.PROTECT, null=True, related_name="+")
    wanted = models.PositiveSmallIntegerField(default=1)
    rule = models.CharField(max_length=20, choices=consensus_choices, default=Consensus.MAJORITY)
    senior = models.BooleanField(default=False)
    alone = models.BooleanField(default=False)
    evidence = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfVisibleImages()
    everything = Everything()

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=(Q(kind="undo") & Q(undoes__isnull=False)) | (~Q(kind="undo") & Q(undoes__isnull=True)),
                name="verdict_undo_names_verdict",
            ),
            models.CheckConstraint(
                condition=(Q(kind="relabel") & Q(label__isnull=False)) | (~Q(kind="relabel") & Q(label__isnull=True)),
                name="verdict_relabel_names_class",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["image", "id"], name="verdict_image"),
            models.Index(fields=["reviewer", "-id"], name="verdict_reviewer"),
            models.Index(fields=["reviewer", "created_at"], name="verdict_pace"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.image_id} by {self.reviewer_id}"
