"""Writing comfort settings, and counting what people saw."""

from dataclasses import asdict, dataclass

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from labeling.models import Comfort, Exposure, Person


@dataclass(frozen=True)
class Wishes:
    """Comfort settings; None follows the organisation's default (or, among the defaults, Winnow's own)."""

    shield_style: str | None = None
    shield_from_rank: int | None = None
    image_size: str | None = None
    daily_cap: int | None = None
    break_minutes: int | None = None
    interleave: bool | None = None


def set_comfort(*, person: Person | None, wishes: Wishes) -> None:
    """Store a person's own settings, or with None the organisation's defaults."""
    with transaction.atomic():
        Comfort.objects.update_or_create(person=person, defaults=asdict(wishes))


def count_view(*, person: Person, sensitive: bool) -> None:
    """Count an image that this person has decided or passed over, once each."""
    _count(person, views=1, sensitive_views=int(sensitive))


def count_reveal(*, person: Person) -> None:
    """Count that this person looked behind the shield."""
    _count(person, reveals=1)


def _count(person: Person, **more: int) -> None:
    day = timezone.localdate()
    today = Exposure.objects.filter(person=person, day=day)
    counted = {name: F(name) + number for name, number in more.items()}
    # One statement, but for the first time of a day: everybody who decides comes by here.
    if not today.update(**counted):
        with transaction.atomic():
            Exposure.objects.get_or_create(person=person, day=day)
            today.update(**counted)
