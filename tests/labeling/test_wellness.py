"""Comfort settings and exposure: whose wish applies, and what is counted."""

from datetime import timedelta
from unittest import mock
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling.actions.claims import hold_claims, release_claims
from labeling.actions.verdicts import record_verdict
from labeling.actions.wellness import Wishes, count_reveal, count_view, set_comfort
from labeling.models import Comfort, Dataset, Exposure, Image, Person, ReviewItem, Verdict, VerdictKind
from labeling.queries.wellness import (
    ComfortSettings,
    comfort_of,
    exposure_of_team,
    exposure_today,
    minutes_without_pause,
)
from labeling.queue_filter import QueueFilter


def test_ones_own_wish_comes_before_the_organisations_and_that_before_winnows(anna: Person, ben: Person) -> None:
    assert comfort_of(anna) == ComfortSettings()
    set_comfort(person=None, wishes=Wishes(shield_style="grey", daily_cap=500))
    set_comfort(person=anna, wishes=Wishes(shield_style="blur"))
    assert (comfort_of(anna).shield_style, comfort_of(anna).daily_cap) == ("blur", 500)
    assert comfort_of(ben).shield_style == "grey"
    set_comfort(person=anna, wishes=Wishes())
    assert comfort_of(anna).shield_style == "grey"


def test_there_is_one_set_of_defaults(db: None) -> None:
    set_comfort(person=None, wishes=Wishes(daily_cap=1))
    set_comfort(person=None, wishes=Wishes(daily_cap=2))
    assert Comfort.objects.get().daily_cap == 2
    with pytest.raises(IntegrityError), transaction.atomic():
        Comfort.objects.create(person=None)


def test_a_wish_of_zero_or_no_is_a_wish(anna: Person) -> None:
    set_comfort(person=None, wishes=Wishes(daily_cap=500, interleave=True, break_minutes=40))
    set_comfort(person=anna, wishes=Wishes(daily_cap=0, interleave=False, break_minutes=0))
    own = comfort_of(anna)
    assert (own.daily_cap, own.interleave, own.break_minutes) == (0, False, 0)


def test_classes_are_shielded_from_the_wanted_rank_and_never_a_harmless_one(dataset: Dataset) -> None:
    drawings, hentai, _, _, sexy = dataset.taxonomy.classes.order_by("index")
    assert [ComfortSettings(shield_from_rank=2).shields(one) for one in (drawings, hentai, sexy)] == [
        False,
        True,
        False,
    ]
    assert not ComfortSettings(shield_from_rank=0).shields(drawings)


def test_views_and_reveals_are_counted_by_person_and_day(anna: Person, ben: Person) -> None:
    for sensitive in (True, False, True):
        count_view(person=anna, sensitive=sensitive)
    count_reveal(person=anna)
    count_view(person=ben, sensitive=False)
    Exposure.objects.create(person=anna, day=timezone.localdate() - timedelta(days=1), views=7)
    today = exposure_today(anna, ComfortSettings(daily_cap=2))
    assert (today.views, today.sensitive_views, today.reveals, today.reached) == (3, 2, 1, True)
    assert not exposure_today(anna, ComfortSettings(daily_cap=3)).reached
    assert not exposure_today(anna, ComfortSettings()).reached
    assert [(row.name, row.views, row.days) for row in exposure_of_team([anna.pk, ben.pk])] == [
        ("anna", 10, 2),
        ("ben", 1, 1),
    ]


def test_a_stretch_of_work_ends_with_a_pause_of_ten_minutes(dataset: Dataset, anna: Person) -> None:
    assert minutes_without_pause(anna) == 0
    now = timezone.now()
    image = Image.objects.filter(dataset=dataset).first()
    assert image is not None
    for minutes in (90, 70, 55, 47, 40, 33, 25, 17, 9, 2):
        with mock.patch("django.utils.timezone.now", return_value=now - timedelta(minutes=minutes)):
            Verdict(image=image, reviewer=anna, kind=VerdictKind.KEEP).save(force_insert=True)
    assert minutes_without_pause(anna) in {55, 56}


MIXED = QueueFilter(mixed_from_rank=1)


def _half_sensitive(dataset: Dataset, sensitive: int) -> None:
    """The worst `sensitive` items are of a class that is shielded, all the others harmless."""
    classes = {label.name: label for label in dataset.taxonomy.classes.all()}
    worst = list(ReviewItem.objects.order_by("priority", "id").values_list("pk", flat=True)[:sensitive])
    ReviewItem.objects.update(suspected=True, given_class=classes["drawings"], suggested_class=classes["neutral"])
    ReviewItem.objects.filter(pk__in=worst).update(suggested_class=classes["hentai"])


def _sees(dataset: Dataset, person: Person, hold: int, filters: QueueFilter = MIXED) -> list[bool]:
    held = hold_claims(dataset=dataset, reviewer=person, filters=filters, hold=hold)
    return [ReviewItem.objects.get(pk=claim.item_id).suggested_class.name == "hentai" for claim in held]


def test_sensitive_images_are_mixed_with_harmless_ones_on_request(dataset: Dataset, anna: Person) -> None:
    _half_sensitive(dataset, 4)
    assert _sees(dataset, anna, 6, QueueFilter()) == [True, True, True, True, False, False]
    release_claims(dataset=dataset, reviewer=anna)
    assert _sees(dataset, anna, 6) == [True, False, True, False, True, False]


def test_the_mix_goes_on_from_what_is_held(dataset: Dataset, anna: Person) -> None:
    _half_sensitive(dataset, 4)
    assert _sees(dataset, anna, 3) == [True, False, True]
    [first, *_] = hold_claims(dataset=dataset, reviewer=anna, filters=MIXED, hold=3)
    record_verdict(item=first.item, reviewer=anna, kind=VerdictKind.KEEP, label=None, key=uuid4(), seconds=1)
    assert _sees(dataset, anna, 3) == [False, True, False]


def test_without_harmless_images_the_mix_is_the_queue(dataset: Dataset, anna: Person) -> None:
    _half_sensitive(dataset, ReviewItem.objects.count())
    assert _sees(dataset, anna, 4) == [True] * 4
