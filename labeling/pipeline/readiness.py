"""Whether this installation can do its work now: database, model, worker."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import DatabaseError
from django.utils import timezone

from labeling.models import WorkerBeat
from labeling.pipeline.serving import ModelNotReady, check_model_folder, served_model

SILENT_AFTER = timedelta(seconds=60)


@dataclass(frozen=True)
class Readiness:
    """`missing` says in sentences what is not there; `model` is the version that answers, empty when there is none."""

    missing: tuple[str, ...]
    model: str


def readiness() -> Readiness:
    """Look at each part once; two SQL queries at most, and no picture is answered."""
    try:
        beats = WorkerBeat.objects.filter(seen_at__gte=timezone.now() - SILENT_AFTER).exists()
    except DatabaseError:
        return Readiness(("The database does not answer.",), "")
    missing: list[str] = []
    model = ""
    try:
        served = served_model()
        check_model_folder(served)
        model = str(served.version)
    except ModelNotReady as error:
        missing.append(str(error))
    if not beats:
        missing.append("No worker has been heard of within a minute; start one with manage.py worker.")
    return Readiness(tuple(missing), model)
