"""Runs as people watch them: how far, how fast, how long still."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

from django.core.cache import cache
from django.db.models import Count, QuerySet
from django.utils import timezone

from labeling.models import Dataset, Run, RunKind, RunState

ALIVE = (RunState.QUEUED, RunState.RUNNING)
# A healthy run reports twice a second; after this long without a word something is wrong.
SILENT_AFTER = timedelta(seconds=60)


@dataclass(frozen=True)
class RunProgress:
    """A run and what can be said of it now; rates in units a second, times in seconds."""

    run: Run
    refused: int
    rate: float | None
    seconds_left: float | None
    silent: bool
    asked_at: datetime

    @property
    def moving(self) -> bool:
        return self.run.state in ALIVE

    @property
    def percent(self) -> int | None:
        if not self.run.total:
            return None
        return min(100, int(100 * self.run.done / self.run.total))

    @property
    def seconds_taken(self) -> float | None:
        if self.run.started_at is None:
            return None
        return ((self.run.finished_at or self.asked_at) - self.run.started_at).total_seconds()


def latest_runs(dataset: Dataset, *, limit: int = 5) -> list[RunProgress]:
    """The last runs of a dataset, newest first; two SQL queries at most."""
    return _progress_of(dataset.runs.order_by("-id")[:limit])


def latest_run_of(dataset: Dataset, kind: RunKind) -> RunProgress | None:
    """The newest run of a kind, None before the first; two SQL queries."""
    return next(iter(_progress_of(dataset.runs.filter(kind=kind).order_by("-id")[:1])), None)


def runs_of(datasets: QuerySet[Dataset], *, before: int | None = None, limit: int = 50) -> list[RunProgress]:
    """The runs of these datasets, newest first, older than the run `before` when that is given."""
    runs = Run.objects.filter(dataset__in=datasets.order_by().values("pk")).order_by("-id")
    return _progress_of((runs.filter(pk__lt=before) if before else runs)[:limit])


def progress_of(run: Run) -> RunProgress:
    return _progress(run, run.refusals.count())


def progress_of_all(runs: Iterable[Run]) -> list[RunProgress]:
    """The same for runs that were fetched before; one SQL query."""
    found = list(runs)
    counts = dict(
        Run.objects.filter(pk__in=[run.pk for run in found])
        .annotate(refused=Count("refusals"))
        .values_list("pk", "refused")
    )
    return [_progress(run, counts.get(run.pk, 0)) for run in found]


def _progress_of(runs: QuerySet[Run]) -> list[RunProgress]:
    annotated = runs.select_related("dataset", "created_by")
    return progress_of_all(annotated)


def _progress(run: Run, refused: int) -> RunProgress:
    now = timezone.now()
    rate = _rate(run, now) if run.state == RunState.RUNNING else None
    left = max(run.total - run.done, 0) / rate if rate and run.total else None
    silent = run.state == RunState.RUNNING and run.heartbeat_at is not None and now - run.heartbeat_at > SILENT_AFTER
    return RunProgress(run, refused, rate, left, silent, now)


def _rate(run: Run, now: datetime) -> float | None:
    """Units a second in this stage, since somebody first looked at it.

    A run's own start says nothing here: it counts each stage from zero, and an adopted run goes on at once from
    where the dead one had come to. What is remembered between two looks is only this first sample.
    """
    key = f"run-rate-{run.pk}-{crc32(f'{run.started_at}{run.stage}'.encode())}"
    first: tuple[datetime, int] | None = cache.get(key)
    if first is None or run.done < first[1]:
        cache.set(key, (now, run.done), 86_400)
        return None
    seen_at, done_then = first
    elapsed = ((run.heartbeat_at or now) - seen_at).total_seconds()
    return (run.done - done_then) / elapsed if elapsed >= 1 and run.done > done_then else None
