"""`manage.py up`: what a person meets first, and what is left when it is killed."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings

from tests.browser.conftest import environment
from tests.builders import write_class_folders
from tests.starter import starter_model_folder

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Path, port: int, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "up", "--port", str(port), *arguments],
        cwd=settings.BASE_DIR,
        env=environment(home) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until_link(process: "subprocess.Popen[str]") -> str:
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if re.search(r"http://\S+/sign-in/\S+", line):
            return "".join(said)
    raise AssertionError("".join(said))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def chosen_slug(home: Path, folder: Path) -> str:
    script = (
        "import sys, django; django.setup(); from pathlib import Path; "
        "from labeling.management.commands.up import _slug; print(_slug(Path(sys.argv[1]).resolve()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=settings.BASE_DIR,
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


def test_one_s_own_folder_is_prepared_once_and_a_second_start_redoes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(starter_model_folder().parent, home / "models")
    folder = write_class_folders(tmp_path / "My Images", {"Neutral": 8, "drawings": 8})
    port = free_port()

    first = start(home, port, "--import", str(folder))
    said = read_until_link(first)
    assert "16 images added" in said
    assert "16 images ranked" in said
    [link] = re.findall(r"http://\S+/sign-in/\S+", said)
    with urllib.request.urlopen(link, timeout=30) as page:
        assert b"Sign in as admin" in page.read()

    # Another folder of the same name is another dataset.
    twin = write_class_folders(tmp_path / "elsewhere" / "My Images", {"neutral": 1})
    assert chosen_slug(home, twin) == "my-images-2"
    assert chosen_slug(home, folder) == "my-images"

    # A second one on the same home is refused with what to do.
    second = start(home, free_port(), "--import", str(folder))
    refused, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "already running" in refused

    # Killed without warning: nothing may keep the port.
    first.send_signal(signal.SIGKILL)
    first.communicate()
    deadline = time.monotonic() + 15
    while listens(port):
        assert time.monotonic() < deadline, "the web server outlived the process that started it"
        time.sleep(0.1)

    begun = time.monotonic()
    third = start(home, port, "--import", str(folder))
    said = read_until_link(third)
    assert "0 images added, 16 already there" in said
    assert "Scoring" not in said
    assert time.monotonic() - begun < 30
    third.send_signal(signal.SIGINT)
    out, _ = third.communicate(timeout=90)
    assert third.returncode == 0
    assert "All work is saved" in out


def test_a_folder_of_unknown_classes_says_how_to_name_a_taxonomy(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "pets", {"cat": 1, "dog": 1})
    process = start(tmp_path / "home", free_port(), "--import", str(folder))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "TAXONOMY=FILE.toml" in said
    assert 'name = "cat"' in said


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(tmp_path / "home", taken.getsockname()[1])
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "make run PORT=" in said
