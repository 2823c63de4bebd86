"""What the API leaves in a dataset is booked on one run of each kind, which is never at work and never ends."""

from django.db import transaction
from django.utils import timezone

from labeling.models import Dataset, Run, RunKind, RunState


def standing_run(dataset: Dataset, kind: RunKind) -> Run:
    """The dataset's one run of this kind, made when it is needed first."""
    found = Run.objects.filter(dataset=dataset, kind=kind).order_by("pk").first()
    if found is not None:
        return found
    now = timezone.now()
    with transaction.atomic():
        # Two first requests at once wait for each other here; SQLite has one writer anyway.
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        found, _ = Run.objects.get_or_create(
            dataset=dataset, kind=kind, defaults={"state": RunState.DONE, "started_at": now, "finished_at": now}
        )
    return found
