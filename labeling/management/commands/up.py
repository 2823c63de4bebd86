"""manage.py up"""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandParser
from django.utils.text import slugify
from filelock import FileLock, Timeout

from labeling.actions.people import add_person
from labeling.errors import LabelingError, WrongUsage
from labeling.importers.folders import read_folder
from labeling.importers.paths import escape_root
from labeling.management.base import WinnowCommand, whole_number
from labeling.management.parent import PARENT_VARIABLE
from labeling.models import Dataset, ImageRoot
from labeling.pipeline.demo import SLUG as DEMO
from labeling.pipeline.demo import make_demo
from labeling.pipeline.preparing import prepare_dataset
from labeling.taxonomies import TaxonomySpec, fitting_taxonomy, load_taxonomy

ADMIN = "admin"
_START_SECONDS = 60
_STOP_SECONDS = 10


class Command(WinnowCommand):
    help = "Bring everything up: database, demo or your own images, web pages, worker; ends with a sign-in link."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=whole_number(1, 65535), default=8000)
        parser.add_argument("--host", default="127.0.0.1", help="The address to listen on (default 127.0.0.1).")
        parser.add_argument(
            "--import", dest="folder", type=Path, help="A folder of your own images instead of the demo."
        )
        parser.add_argument("--dataset", help="The dataset to import into; named after the folder when left out.")
        parser.add_argument("--taxonomy", help="The taxonomy of that folder; found by its class names when left out.")

    def carry_out(self, options: dict[str, Any]) -> dict[str, Any]:
        settings.LOCKS_ROOT.mkdir(parents=True, exist_ok=True)
        lock = FileLock(settings.LOCKS_ROOT / "up.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise WrongUsage(
                f"Winnow is already running on {settings.WINNOW_HOME}. Use that one, stop it with Ctrl+C where it "
                "runs, or start a second installation with WINNOW_HOME=another/folder and another PORT."
            ) from None
        with lock:
            _check_port_is_free(options["host"], options["port"])
            call_command("collectstatic", verbosity=0, interactive=False)
            slug = self._prepare(options)
            person, _ = add_person(name=ADMIN, superuser=True)
            _serve(options["host"], options["port"], lambda base: self._greet(base, person.username, slug))
        return {"stopped": True}

    def say(self, summary: dict[str, Any]) -> str:
        return "Winnow has stopped. All work is saved."

    def _prepare(self, options: dict[str, Any]) -> str:
        def say(step: str) -> None:
            self.progress.close()
            self.stdout.write(step)

        if options["folder"] is None:
            summary = make_demo(say=say, listener=self.progress)
            self.progress.close()
            say(
                f"The demo: the first {summary.first} of {summary.images} ranked images hold {summary.found_first} "
                f"of its {summary.planted} planted errors."
            )
            return summary.dataset
        folder = options["folder"].expanduser()
        if not folder.is_dir():
            raise WrongUsage(f"DATA must be a folder of images (CLASS/FILE or SPLIT/CLASS/FILE), but got {folder}.")
        spec = _taxonomy(folder, options["taxonomy"])
        slug = options["dataset"] or _slug(folder.resolve())
        return prepare_dataset(slug, folder, spec, say=say, listener=self.progress).slug

    def _greet(self, base: str, name: str, slug: str) -> None:
        self.progress.close()
        self.stdout.write(f"\nWinnow is running at {base} (Ctrl+C stops it).")
        self.stdout.write("Sign in with this link; it works once:\n")
        call_command("sign_in_link", name, base=base, stdout=self.stdout)
        self.stdout.write(f"\nThen review at {base}/d/{slug}/review/\n")
        self.stdout.flush()


def _taxonomy(folder: Path, reference: str | None) -> TaxonomySpec:
    if reference:
        return load_taxonomy(reference)
    return fitting_taxonomy(record.label for record in read_folder(folder.resolve()).records)


def _slug(folder: Path) -> str:
    """The dataset that this very folder was imported into, else a free name after the folder's."""
    known = ImageRoot.objects.filter(path=escape_root(folder)).select_related("dataset").first()
    if known is not None:
        return known.dataset.slug
    base = slugify(folder.name)[:50] or "images"
    for number in itertools.count(1):
        slug = base if number == 1 else f"{base}-{number}"
        if slug != DEMO and not Dataset.objects.filter(slug=slug, images__isnull=False).exists():
            return slug
    raise AssertionError("unreachable: the numbers do not end")


def _check_port_is_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise WrongUsage(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with `make run PORT=8001`."
            ) from error


def _serve(host: str, port: int, greet: Any) -> None:
    """Run the web server and the worker until one of them ends or somebody stops this process."""
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "reviewer.settings", PARENT_VARIABLE: str(os.getpid())}
    children = {
        "web": subprocess.Popen(_web_command(host, port), cwd=settings.BASE_DIR, env=environment),
        "worker": subprocess.Popen(
            [sys.executable, "manage.py", "worker", "--verbosity", "0"],
            cwd=settings.BASE_DIR,
            env=environment,
        ),
    }
    try:
        _wait_until_reachable(host, port, children["web"])
        greet(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        while True:
            for name, child in children.items():
                if child.poll() is not None:
                    raise LabelingError(
                        f"The {name} process ended with code {child.returncode}; its messages are above. "
                        "Start again: nothing is lost."
                    )
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    finally:
        _stop(list(children.values()))


def _web_command(host: str, port: int) -> list[str]:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if sys.platform == "win32":  # gunicorn does not run there
        return [sys.executable, "manage.py", "runserver", address, "--noreload", "--insecure"]
    config = "python:reviewer.gunicorn_config"
    return [sys.executable, "-m", "gunicorn", "reviewer.wsgi:application", "--bind", address, "--config", config]


def _wait_until_reachable(host: str, port: int, web: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if web.poll() is not None:
            return
        try:
            with socket.create_connection((host, port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise LabelingError(f"The web server did not answer on {host}:{port} within {_START_SECONDS} seconds.")


def _stop(children: "list[subprocess.Popen[bytes]]") -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for child in children:
        try:
            child.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # A run in the worker is resumable: the next start goes on with it.
            child.kill()
            child.wait()


def _as_keyboard_interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
