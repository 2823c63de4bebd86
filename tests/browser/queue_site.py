"""A Winnow with nothing but a queue to review: pictures, ranked items, people, and a web server that may be killed.

It starts in seconds, as no model scores anything, and runs on SQLite or on a PostgreSQL database of its own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.browser.site import environment, free_port
from tests.starter import CHECKOUT

SLUG = "looks"
_FILL = """
import json
from pathlib import Path
from labeling.actions.people import add_person, make_sign_in_token, set_role
from labeling.models import Image, ImageRoot, Role
from tests.builders import add_images, make_dataset, rank_images, write_picture
dataset = make_dataset({slug!r})
images = add_images(dataset, {images})
root = ImageRoot.objects.create(dataset=dataset, path={folder!r})
for image in images:
    write_picture(Path({folder!r}) / image.path, seed=image.pk, size={size!r})
Image.objects.filter(dataset=dataset).update(root=root, width={size!r}[0], height={size!r}[1])
rank_images(dataset, images)
links = {{}}
for name in {people!r}:
    person, _ = add_person(name=name)
    set_role(dataset=dataset, person=person, role=Role.ANNOTATOR)
    links[name] = f"/sign-in/{{person.pk}}/{{make_sign_in_token(person)}}/"
print(json.dumps(links))
"""
_VERDICTS = """
import json
from labeling.models import Verdict
rows = Verdict.objects.order_by("id").values_list("reviewer__username", "image_id", "kind", "label__name")
print(json.dumps(list(rows)))
"""
_IMAGES = """
import json
from labeling.models import Image
print(json.dumps(list(Image.objects.order_by("id").values_list("id", flat=True))))
"""


@dataclass
class QueueSite:
    """One dataset, `looks`, of five classes; `links` sign people in."""

    home: Path
    port: int
    database_url: str
    links: dict[str, str] = field(default_factory=dict)
    _server: "subprocess.Popen[bytes] | None" = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def review(self) -> str:
        return f"{self.base}/d/{SLUG}/review/"

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, script: str) -> Any:
        """What a script that prints JSON finds in this installation."""
        return json.loads(self.run("shell", "--no-imports", "-c", script).strip().splitlines()[-1])

    def sign_in_path(self, name: str) -> str:
        """A new link, as each works once."""
        link = self.run("sign_in_link", name, "--base", self.base).strip()
        return link.removeprefix(self.base)

    def verdicts(self) -> list[tuple[str, int, str, str | None]]:
        """(person, image, kind, class) of every verdict, in the order of the database."""
        return [(person, image, kind, label) for person, image, kind, label in self.python(_VERDICTS)]

    def images(self) -> list[int]:
        return [int(pk) for pk in self.python(_IMAGES)]

    def start(self) -> None:
        self._server = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "reviewer.wsgi:application", "--bind", f"127.0.0.1:{self.port}"),
                *("--config", "python:reviewer.gunicorn_config", "--log-level", "critical"),
            ],
            cwd=CHECKOUT,
            env=self._environment(),
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("The web server did not listen within a minute.")

    def kill(self) -> None:
        """SIGKILL to the server and its workers, as when the machine loses power."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        self._server = None

    @contextmanager
    def down(self) -> Iterator[None]:
        """While the server is dead."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    def stop(self) -> None:
        if self._server is not None:
            self.kill()

    def _environment(self) -> dict[str, str]:
        return environment(self.home) | {"DATABASE_URL": self.database_url}


@contextmanager
def queue_site(
    *, images: int, people: Sequence[str], postgres: str = "", size: tuple[int, int] = (320, 240)
) -> Iterator[QueueSite]:
    """A running site.

    Args:
        postgres: the URL of a PostgreSQL server whose role may create databases; empty for SQLite.
    """
    with tempfile.TemporaryDirectory(prefix="winnow-queue-") as folder, _database(postgres) as url:
        site = QueueSite(Path(folder) / "home", free_port(), url)
        site.run("migrate", "--verbosity", "0")
        site.run("collectstatic", "--verbosity", "0", "--no-input")
        pictures = str(Path(folder) / "pictures")
        site.links = site.python(
            _FILL.format(slug=SLUG, images=images, folder=pictures, people=list(people), size=size)
        )
        site.start()
        try:
            yield site
        finally:
            site.stop()


@contextmanager
def _database(server: str) -> Iterator[str]:
    if not server:
        yield ""
        return
    import psycopg

    name = f"winnow_browser_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
