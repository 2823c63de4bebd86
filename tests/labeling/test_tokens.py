"""Tokens by command, and the signs of life that workers leave."""

from __future__ import annotations

import io
import json
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from labeling.actions import workers
from labeling.actions.tokens import MOST_PER_MINUTE, check_token, make_token
from labeling.actions.workers import beat, beat_until
from labeling.errors import TokenRefused, WrongUsage
from labeling.models import ApiToken, Dataset, Scope, WorkerBeat
from labeling.pipeline import delivering
from labeling.pipeline.delivering import deliver_until

pytestmark = pytest.mark.django_db


def say(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("api_token", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue().strip().splitlines()[-1])


def test_a_token_is_made_listed_and_revoked_by_command(dataset: Dataset) -> None:
    made = say("looks", "--name", "The shop", "--scopes", "predict,report", "--per-minute", "30", "--days", "7")
    assert check_token(made["token"], Scope.REPORT).dataset == dataset
    [listed] = say("looks")["tokens"]
    assert (listed["id"], listed["state"], listed["per_minute"]) == (made["id"], "valid", 30)
    assert made["token"] not in json.dumps(listed)
    assert say("looks", "--revoke", made["id"])["changed"] is True
    assert say("looks", "--revoke", made["id"])["changed"] is False
    assert say("looks")["tokens"][0]["state"] == "revoked"
    with pytest.raises(TokenRefused):
        check_token(made["token"], Scope.REPORT)


def test_in_words_the_command_prints_the_token_alone(dataset: Dataset) -> None:
    out = io.StringIO()
    call_command("api_token", "looks", "--name", "x", stdout=out)
    assert check_token(out.getvalue().strip(), Scope.PREDICT).name == "x"


@pytest.mark.parametrize(
    "arguments",
    [
        ("looks", "--name", "x", "--scopes", "all"),
        ("looks", "--revoke", "nothing"),
        ("nowhere",),
        ("looks", "--name", " "),
    ],
)
def test_the_command_refuses_what_it_cannot_do(dataset: Dataset, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("api_token", *arguments, stdout=io.StringIO())
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"per_minute": 0},
        {"per_minute": MOST_PER_MINUTE + 1},
        {"expires_at": timezone.now() - timedelta(days=1)},
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(dataset: Dataset, wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongUsage):
        make_token(**{"dataset": dataset, "name": "x", "scopes": [Scope.PREDICT], **wrong})


def test_a_beat_is_one_row_a_process_and_the_dead_are_forgotten(db: None) -> None:
    WorkerBeat.objects.create(host="gone", pid=1, seen_at=timezone.now() - timedelta(days=2))
    beat()
    beat()
    assert WorkerBeat.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_beats_and_delivers_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(delivering, "LOOK_SECONDS", 0.01)
    delivered = threading.Event()
    monkeypatch.setattr(delivering, "deliver_due", delivered.set)
    stop = threading.Event()
    threads = [beat_until(stop), deliver_until(stop)]
    deadline = time.monotonic() + 20
    while not WorkerBeat.objects.exists():
        assert time.monotonic() < deadline
    assert delivered.wait(20)
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
