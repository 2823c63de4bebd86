"""manage.py worker"""

import threading
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from labeling.actions.workers import beat_until
from labeling.management.base import bring_database_up_to_date
from labeling.management.parent import end_with_parent
from labeling.pipeline.delivering import deliver_until
from labeling.tasks import requeue_dead_runs


class Command(BaseCommand):
    help = "Carry out queued runs until stopped; first hands on the runs whose process died."

    def handle(self, *args: Any, **options: Any) -> None:
        end_with_parent()
        bring_database_up_to_date()
        requeue_dead_runs()
        stopping = threading.Event()
        threads = [beat_until(stopping), deliver_until(stopping)]
        try:
            call_command("db_worker", interval=0.5, startup_delay=False, reload=False, verbosity=options["verbosity"])
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
