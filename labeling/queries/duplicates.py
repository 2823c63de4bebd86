"""Near-duplicate groups with what is wrong about them: two labels, or two splits."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from labeling.models import Dataset, Image

PAGE = 20
SHOWN_OF_A_GROUP = 12


@dataclass(frozen=True)
class GroupFilter:
    """Which groups a page shows; it lives in the URL. `after` is the last group of the page before."""

    show: str = ""
    after: int = 0

    def query(self) -> dict[str, str]:
        return {"show": self.show} if self.show else {}


@dataclass(frozen=True)
class DuplicateGroup:
    """One group: its centre's key, its first images, how many there are, and its labels and splits."""

    centre_id: int
    images: tuple[Image, ...]
    size: int
    labels: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def conflict(self) -> bool:
        return len(self.labels) > 1

    @property
    def leak(self) -> bool:
        return len(self.splits) > 1


@dataclass(frozen=True)
class GroupCounts:
    """Groups of two images or more, and how many images are in them."""

    groups: int
    images: int
    conflicts: int
    leaks: int


@dataclass(frozen=True)
class GroupList:
    groups: tuple[DuplicateGroup, ...]
    counts: GroupCounts
    next_after: int | None


def duplicate_groups(dataset: Dataset, filters: GroupFilter) -> GroupList:
    """A page of groups; three SQL queries whatever the size. Images out of the dataset do not count."""
    rows = _groups(dataset)
    counts = rows.aggregate(
        groups=Count("duplicate_group"),
        conflicts=Count("duplicate_group", filter=Q(labels__gt=1)),
        leaks=Count("duplicate_group", filter=Q(splits__gt=1)),
    )
    images = Image.objects.filter(dataset=dataset, excluded=False, duplicate_group__isnull=False).count()
    if filters.show == "conflicts":
        rows = rows.filter(labels__gt=1)
    elif filters.show == "leaks":
        rows = rows.filter(splits__gt=1)
    page = list(
        rows.filter(duplicate_group__gt=filters.after)
        .order_by("duplicate_group")
        .values_list("duplicate_group", "size")[: PAGE + 1]
    )
    members: dict[int, list[Image]] = defaultdict(list)
    for image in (
        Image.objects.filter(duplicate_group__in=[centre for centre, _ in page[:PAGE]], excluded=False)
        .select_related("given_class", "current_class")
        .order_by("current_class__index", "pk")
    ):
        members[image.duplicate_group_id or 0].append(image)
    groups = tuple(
        DuplicateGroup(
            centre,
            tuple(members[centre][:SHOWN_OF_A_GROUP]),
            size,
            tuple(sorted({image.current_class.name for image in members[centre]})),
            tuple(sorted({image.split for image in members[centre]} - {""})),
        )
        for centre, size in page[:PAGE]
    )
    return GroupList(
        groups,
        GroupCounts(counts["groups"], images, counts["conflicts"], counts["leaks"]),
        page[PAGE - 1][0] if len(page) > PAGE else None,
    )


def group_of(image: Image) -> tuple[Image, ...]:
    """The other images of an image's near-duplicate group, the first of them; one SQL query."""
    if image.duplicate_group_id is None:
        return ()
    members = Image.objects.filter(duplicate_group=image.duplicate_group_id, excluded=False).exclude(pk=image.pk)
    return tuple(members.select_related("given_class", "current_class").order_by("pk")[:SHOWN_OF_A_GROUP])


def _groups(dataset: Dataset) -> Any:
    return (
        Image.objects.filter(dataset=dataset, excluded=False, duplicate_group__isnull=False)
        .values("duplicate_group")
        .annotate(
            size=Count("pk"),
            labels=Count("current_class", distinct=True),
            splits=Count("split", filter=~Q(split=""), distinct=True),
        )
        .filter(size__gt=1)
        .order_by()
    )
