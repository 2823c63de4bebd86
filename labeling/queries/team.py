"""A dataset's people, what they hold, and what waits for a lead."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from labeling.models import (
    NO_DECISIONS,
    Claim,
    Dataset,
    GoldenImage,
    ItemState,
    Membership,
    Person,
    ReviewItem,
    TaxonomyClass,
    Verdict,
)

SHOWN_CLAIMS = 200
SHOWN_GOLDEN = 60


@dataclass(frozen=True)
class MemberRow:
    """One person: their role, how many verdicts they ever gave here, and the last."""

    membership: Membership
    verdicts: int
    last_at: datetime | None


@dataclass(frozen=True)
class ClaimRow:
    """One claim; an expired one is in nobody's way, and is shown so that nothing is hidden."""

    claim: Claim
    expired: bool


@dataclass(frozen=True)
class TeamPage:
    """`out_of_reach` items wait for a verdict although every member who reviews has given one or was unsure."""

    members: tuple[MemberRow, ...]
    claims: tuple[ClaimRow, ...]
    claim_count: int
    golden: tuple[GoldenImage, ...]
    golden_count: int
    golden_classes: tuple[tuple[str, int], ...]
    disputed: int
    unsure: int
    partly: int
    out_of_reach: int

    @property
    def adjudicable(self) -> int:
        return self.disputed + self.unsure


def team_page(dataset: Dataset) -> TeamPage:
    """Everything on the team page but the measurements; eight SQL queries."""
    memberships = list(Membership.objects.filter(dataset=dataset).select_related("person").order_by("person__username"))
    given = {
        row["reviewer"]: row
        for row in Verdict.objects.filter(image__dataset=dataset)
        .exclude(kind__in=NO_DECISIONS)
        .values("reviewer")
        .annotate(verdicts=Count("pk"), last=Max("created_at"))
        .order_by()
    }
    now = timezone.now()
    claims = Claim.objects.filter(item__dataset=dataset)
    shown = claims.select_related("item__image", "reviewer").order_by("claimed_at", "pk")[:SHOWN_CLAIMS]
    golden = GoldenImage.objects.filter(dataset=dataset)
    by_class = golden.values_list("label__name").annotate(images=Count("pk")).order_by("label__index")
    waiting = ReviewItem.objects.filter(dataset=dataset).aggregate(
        disputed=Count("pk", filter=Q(state=ItemState.DISPUTED)),
        unsure=Count("pk", filter=Q(state=ItemState.UNSURE)),
        partly=Count("pk", filter=Q(state=ItemState.OPEN, missing__isnull=False)),
    )
    return TeamPage(
        members=tuple(
            MemberRow(
                one,
                given[one.person_id]["verdicts"] if one.person_id in given else 0,
                given[one.person_id]["last"] if one.person_id in given else None,
            )
            for one in memberships
        ),
        claims=tuple(ClaimRow(claim, claim.lease_expires_at <= now) for claim in shown),
        claim_count=claims.count(),
        golden=tuple(golden.select_related("image", "label").order_by("-id")[:SHOWN_GOLDEN]),
        golden_count=golden.count(),
        golden_classes=tuple((name or "exclude", images) for name, images in by_class),
        disputed=waiting["disputed"],
        unsure=waiting["unsure"],
        partly=waiting["partly"],
        out_of_reach=out_of_reach(dataset).count(),
    )


def out_of_reach(dataset: Dataset) -> QuerySet[ReviewItem]:
    """Items that wait for one more person although every member has given a verdict on them or was unsure."""
    members = Membership.objects.filter(dataset=dataset, person__is_active=True).count()
    waiting = ReviewItem.objects.filter(
        dataset=dataset, state__in=[ItemState.OPEN, ItemState.UNSURE], missing__isnull=False
    )
    return waiting.annotate(people=Count("filled")).filter(people__gte=members)


@dataclass(frozen=True)
class SettledFilter:
    """Which settled items: by who decided last, to what, and by label and split. Empty means any."""

    person: Person | None = None
    kind: str = ""
    given: str = ""
    current: str = ""
    split: str = ""


def settled_items(dataset: Dataset, filters: SettledFilter) -> QuerySet[ReviewItem]:
    """The settled items that match."""
    items = ReviewItem.objects.filter(dataset=dataset, state=ItemState.SETTLED)
    if filters.person is not None or filters.kind:
        last = (
            Verdict.objects.filter(image=OuterRef("image"), undone_by__isnull=True)
            .exclude(kind__in=NO_DECISIONS)
            .order_by("-id")
        )
        items = items.alias(by=Subquery(last.values("reviewer")[:1]), to=Subquery(last.values("kind")[:1]))
        if filters.person is not None:
            items = items.filter(by=filters.person.pk)
        if filters.kind:
            items = items.filter(to=filters.kind)
    if filters.given:
        items = items.filter(image__given_class__name=filters.given)
    if filters.current:
        items = items.filter(image__current_class__name=filters.current)
    if filters.split:
        items = items.filter(image__split=filters.split)
    return items


@dataclass(frozen=True)
class Opinion:
    """Who said what about an image, side by side with the others."""

    verdict: Verdict
    label: TaxonomyClass | None


@dataclass(frozen=True)
class Disagreement:
    """One item that waits for a lead or a senior, and how many others do; `after` leads to the next one."""

    item: ReviewItem
    opinions: tuple[Opinion, ...]
    shielded: bool
    waiting: int


def to_adjudicate(dataset: Dataset) -> QuerySet[ReviewItem]:
    """Items about which people disagree, then those that somebody was unsure about, worst first."""
    items = ReviewItem.objects.filter(dataset=dataset).exclude(state=ItemState.SETTLED)
    stuck = out_of_reach(dataset).values("pk")
    return items.filter(Q(state__in=[ItemState.DISPUTED, ItemState.UNSURE]) | Q(pk__in=stuck)).order_by(
        "state", "priority", "id"
    )


def next_disagreement(dataset: Dataset, *, after: int = 0) -> Disagreement | None:
    """The first item to adjudicate, or the one that follows the item `after`; None when nothing waits."""
    order = list(to_adjudicate(dataset).values_list("pk", flat=True)[:2000])
    if not order:
        return None
    place = order.index(after) + 1 if after in order else 0
    item = ReviewItem.objects.select_related(
        "dataset", "image__given_class", "image__current_class", "suggested_class"
    ).get(pk=order[place % len(order)])
    filled = item.filled.select_related("verdict__reviewer", "verdict__label").order_by("verdict_id")
    opinions = tuple(
        Opinion(one.verdict, item.image.given_class if one.verdict.kind == "keep" else one.verdict.label)
        for one in filled
    )
    seen = [item.image.given_class, item.suggested_class, *(one.label for one in opinions if one.label)]
    return Disagreement(item, opinions, any(label.harm_rank > 0 for label in seen), len(order))
