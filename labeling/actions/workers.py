"""The signs of life of worker processes."""

import os
import socket
import threading
from datetime import timedelta

from django.db import DatabaseError, close_old_connections, connection, transaction
from django.utils import timezone

from labeling.models import WorkerBeat

BEAT_SECONDS = 15.0
_FORGET_AFTER = timedelta(days=1)


def beat() -> None:
    """Note that this process is alive, and forget those that were silent for a day."""
    now = timezone.now()
    with transaction.atomic():
        WorkerBeat.objects.update_or_create(host=socket.gethostname(), pid=os.getpid(), defaults={"seen_at": now})
        WorkerBeat.objects.filter(seen_at__lt=now - _FORGET_AFTER).delete()


def beat_until(stop: threading.Event) -> threading.Thread:
    """Beat in a thread of its own until `stop` is set. A database that does not answer is asked again later."""

    def go_on() -> None:
        while True:
            try:
                close_old_connections()
                beat()
            except DatabaseError:
                connection.close()
            if stop.wait(BEAT_SECONDS):
                connection.close()
                return

    thread = threading.Thread(target=go_on, name="worker-beat", daemon=True)
    thread.start()
    return thread
