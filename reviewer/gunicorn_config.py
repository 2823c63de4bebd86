"""How `manage.py up` runs gunicorn; the address comes from its command line."""

from typing import Any

from django.conf import settings

from labeling.management.parent import end_with_parent

workers = settings.WEB_PROCESSES
threads = settings.WEB_THREADS
worker_tmp_dir = str(settings.WINNOW_HOME)
loglevel = "warning"


def when_ready(server: Any) -> None:
    """Called in gunicorn's own process once it listens."""
    end_with_parent()
