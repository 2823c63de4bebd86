"""A real Winnow in a home of its own, and the system's Chromium: for the browser tests and the screenshots."""

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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright, expect

from tests.starter import CHECKOUT, starter_model_folder

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
NO_CHROMIUM = "There is no Chromium here (Debian: apt-get install chromium, or set CHROMIUM=/path)."


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

    def change(self, statement: str, *parameters: Any) -> None:
        """Write to the database past the application, as for what a test leaves to those after it."""
        connection = sqlite3.connect(self.home / "winnow.sqlite3", timeout=20)
        try:
            with connection:
                connection.execute(statement, parameters)
        finally:
            connection.close()

    def command(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT,
            env=environment(self.home),
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    def sign_in_link(self, name: str) -> str:
        return self.command("sign_in_link", name, "--base", self.base).strip()


def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "WINNOW_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "reviewer.settings",
        "DATABASE_URL": "",
        "LOG_LEVEL": "WARNING",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_site() -> Iterator[Site]:
    """`manage.py up`, as `make run` calls it, on a free port and in a temporary home.

    Raises:
        RuntimeError: it ended before it printed the sign-in link.
    """
    with tempfile.TemporaryDirectory(prefix="winnow-browser-") as folder:
        home = Path(folder)
        shutil.copytree(starter_model_folder().parent, home / "models")
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", str(port)],
            cwd=CHECKOUT,
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
            raise RuntimeError(f"`up` ended before it printed a link: {''.join(said)}")
        try:
            yield Site(f"http://127.0.0.1:{port}", found.group(), home)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=90)


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
    )


def press_start(page: Page) -> None:
    """Begin with Enter, as a person does who sees the page: not before its button has the keyboard."""
    expect(page.locator("button[autofocus]")).to_be_focused()
    page.keyboard.press("Enter")
