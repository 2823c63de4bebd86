"""Claims: nobody gets what somebody else holds, and nothing is stuck."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from labeling.actions.claims import claimable_items, held_claims, hold_claims, release_claims, skip_item
from labeling.models import Claim, Dataset, Person, ReviewItem
from labeling.queue_filter import QueueFilter
from tests.builders import add_images, make_dataset, rank_images

ALL = QueueFilter()


def held(dataset: Dataset, person: Person, hold: int = 3, filters: QueueFilter = ALL) -> list[int]:
    return [claim.item_id for claim in hold_claims(dataset=dataset, reviewer=person, filters=filters, hold=hold)]


def test_the_worst_items_come_first(dataset: Dataset, anna: Person) -> None:
    worst = list(ReviewItem.objects.order_by("label_quality").values_list("pk", flat=True)[:3])
    assert held(dataset, anna) == worst


def test_two_people_never_hold_the_same_item(dataset: Dataset, anna: Person, ben: Person) -> None:
    assert not set(held(dataset, anna)) & set(held(dataset, ben))


def test_holding_again_keeps_what_is_held_and_renews_the_lease(dataset: Dataset, anna: Person) -> None:
    before = held(dataset, anna)
    Claim.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=5))
    assert held(dataset, anna) == before
    assert all(claim.lease_expires_at > timezone.now() + timedelta(seconds=60) for claim in Claim.objects.all())


def test_it_returns_the_item_to_the_queue_when_the_lease_expires(dataset: Dataset, anna: Person, ben: Person) -> None:
    of_anna = held(dataset, anna)
    Claim.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert held(dataset, ben) == of_anna
    assert held_claims(dataset=dataset, reviewer=anna, filters=ALL) == []


def test_leaving_gives_everything_back(dataset: Dataset, anna: Person, ben: Person) -> None:
    of_anna = held(dataset, anna)
    assert release_claims(dataset=dataset, reviewer=anna) == 3
    assert held(dataset, ben) == of_anna


def test_a_skipped_item_goes_to_others_but_not_back_to_the_same_person(
    dataset: Dataset, anna: Person, ben: Person
) -> None:
    first = held(dataset, anna)[0]
    skip_item(item=ReviewItem.objects.get(pk=first), reviewer=anna)
    assert first not in held(dataset, anna)
    assert first in held(dataset, ben)


def test_a_filter_narrows_the_queue_and_drops_what_does_not_match(dataset: Dataset, anna: Person) -> None:
    held(dataset, anna)
    test_items = held(dataset, anna, filters=QueueFilter(split="test"))
    assert {item.image.split for item in ReviewItem.objects.filter(pk__in=test_items)} == {"test"}
    assert Claim.objects.count() == len(test_items)
    pair = QueueFilter(given="drawings", suggested="hentai")
    for item in ReviewItem.objects.filter(pk__in=held(dataset, anna, filters=pair)):
        assert (item.image.given_class.name, item.suggested_class.name) == ("drawings", "hentai")


def test_items_that_are_not_suspected_wait_until_somebody_asks_for_everything(anna: Person, dataset: Dataset) -> None:
    calm = make_dataset("calm")
    rank_images(calm, add_images(calm, 3), suspected=False)
    assert held(calm, anna) == []
    assert len(held(calm, anna, filters=QueueFilter(everything=True))) == 3


def test_reading_the_held_claims_claims_nothing(dataset: Dataset, anna: Person) -> None:
    assert held_claims(dataset=dataset, reviewer=anna, filters=ALL) == []
    assert not Claim.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_eight_threads_claim_sixty_items_each_exactly_once() -> None:
    dataset = make_dataset(items=60)
    people = [Person.objects.create(username=f"reviewer{number}") for number in range(8)]
    claimed: Counter[int] = Counter()
    errors: list[BaseException] = []
    start, lock = threading.Barrier(len(people)), threading.Lock()

    def claim_until_nothing_is_left(person: Person) -> None:
        try:
            start.wait()
            holding = 0
            while True:
                claims = hold_claims(dataset=dataset, reviewer=person, filters=ALL, hold=holding + 1)
                if len(claims) == holding:
                    break
                holding = len(claims)
            with lock:
                claimed.update(claim.item_id for claim in claims)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=claim_until_nothing_is_left, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
    assert sorted(claimed.values()) == [1] * 60
    assert Claim.objects.count() == 60
    assert not claimable_items(dataset, people[0], ALL).exists()
