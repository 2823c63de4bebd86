"""Reports of mistakes: people look, a settled image goes to somebody else, and the product is told, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone

from labeling.actions.claims import hold_claims
from labeling.actions.escalations import escalate
from labeling.actions.reports import MOST_TRIES, book_try, claim_due, stop_webhook
from labeling.actions.verdicts import record_verdict, undo_last
from labeling.errors import WrongUsage
from labeling.models import (
    Claim,
    Dataset,
    Delivery,
    Image,
    ImageBand,
    IssueKind,
    ItemState,
    LabelIssue,
    ModelVersion,
    Person,
    Report,
    ReviewItem,
    Role,
    Scope,
    TaxonomyClass,
    VerdictKind,
)
from labeling.outbound.rules import OutboundRule
from labeling.pipeline import filing
from labeling.pipeline.delivering import deliver_due, signature, watch, webhook_secret
from labeling.pipeline.importing import thumbnail_path
from labeling.queue_filter import QueueFilter
from tests.builders import add_images, rank_images
from tests.conftest import member
from tests.reviewer.api_parts import CHINA, picture, problem

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> Iterator[None]:
    filing._embeddings.cache_clear()
    with override_settings(MEDIA_ROOT=tmp_path / "media", EMBEDDINGS_ROOT=tmp_path / "embeddings"):
        yield


@pytest.fixture
def ranked(looks: Dataset) -> list[Image]:
    images = add_images(looks, 6)
    rank_images(looks, images)
    return images


@pytest.fixture
def product(no_model_is_remembered: None, with_token: Callable[..., Client]) -> Client:
    return with_token(Scope.REPORT)


@pytest.fixture
def anna(looks: Dataset) -> Person:
    return member(looks, "anna", Role.MODERATOR)


@pytest.fixture
def ben(looks: Dataset) -> Person:
    return member(looks, "ben", Role.MODERATOR)


def send(product: Client, **fields: Any) -> Any:
    return product.post("/reports", {"kind": "false_positive", **fields}, content_type="application/json")


def settle(dataset: Dataset, person: Person, image: Image, label: str = "") -> None:
    """Have the person decide this image: keep its label, or relabel it."""
    chosen = TaxonomyClass.objects.get(taxonomy=dataset.taxonomy, name=label) if label else None
    item = ReviewItem.objects.get(image=image)
    Claim.objects.filter(item=item).delete()
    kind = VerdictKind.RELABEL if chosen else VerdictKind.KEEP
    record_verdict(item=item, reviewer=person, kind=kind, label=chosen, key=uuid4())


# ---- taking a report


def test_a_reported_image_is_the_next_that_people_see(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person
) -> None:
    last = ranked[-1]
    answer = send(product, image_id=last.pk, reason="It is a cake.")
    assert answer.status_code == 201
    assert answer.json() == {"report": Report.objects.get().pk, "image": last.pk, "appeal": False}
    shown = hold_claims(dataset=looks, reviewer=anna, filters=QueueFilter())[0].item
    assert shown.image_id == last.pk
    assert shown.reason == "reported as held back, but harmless: It is a cake."
    assert LabelIssue.objects.get(image=last, kind=IssueKind.REPORT).reason == shown.reason


def test_an_image_is_named_by_its_hash_too(product: Client, ranked: list[Image]) -> None:
    assert send(product, sha256=ranked[2].sha256).json()["image"] == ranked[2].pk


def test_an_image_that_is_sent_is_filed_and_queued(
    product: Client, looks: Dataset, model: ModelVersion, anna: Person
) -> None:
    answer = product.post("/reports", {"kind": "false_negative", "image": picture(), "reason": "seen by a parent"})
    assert answer.status_code == 201
    image = Image.objects.get()
    assert image.sha256 == hashlib.sha256(CHINA).hexdigest()
    assert hold_claims(dataset=looks, reviewer=anna, filters=QueueFilter())[0].item.image == image
    assert ImageBand.objects.count() == 0


def test_the_same_reference_is_the_same_report(product: Client, ranked: list[Image]) -> None:
    first = send(product, image_id=ranked[0].pk, reference="ticket 7")
    again = send(product, image_id=ranked[0].pk, reference="ticket 7")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Report.objects.count() == 1


def test_what_is_no_report_is_refused(product: Client, looks: Dataset, ranked: list[Image]) -> None:
    problem(send(product), 400, "no_image")
    problem(send(product, image_id=ranked[0].pk, sha256="0" * 64), 400, "no_image")
    problem(send(product, image_id=10**9), 404, "unknown_image")
    problem(send(product, image_id=10**30), 422, "invalid")
    problem(send(product, sha256="0" * 64), 404, "unknown_image")
    problem(send(product, sha256="zz"), 422, "invalid")
    problem(send(product, image_id=ranked[0].pk, kind="wrong"), 422, "invalid")
    problem(send(product, image_id=ranked[0].pk, reason="x" * 501), 422, "invalid")
    problem(send(product, image_id=ranked[0].pk, reason="\0"), 422, "invalid")
    problem(product.post("/reports", b"{", content_type="application/json"), 422, "invalid")
    problem(product.post("/reports", b"x", content_type="text/plain"), 415, "unsupported_media_type")
    assert not Report.objects.exists()


def test_an_image_of_another_dataset_is_unknown(product: Client, looks: Dataset, ranked: list[Image]) -> None:
    other = Dataset.objects.create(slug="other", title="Other", taxonomy=looks.taxonomy)
    stranger = add_images(other, 1, start=900)[0]
    problem(send(product, image_id=stranger.pk), 404, "unknown_image")
    problem(send(product, sha256=stranger.sha256), 404, "unknown_image")


def test_a_report_takes_its_own_scope(
    with_token: Callable[..., Client], ranked: list[Image], no_model_is_remembered: None
) -> None:
    problem(send(with_token(Scope.PREDICT), image_id=ranked[0].pk), 403, "scope_missing")


def test_a_report_is_about_the_image_and_not_about_its_group(product: Client, ranked: list[Image]) -> None:
    first, second = (ReviewItem.objects.get(image=image) for image in ranked[:2])
    ReviewItem.objects.filter(pk=second.pk).update(represented_by=first)
    send(product, image_id=ranked[1].pk)
    second.refresh_from_db()
    assert second.represented_by is None


# ---- appeals


def test_an_appeal_goes_to_a_different_person(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, ben: Person
) -> None:
    settle(looks, anna, ranked[0])
    assert send(product, image_id=ranked[0].pk).json()["appeal"] is True

    offered = {
        claim.item.image_id for claim in hold_claims(dataset=looks, reviewer=anna, filters=QueueFilter(), hold=6)
    }
    assert ranked[0].pk not in offered
    assert hold_claims(dataset=looks, reviewer=ben, filters=QueueFilter())[0].item.image_id == ranked[0].pk
    settle(looks, ben, ranked[0])
    assert ReviewItem.objects.get(image=ranked[0]).state == ItemState.SETTLED


def test_two_who_differ_about_an_appeal_leave_it_to_a_lead(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, ben: Person
) -> None:
    settle(looks, anna, ranked[0])
    before = Image.objects.get(pk=ranked[0].pk).current_class
    send(product, image_id=ranked[0].pk)
    settle(looks, ben, ranked[0], "porn")
    assert ReviewItem.objects.get(image=ranked[0]).state == ItemState.DISPUTED
    assert Image.objects.get(pk=ranked[0].pk).current_class == before


# ---- telling the product


class Receiver:
    """A product's address on loopback: what it received, and what it answers next."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/told"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, peer.makefile("rb") as stream:
                stream.readline()
                headers = {}
                while line := stream.readline().strip().decode():
                    name, _, value = line.partition(": ")
                    headers[name.lower()] = value
                self.received.append((headers, stream.read(int(headers["content-length"]))))
                peer.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.status)


@pytest.fixture
def receiver(looks: Dataset) -> Iterator[Receiver]:
    opened = Receiver()
    watch(looks, opened.url, None)
    with override_settings(API_WEBHOOKS=OutboundRule.parse("127.0.0.1")):
        yield opened
    opened.close()


def test_the_product_is_told_what_people_decided_and_can_check_who_says_so(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, receiver: Receiver
) -> None:
    send(product, image_id=ranked[3].pk, reference="ticket 9", kind="false_negative")
    assert deliver_due() == 0
    settle(looks, anna, ranked[3], "porn")
    assert deliver_due() == 1
    assert deliver_due() == 0

    [(headers, body)] = receiver.received
    told = json.loads(body)
    assert told["event"] == "decision"
    assert (told["reference"], told["label"], told["excluded"]) == ("ticket 9", "porn", False)
    assert told["report_was_right"] is True
    moment = int(headers["winnow-signature"].partition(",")[0].removeprefix("t="))
    assert abs(moment - time.time()) < 60
    secret = webhook_secret(looks.webhooks.get())
    expected = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["winnow-signature"] == f"t={moment},v1={expected}" == signature(secret, moment, body)
    delivery = Delivery.objects.get()
    assert (delivery.tries, delivery.last_status, delivery.next_try_at) == (1, 200, None)
    assert delivery.delivered_at is not None


def test_a_decision_that_is_changed_later_is_told_again(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, receiver: Receiver
) -> None:
    send(product, image_id=ranked[0].pk)
    settle(looks, anna, ranked[0], "porn")
    deliver_due()
    undo_last(dataset=looks, reviewer=anna, key=uuid4())
    assert deliver_due() == 0
    settle(looks, anna, ranked[0], "neutral")
    deliver_due()
    assert [json.loads(body)["event"] for _, body in receiver.received] == ["decision", "decision_changed"]


def test_a_failed_delivery_is_tried_again_later_and_later_and_then_given_up(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, receiver: Receiver
) -> None:
    receiver.status = 500
    send(product, image_id=ranked[0].pk)
    settle(looks, anna, ranked[0])
    waits = []
    for _ in range(MOST_TRIES):
        before = timezone.now()
        assert deliver_due() == 1
        delivery = Delivery.objects.get()
        waits.append((delivery.next_try_at or before) - before)
        assert deliver_due() == 0
        Delivery.objects.filter(next_try_at__isnull=False).update(next_try_at=timezone.now())
    assert waits[-1] == timedelta()
    assert all(shorter < longer for shorter, longer in pairwise(waits[:-2]))
    delivery = Delivery.objects.get()
    assert (delivery.tries, delivery.last_status, delivery.delivered_at) == (MOST_TRIES, 500, None)
    assert "500" in delivery.last_error
    assert len(receiver.received) == MOST_TRIES


def test_an_address_that_may_not_be_reached_is_not_and_says_which_setting(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, receiver: Receiver
) -> None:
    send(product, image_id=ranked[0].pk)
    settle(looks, anna, ranked[0])
    with override_settings(API_WEBHOOKS=OutboundRule.parse("public")):
        deliver_due()
    delivery = Delivery.objects.get()
    assert "API_WEBHOOKS" in delivery.last_error
    assert delivery.next_try_at is None
    assert receiver.received == []


def test_two_workers_send_a_message_once(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, receiver: Receiver
) -> None:
    receiver.status = 200
    send(product, image_id=ranked[0].pk)
    settle(looks, anna, ranked[0])
    deliver_due()
    Delivery.objects.update(next_try_at=timezone.now(), delivered_at=None)
    [mine] = claim_due()
    assert claim_due() == []
    book_try(delivery=mine, status=204)
    assert Delivery.objects.get().next_try_at is None


def test_a_stopped_webhook_is_told_nothing_more(
    product: Client, looks: Dataset, ranked: list[Image], anna: Person, receiver: Receiver
) -> None:
    send(product, image_id=ranked[0].pk)
    stop_webhook(webhook=looks.webhooks.get())
    settle(looks, anna, ranked[0])
    assert deliver_due() == 0
    assert Report.objects.get().told_at is not None
    watch(looks, receiver.url, None)
    assert len({webhook_secret(one) for one in looks.webhooks.all()}) == 2


@pytest.mark.parametrize("url", ["", "ftp://a.example/", "http://user:word@a.example/", "not a url"])
def test_a_webhook_is_an_address(looks: Dataset, url: str) -> None:
    with pytest.raises(WrongUsage):
        watch(looks, url, None)


def test_an_address_is_told_once(looks: Dataset) -> None:
    watch(looks, "https://shop.example/told", None)
    with pytest.raises(WrongUsage, match="already"):
        watch(looks, "https://shop.example/told", None)


def test_nothing_is_delivered_unless_the_server_is_set_to() -> None:
    assert settings.API_WEBHOOKS.off


def test_an_escalated_image_is_unknown_to_programs_and_to_their_page(
    product: Client,
    looks: Dataset,
    ranked: list[Image],
    anna: Person,
    receiver: Receiver,
    browse: Callable[[Person], Client],
) -> None:
    lead = browse(member(looks, "lead", Role.ML))
    secret = ranked[0]
    send(product, image_id=secret.pk, reference="ticket 1")
    settle(looks, anna, secret)
    Delivery.objects.all().delete()
    escalate(dataset=looks, images=[secret.pk], person=anna, key=uuid4())

    problem(send(product, image_id=secret.pk), 404, "unknown_image")
    problem(send(product, sha256=secret.sha256), 404, "unknown_image")
    problem(send(product, image_id=secret.pk, reference="ticket 1"), 404, "unknown_image")
    assert deliver_due() == 0
    assert receiver.received == []
    assert "ticket 1" not in lead.get("/d/looks/programs/").content.decode()


def test_escalated_bytes_that_come_again_are_not_kept_twice(
    with_token: Callable[..., Client], looks: Dataset, model: ModelVersion, anna: Person
) -> None:
    caller = with_token(*Scope)
    first = caller.post("/moderate?keep=all", {"image": picture()}).json()["image"]
    escalate(dataset=looks, images=[first], person=anna, key=uuid4())
    thumbnail = thumbnail_path(hashlib.sha256(CHINA).hexdigest())
    thumbnail.unlink(missing_ok=True)

    assert caller.post("/moderate?keep=all", {"image": picture()}).json()["image"] is None
    problem(caller.post("/reports", {"kind": "false_negative", "image": picture()}), 404, "unknown_image")
    assert Image.everything.count() == 1
    assert not thumbnail.exists()
