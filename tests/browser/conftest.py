"""A real Winnow, started as people start it, and a real Chromium."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright

from tests.starter import starter_model_folder

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Site:
    """A running installation with the demo in it."""

    base: str
    link: str
    home: Path

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        connection = sqlite3.connect(f"file:{self.home / 'winnow.sqlite3'}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(query, parameters).fetchall()
        finally:
            connection.close()

    def command(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env=environment(self.home),
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout


def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "WINNOW_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "reviewer.settings",
        "DATABASE_URL": "",
        "LOG_LEVEL": "WARNING",
    }


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """`manage.py up`, as `make run` calls it, on a free port."""
    with tempfile.TemporaryDirectory(prefix="winnow-browser-") as folder, socket.socket() as probe:
        home = Path(folder)
        shutil.copytree(starter_model_folder().parent, home / "models")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", str(port)],
            cwd=settings.BASE_DIR,
            env=environment(home) | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+/sign-in/\S+", line):
                break
        else:
            pytest.fail(f"`up` ended before it printed a link: {''.join(said)}")
        try:
            yield Site(f"http://127.0.0.1:{port}", found.group(), home)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Chromium (Debian: apt-get install chromium).")
        pytest.skip("There is no Chromium here (Debian: apt-get install chromium, or set CHROMIUM=/path).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a new, empty profile; an error on its console fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert not errors
