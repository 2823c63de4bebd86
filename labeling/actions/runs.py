"""Runs: beginning, adopting, reporting, stopping and finishing long jobs.

Whether a run is alive is decided by a file lock that its process holds: the system gives it back the moment the
process dies, by whatever cause. Runs of other machines (PostgreSQL) are judged by their heartbeat.
"""

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from filelock import FileLock, Timeout

from labeling.actions.planner import inform_planner
from labeling.errors import LabelingError, RunInProgress, RunStopped
from labeling.importers.paths import MAX_STORED_BYTES
from labeling.models import Dataset, Person, Run, RunKind, RunRefusal, RunState

logger = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 10.0
WAIT_SECONDS = 2.0
FOREIGN_HEARTBEAT = timedelta(minutes=2)
_REPORT_EVERY = 0.5

# Kinds that write the same rows exclude each other.
_AT_WORK_ON = {RunKind.RERANK: RunKind.FIND_ISSUES, RunKind.REORDER: RunKind.FIND_ISSUES}

Listener = Callable[[int, int | None, str], None]
T = TypeVar("T")


class RunReporter:
    """What a running job uses to tell how far it is. Calls are cheap: the row is written twice a second."""

    def __init__(self, run: Run, listener: Listener | None = None) -> None:
        self.run = run
        self._listener = listener
        self._written_at = 0.0
        self._stop = False

    def stage(self, name: str, total: int | None = None, done: int = 0) -> None:
        """Begin a stage; `total` is None where it cannot be known."""
        if name != self.run.stage:
            inform_planner()
        self.run.stage, self.run.total, self.run.done = name, total, done
        self._write()

    def advance(self, count: int = 1) -> None:
        """Report `count` more units of the stage.

        Raises:
            RunStopped: a person asked the run to stop.
        """
        self.run.done += count
        if time.monotonic() - self._written_at >= _REPORT_EVERY:
            self._write()
        elif self._listener:
            self._listener(self.run.done, self.run.total, self.run.stage)
        if self._stop:
            of = f" of {self.run.total}" if self.run.total else ""
            raise RunStopped(f"Stopped at {self.run.done}{of}; what is finished is kept.")

    @property
    def stop_requested(self) -> bool:
        return self._stop

    def refuse(self, path: str, code: str, reason: str) -> None:
        """Record a file that could not be used; the run goes on."""
        RunRefusal.everything.update_or_create(
            run=self.run, path=_shortened(path), code=code[:40], defaults={"reason": reason[:500]}
        )

    def _write(self) -> None:
        self._written_at = time.monotonic()
        Run.objects.filter(pk=self.run.pk).update(
            stage=self.run.stage, total=self.run.total, done=self.run.done, heartbeat_at=timezone.now()
        )
        self._stop = Run.objects.filter(pk=self.run.pk, stop_requested=True).exists()
        if self._listener:
            self._listener(self.run.done, self.run.total, self.run.stage)


def following(reporter: RunReporter) -> Listener:
    """A listener that shows a step's progress as that of the run which the step belongs to.

    Stopping that run stops the step.
    """

    def follow(done: int, total: int | None, stage: str) -> None:
        reporter.run.stage, reporter.run.total, reporter.run.done = stage, total, done
        reporter.advance(0)

    return follow


def when_free(reporter: RunReporter, step: Callable[[Listener], T]) -> T:
    """Carry out a step that is a run of its own, once no other run of its kind is at work on the dataset.

    Another worker may have taken up the step of a run that was killed, or a person may have started the same.

    Args:
        reporter: of the run that the step belongs to; stopping that one ends the waiting, and the step.
        step: called with a listener for its progress; again after a while where it raises RunInProgress.
    """
    while True:
        try:
            return step(following(reporter))
        except RunInProgress:
            reporter.stage("waiting for another run to end")
            reporter.advance(0)
            time.sleep(WAIT_SECONDS)


def _shortened(path: str) -> str:
    """A path that fits an index: one that is too long keeps its ends and a digest of all of it."""
    if len(path.encode()) <= MAX_STORED_BYTES:
        return path
    digest = hashlib.sha256(path.encode()).hexdigest()[:16]
    return f"{path[:200]} … {path[-200:]} ({digest})"


@contextmanager
def running(
    *,
    dataset: Dataset,
    kind: RunKind,
    parameters: dict[str, Any],
    person: Person | None = None,
    queued: Run | None = None,
    listener: Listener | None = None,
) -> Iterator[RunReporter]:
    """Carry out one run: begin it (or adopt the one that died), and finish it by how the block ends.

    A run of the same kind and parameters whose process died is adopted: the same row goes on, so that a killed and
    repeated job leaves what an undisturbed one leaves.

    Raises:
        RunInProgress: the same kind of run is alive on this dataset.
    """
    with _run_lock(dataset, kind):
        run = _begin(dataset, kind, parameters, person, queued)
        reporter = RunReporter(run, listener)
        try:
            with _beating_heart(run):
                yield reporter
        except RunStopped as stopped:
            finish_run(run, RunState.STOPPED, error=str(stopped))
            raise
        except LabelingError as error:
            finish_run(run, RunState.FAILED, error=str(error))
            raise
        except KeyboardInterrupt:
            finish_run(run, RunState.STOPPED, error="Stopped from the keyboard; what is finished is kept.")
            raise
        except Exception as error:
            finish_run(run, RunState.FAILED, error=f"{type(error).__name__}: {error}")
            raise
        inform_planner()
        finish_run(run, RunState.DONE)


def queue_run(*, dataset: Dataset, kind: RunKind, parameters: dict[str, Any], person: Person | None) -> Run:
    """A row for a run that a worker will carry out; an equal one that still waits is returned instead."""
    with transaction.atomic():
        waiting = Run.objects.filter(dataset=dataset, kind=kind, state=RunState.QUEUED, parameters=parameters).first()
        return waiting or Run.objects.create(dataset=dataset, kind=kind, parameters=parameters, created_by=person)


def request_stop(*, run: Run) -> None:
    """Ask a run to stop at its next report; one that has not begun is stopped at once."""
    with transaction.atomic():
        waiting = Run.objects.filter(pk=run.pk, state=RunState.QUEUED)
        if not waiting.update(state=RunState.STOPPED, finished_at=timezone.now(), stop_requested=True):
            Run.objects.filter(pk=run.pk, state=RunState.RUNNING).update(stop_requested=True)


def finish_run(run: Run, state: RunState, *, error: str = "") -> None:
    run.state, run.error, run.finished_at = state, error, timezone.now()
    run.save(update_fields=["state", "error", "finished_at", "stage", "done", "total", "summary"])


def dead_runs() -> list[Run]:
    """The runs that say they are running on this machine, and whose process is gone."""
    mine = Run.objects.filter(state=RunState.RUNNING, host=socket.gethostname()).select_related("dataset")
    dead = []
    for run in mine:
        try:
            with _run_lock(run.dataset, RunKind(run.kind)):
                dead.append(run)
        except RunInProgress:
            continue
    return dead


@contextmanager
def _beating_heart(run: Run) -> Iterator[None]:
    """Keep the heartbeat going through stages that report nothing for minutes (fitting a large fold, say)."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now())
            except DatabaseError:
                logger.warning("The heartbeat of run %s could not be written; trying again.", run.pk)
            finally:
                connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{run.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _run_lock(dataset: Dataset, kind: RunKind) -> Iterator[None]:
    settings.LOCKS_ROOT.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.LOCKS_ROOT / f"run-{dataset.pk}-{_AT_WORK_ON.get(kind, kind)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunInProgress(
            f"A run of the kind “{_AT_WORK_ON.get(kind, kind).label}” is already working on {dataset.slug}. "
            "Wait for it, or stop it on its page."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _begin(
    dataset: Dataset, kind: RunKind, parameters: dict[str, Any], person: Person | None, queued: Run | None
) -> Run:
    now = timezone.now()
    with transaction.atomic():
        left = Run.objects.filter(dataset=dataset, kind=kind, state=RunState.RUNNING).first()
        if left is not None:
            foreign = left.host != socket.gethostname()
            if foreign and left.heartbeat_at and left.heartbeat_at > now - FOREIGN_HEARTBEAT:
                raise RunInProgress(
                    f"A run of the kind “{kind.label}” is working on {dataset.slug} on the machine {left.host}. "
                    "Wait for it, or stop it on its page."
                )
            same = left.parameters == parameters if queued is None else left.pk == queued.pk
            if not same:
                finish_run(left, RunState.FAILED, error="The process died; another run took its place.")
                left = None
        run = left or queued or Run(dataset=dataset, kind=kind, parameters=parameters, created_by=person)
        run.state, run.host, run.started_at = RunState.RUNNING, socket.gethostname(), run.started_at or now
        run.heartbeat_at, run.stop_requested, run.done, run.total, run.stage = now, False, 0, None, ""
        run.finished_at, run.error, run.parameters = None, "", parameters
        run.save()
    return run
