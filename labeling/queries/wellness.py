"""A person's comfort settings as they apply, and their exposure."""

from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from labeling.models import Comfort, Exposure, ImageSize, Person, ShieldStyle, TaxonomyClass, Verdict

# A pause this long ends a stretch of work.
PAUSE = timedelta(minutes=10)


@dataclass(frozen=True)
class ComfortSettings:
    """What applies to a person: their own wish, else the organisation's default, else Winnow's."""

    shield_style: str = ShieldStyle.BLUR_GREY
    shield_from_rank: int = 1
    image_size: str = ImageSize.FULL
    daily_cap: int = 0
    break_minutes: int = 50
    interleave: bool = False

    def shields(self, label: TaxonomyClass) -> bool:
        """Whether an image of this class is shielded."""
        return label.harm_rank >= max(1, self.shield_from_rank)


@dataclass(frozen=True)
class ExposureToday:
    views: int
    sensitive_views: int
    reveals: int
    cap: int

    @property
    def reached(self) -> bool:
        """Whether the daily cap is used up."""
        return bool(self.cap) and self.sensitive_views >= self.cap


def comfort_of(person: Person) -> ComfortSettings:
    """One SQL query."""
    rows = Comfort.objects.filter(Q(person=person) | Q(person__isnull=True))
    # The defaults first, so that one's own come later and win.
    merged: dict[str, object] = {}
    for row in sorted(rows, key=lambda row: row.person_id is not None):
        merged |= {
            name: value for name in ComfortSettings.__dataclass_fields__ if (value := getattr(row, name)) is not None
        }
    return ComfortSettings(**merged)  # type: ignore[arg-type]


def exposure_today(person: Person, comfort: ComfortSettings) -> ExposureToday:
    """One SQL query."""
    row = Exposure.objects.filter(person=person, day=timezone.localdate()).first()
    if row is None:
        return ExposureToday(0, 0, 0, comfort.daily_cap)
    return ExposureToday(row.views, row.sensitive_views, row.reveals, comfort.daily_cap)


def minutes_without_pause(person: Person) -> int:
    """Minutes since this person's last pause of ten minutes, by their verdicts; 0 before the first."""
    now = timezone.now()
    moments = list(
        Verdict.objects.filter(reviewer=person, created_at__gt=now - timedelta(hours=6))
        .order_by("-id")
        .values_list("created_at", flat=True)[:2000]
    )
    begun = now
    for moment in moments:
        if begun - moment > PAUSE:
            break
        begun = moment
    return int((now - begun).total_seconds() // 60)


@dataclass(frozen=True)
class ExposureRow:
    """One person's exposure in the last days."""

    name: str
    days: int
    views: int
    sensitive_views: int
    reveals: int
    last: date


def exposure_of_team(people: list[int], *, days: int = 30) -> list[ExposureRow]:
    """Of these people, the most exposed first; one SQL query."""
    rows = (
        Exposure.objects.filter(person__in=people, day__gt=timezone.localdate() - timedelta(days=days))
        .values("person__username")
        .annotate(
            days=Count("day"),
            seen=Sum("views"),
            sensitive=Sum("sensitive_views"),
            revealed=Sum("reveals"),
            last=Max("day"),
        )
        .order_by("-sensitive", "person__username")
    )
    return [
        ExposureRow(row["person__username"], row["days"], row["seen"], row["sensitive"], row["revealed"], row["last"])
        for row in rows
    ]
