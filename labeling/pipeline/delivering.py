"""Sending what products are told: signed, with a time, to addresses that API_WEBHOOKS allows, again after a failure.

A message carries `Winnow-Signature: t=SECONDS,v1=HEX`, where HEX is HMAC-SHA256 of `SECONDS.BODY` under the webhook's
secret. A receiver computes the same, compares in constant time, and refuses what is older than a few minutes.
"""

import hashlib
import hmac
import logging
import threading
import time
from functools import cache

from django.conf import settings
from django.db import close_old_connections, connection
from django.utils.crypto import salted_hmac

from labeling.actions.reports import add_webhook, book_try, claim_due, queue_decisions
from labeling.errors import AddressRefused, DeliveryFailed, WrongUsage
from labeling.models import Dataset, Delivery, Person, Webhook
from labeling.outbound.client import Limits, OutboundClient
from labeling.outbound.rules import OutboundRule, parse_target

logger = logging.getLogger(__name__)
LOOK_SECONDS = 5.0
_LIMITS = Limits(seconds=10.0, most_bytes=1 << 16)


def webhook_secret(webhook: Webhook) -> str:
    """What the messages to this webhook are signed with: derived from SECRET_KEY, so that no table holds it."""
    made = webhook.created_at.isoformat()
    return salted_hmac("labeling.webhook", f"{webhook.pk} {made} {webhook.url}", algorithm="sha256").hexdigest()


def signature(secret: str, moment: int, body: bytes) -> str:
    """The value of `Winnow-Signature` for a body that is sent at `moment` (seconds since 1970)."""
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


def watch(dataset: Dataset, url: str, person: Person | None) -> Webhook:
    """Have an address told of the decisions on reported images.

    Raises:
        WrongUsage: it is no address, or is told already.
    """
    try:
        parse_target(url)
    except AddressRefused as refused:
        raise WrongUsage(str(refused)) from refused
    return add_webhook(dataset=dataset, url=url, person=person)


def deliver_due() -> int:
    """Answer the reports that people have settled since, and send what is due; how many messages were tried."""
    queue_decisions()
    due = claim_due()
    for delivery in due:
        _send(delivery)
    return len(due)


def deliver_until(stop: threading.Event) -> threading.Thread:
    """Deliver in a thread of its own until `stop` is set; what fails is logged and tried again."""

    def go_on() -> None:
        while not stop.wait(LOOK_SECONDS):
            try:
                close_old_connections()
                deliver_due()
            except Exception:
                # Most likely the database. Nobody looks after this thread, so it goes on whatever it was.
                logger.exception("Webhooks wait; they are tried again in a moment.")
                connection.close()
        connection.close()

    thread = threading.Thread(target=go_on, name="deliver", daemon=True)
    thread.start()
    return thread


def _send(delivery: Delivery) -> None:
    body, moment = delivery.body.encode(), int(time.time())
    headers = {
        "Content-Type": "application/json",
        "Winnow-Delivery": str(delivery.pk),
        "Winnow-Signature": signature(webhook_secret(delivery.webhook), moment, body),
    }
    try:
        answer = _client(settings.API_WEBHOOKS).post(delivery.webhook.url, body, headers, _LIMITS)
    except AddressRefused as refused:
        book_try(delivery=delivery, status=None, error=str(refused), final=True)
    except DeliveryFailed as failed:
        book_try(delivery=delivery, status=None, error=str(failed))
    else:
        book_try(delivery=delivery, status=answer.status, error=f"The address answered {answer.status}.")


@cache
def _client(rule: OutboundRule) -> OutboundClient:
    return OutboundClient(rule, setting="API_WEBHOOKS")
