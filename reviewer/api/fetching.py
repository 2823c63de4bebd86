"""Pictures at URLs: the settings that bound fetching, and how many may be fetched at once."""

import threading
from functools import cache

from django.conf import settings

from labeling.outbound.client import Limits, OutboundClient
from labeling.outbound.rules import OutboundRule
from reviewer.api.problems import Problem

FETCH_SECONDS = 10.0


@cache
def outbound_client(rule: OutboundRule) -> OutboundClient:
    return OutboundClient(rule)


# Slow hosts hold threads. Half of them are for everybody else.
_places = threading.BoundedSemaphore(max(1, settings.WEB_THREADS // 2))


def fetch_picture(url: str) -> bytes:
    """The picture at a URL, by the rule of API_FETCH.

    Raises:
        Problem: as many are being fetched as may.
        AddressRefused, DeliveryFailed: see `labeling.outbound.client`.
    """
    if not _places.acquire(blocking=False):
        raise Problem(503, "busy", "As many URLs are being fetched as may. Ask again soon.", {"Retry-After": "2"})
    try:
        client = outbound_client(settings.API_FETCH)
        return client.fetch_picture(url, Limits(FETCH_SECONDS, settings.API_MAX_BODY_MB << 20))
    finally:
        _places.release()
