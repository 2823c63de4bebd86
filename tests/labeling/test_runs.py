"""Runs: one at a time, adopted when they died, stopped when asked."""

import subprocess
import sys
from datetime import timedelta
from unittest import mock

import pytest
from django.conf import settings
from django.utils import timezone

from labeling.actions.runs import dead_runs, queue_run, request_stop, running
from labeling.errors import LabelingError, RunInProgress, RunStopped
from labeling.models import Dataset, Run, RunKind, RunState
from labeling.tasks import carry_out, start_run
from tests.builders import make_dataset

pytestmark = pytest.mark.django_db


@pytest.fixture
def plain(db: None) -> Dataset:
    return make_dataset("plain")


def test_a_run_that_ends_well_is_done(plain: Dataset) -> None:
    with running(dataset=plain, kind=RunKind.SCORE, parameters={}) as reporter:
        reporter.stage("counting", 10)
        reporter.advance(10)
        reporter.run.summary = {"counted": 10}
    run = Run.objects.get()
    assert (run.state, run.done, run.total, run.summary) == (RunState.DONE, 10, 10, {"counted": 10})
    assert run.finished_at is not None


def test_a_run_that_raises_keeps_the_reason(plain: Dataset) -> None:
    with pytest.raises(ZeroDivisionError), running(dataset=plain, kind=RunKind.SCORE, parameters={}):
        raise ZeroDivisionError("no")
    assert (Run.objects.get().state, Run.objects.get().error) == (RunState.FAILED, "ZeroDivisionError: no")


def test_two_runs_of_a_kind_never_work_on_one_dataset(plain: Dataset) -> None:
    with running(dataset=plain, kind=RunKind.SCORE, parameters={}):
        with pytest.raises(RunInProgress, match="already working on plain"):
            running(dataset=plain, kind=RunKind.SCORE, parameters={}).__enter__()
        with running(dataset=plain, kind=RunKind.EXPORT, parameters={}):
            pass
    assert Run.objects.filter(state=RunState.DONE).count() == 2


def dead_run(dataset: Dataset, **facts: object) -> Run:
    """A run whose process died: it says that it is running, and nobody holds its lock."""
    with (
        mock.patch("labeling.actions.runs.finish_run"),
        running(dataset=dataset, kind=RunKind.SCORE, parameters={"model": "a"}),
    ):
        pass
    Run.objects.update(**facts)
    return Run.objects.get()


def test_a_dead_run_of_the_same_job_is_adopted(plain: Dataset) -> None:
    dead = dead_run(plain)
    assert dead_runs() == [dead]
    with running(dataset=plain, kind=RunKind.SCORE, parameters={"model": "a"}) as reporter:
        assert reporter.run == dead
        assert dead_runs() == []
    assert Run.objects.get().state == RunState.DONE


def test_a_dead_run_of_another_job_is_closed(plain: Dataset) -> None:
    dead = dead_run(plain)
    with running(dataset=plain, kind=RunKind.SCORE, parameters={"model": "b"}) as reporter:
        assert reporter.run != dead
    dead.refresh_from_db()
    assert (dead.state, dead.error) == (RunState.FAILED, "The process died; another run took its place.")


def test_a_run_of_another_machine_is_judged_by_its_heartbeat(plain: Dataset) -> None:
    dead_run(plain, host="elsewhere")
    assert dead_runs() == []
    with pytest.raises(RunInProgress, match="on the machine elsewhere"):
        running(dataset=plain, kind=RunKind.SCORE, parameters={"model": "a"}).__enter__()
    Run.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    with running(dataset=plain, kind=RunKind.SCORE, parameters={"model": "a"}):
        pass
    assert Run.objects.get().state == RunState.DONE


def test_the_lock_of_a_killed_process_is_free_at_once(plain: Dataset) -> None:
    path = settings.LOCKS_ROOT / f"run-{plain.pk}-score.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    script = (
        f"from filelock import FileLock; lock = FileLock({str(path)!r}); lock.acquire(); "
        "print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(RunInProgress):
        running(dataset=plain, kind=RunKind.SCORE, parameters={}).__enter__()
    holder.kill()
    holder.communicate()
    with running(dataset=plain, kind=RunKind.SCORE, parameters={}):
        pass


def test_a_running_run_stops_at_its_next_report(plain: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.actions.runs._REPORT_EVERY", 0)
    with running(dataset=plain, kind=RunKind.SCORE, parameters={}) as reporter:
        request_stop(run=reporter.run)
        with pytest.raises(RunStopped) as stopped:
            reporter.advance()
    with pytest.raises(RunStopped), running(dataset=plain, kind=RunKind.EXPORT, parameters={}):
        raise stopped.value
    assert Run.objects.get(kind=RunKind.EXPORT).state == RunState.STOPPED


def test_a_queued_run_is_stopped_before_it_begins(plain: Dataset) -> None:
    run = queue_run(dataset=plain, kind=RunKind.SCORE, parameters={}, person=None)
    request_stop(run=run)
    assert "stopped already" in carry_out.call(run.pk)


def test_the_same_job_is_queued_once(plain: Dataset, django_capture_on_commit_callbacks: object) -> None:
    first = start_run(dataset=plain, kind=RunKind.SCORE, parameters={}, person=None)
    assert start_run(dataset=plain, kind=RunKind.SCORE, parameters={}, person=None) == first


def test_a_queued_job_that_cannot_begin_says_why_on_its_page(plain: Dataset) -> None:
    run = queue_run(dataset=plain, kind=RunKind.SCORE, parameters={}, person=None)
    carry_out.call(run.pk)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "has no images" in run.error


def test_errors_of_winnow_end_a_run_with_their_own_words(plain: Dataset) -> None:
    with pytest.raises(LabelingError), running(dataset=plain, kind=RunKind.SCORE, parameters={}):
        raise LabelingError("Expected this, received that.")
    assert Run.objects.get().error == "Expected this, received that."


def test_a_ranking_and_a_reranking_exclude_each_other(dataset: Dataset) -> None:
    with (
        running(dataset=dataset, kind=RunKind.FIND_ISSUES, parameters={}),
        pytest.raises(RunInProgress, match="find issues"),
        running(dataset=dataset, kind=RunKind.RERANK, parameters={}),
    ):
        pass
