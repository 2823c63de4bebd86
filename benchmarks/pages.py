"""Server time of the pages that people use all day, at 10,000 and at 1,000,000 images, and of many reviewers at once.

Rows are synthetic and written by SQL: no image file is read. The whole of Django answers (middleware, session, view,
template); only the socket is left out, but for the many reviewers, who talk to a gunicorn of their own.
"""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks.results import Row, show

CHECKOUT = Path(__file__).parents[1]
SMALL, LARGE, SHARED = 10_000, 1_000_000, 100_000
REPETITIONS = 100
REVIEWERS, VERDICTS = 16, 50
ENOUGH_AHEAD = 7
SUSPECTED = 0.05
URLS = {
    "queue": "/d/big/review/",
    "queue, one split": "/d/big/review/?split=test",
    "queue, one pair through everything": "/d/big/review/?given=neutral&suggested=drawings&everything=1",
    "grid, start": "/d/big/review/grid/?given=neutral&suggested=drawings",
    "explorer, newest": "/d/big/images/",
    "explorer, one split": "/d/big/images/?split=test",
    "explorer, by quality": "/d/big/images/?sort=quality",
    "explorer, one class by risk": "/d/big/images/?label=neutral&sort=risk",
    "explorer, split, class and suggestion": "/d/big/images/?split=train&label=neutral&suggested=drawings",
    "explorer, label ≠ prediction by quality": "/d/big/images/?show=prediction&sort=quality",
    "explorer, settled by one person": "/d/big/images/?state=settled&by=lena",
    "explorer, one issue in test": "/d/big/images/?issue=given_label&split=test",
    "explorer, quality 0.4–0.6 of one source": "/d/big/images/?source=source-7&low=0.4&high=0.6",
    "explorer, path text": "/d/big/images/?path=/00042",
    "explorer, five filters that no image passes": "/d/big/images/?"
    "given=sexy&suggested=sexy&show=prediction&split=validation&path=zz",
    "overview": "/d/big/",
}
JUDGE, SETTLE = "verdict and next item", "grid, a page of 24 settled"
ACTS = (JUDGE, SETTLE)
SETTLED = 15
"""Pages that are settled: more would use up those of 10,000 images."""

DEEP = {
    "explorer, newest, middle": "/d/big/images/?after={middle}",
    "explorer, by quality, middle": "/d/big/images/?sort=quality&after={middle}~0.5",
    "explorer, by path, middle": "/d/big/images/?sort=path&after={middle}~{path}",
}


def run() -> None:
    rows = _rows_of_sizes("")
    rows += _many_rows("")
    show("Pages", rows)
    url = os.environ.get("WINNOW_BENCH_POSTGRES_URL", "")
    if not url:
        print("WINNOW_BENCH_POSTGRES_URL is not set: the figures on PostgreSQL are left out.")
        return
    rows += _rows_of_sizes(url) + _many_rows(url)
    show("Pages", rows)


# ---- as a process of its own: Django is set up once a process, for one home and one database -------------------


@dataclass(frozen=True)
class Timing:
    """Milliseconds."""

    p50: float
    p95: float
    worst: float


@contextmanager
def _home(database: str, images: int) -> Iterator[dict[str, str]]:
    """The environment of a home with that many synthetic images."""
    folder = tempfile.mkdtemp(prefix="winnow-pages-")
    try:
        with _database_for(database, images) as own:
            environment = os.environ | {
                "WINNOW_HOME": folder,
                "DATABASE_URL": own,
                "DJANGO_SETTINGS_MODULE": "reviewer.settings",
                "LOG_LEVEL": "ERROR",
                "CLAIM_LEASE_SECONDS": "600",
            }
            for command in (["migrate", "-v0"], ["collectstatic", "--noinput", "-v0"]):
                _python(environment, "manage.py", *command)
            built = _python(environment, "-m", "benchmarks.pages", "build", str(images))
            print(f"{images:,} images built: {built.strip()}")
            yield environment
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database_for(url: str, images: int) -> Iterator[str]:
    """A database of its own on the server that `url` names; for none, none: the home has its SQLite file."""
    if not url:
        yield ""
        return
    import psycopg
    from psycopg import sql

    name = f"winnow_bench_{images}"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(drop)
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(drop)


def _python(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _rows_of_sizes(database: str) -> list[Row]:
    """Each page, at both sizes in turn."""
    from benchmarks.inference import interleaved  # not at the top: the processes that are measured do without it

    on = "PostgreSQL" if database else "SQLite"
    with (
        _home(database, SMALL) as small_home,
        _home(database, LARGE) as large_home,
        _asked(small_home) as small,
        _asked(large_home) as large,
    ):
        rows = []
        for name in (*URLS, *DEEP, *ACTS):
            times = SETTLED if name == SETTLE else REPETITIONS
            seconds = interleaved({"small": partial(small, name), "large": partial(large, name)}, times)
            at_small, at_large = _timing(seconds["small"]), _timing(seconds["large"])
            rows.append(
                Row(
                    f"{name}, p95 at 1,000,000 images",
                    f"{at_large.p95:.0f} ms",
                    "" if name == "overview" else "< 100 ms and ≤ 1.5 × that at 10,000",
                    f"{on}, Django's whole answer without the socket, {times} times, in turn with 10,000; "
                    f"{at_large.p95 / at_small.p95:.2f} × {at_small.p95:.0f} ms there (medians "
                    f"{at_large.p50 / at_small.p50:.2f} ×); median {at_large.p50:.0f} ms, "
                    f"worst {at_large.worst:.0f} ms",
                )
            )
    return rows


@contextmanager
def _asked(environment: dict[str, str]) -> Iterator[Callable[[str], float]]:
    """A process of that home; called with a page's name, it gives the seconds of one answer."""
    command = [sys.executable, "-m", "benchmarks.pages", "measure"]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None

        def ask(name: str) -> float:
            asks.write(f"{name}\n")
            asks.flush()
            answer = answers.readline()
            if not answer:
                raise RuntimeError(f"the process that answers {name!r} ended with {process.wait(30)}")
            return float(answer)

        yield ask
        asks.close()


def build(images: int) -> None:
    """Fill the database of this process with a dataset `big`."""
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection

    from labeling.actions.datasets import register_taxonomy
    from labeling.models import (
        Dataset,
        ImageRoot,
        Membership,
        ModelVersion,
        Person,
        Role,
        Run,
        RunKind,
        RunState,
        Source,
    )
    from labeling.taxonomies import load_taxonomy

    begun = time.perf_counter()
    dataset = Dataset.objects.create(slug="big", title="Big", taxonomy=register_taxonomy(load_taxonomy("five")))
    root = ImageRoot.objects.create(dataset=dataset, path="/nowhere")
    run = Run.objects.create(dataset=dataset, kind=RunKind.FIND_ISSUES, state=RunState.DONE)
    model = ModelVersion.objects.create(
        name="m", taxonomy=dataset.taxonomy, folder="m", sha256="0", profile="p", embedding_size=1, sidecar={}
    )
    sources = Source.objects.bulk_create(Source(dataset=dataset, name=f"source-{number}") for number in range(200))
    for number in range(REVIEWERS):
        person = Person.objects.create(username=f"r{number}")
        Membership.objects.create(dataset=dataset, person=person, role=Role.ANNOTATOR)
    lena = Person.objects.create(username="lena")
    Membership.objects.create(dataset=dataset, person=lena, role=Role.ML)
    classes = list(dataset.taxonomy.classes.order_by("index").values_list("pk", flat=True))
    sqlite = connection.vendor == "sqlite"
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {images}) "
        if sqlite
        else f"WITH n(i) AS (SELECT generate_series(1::bigint, {images})) "
    )
    # Numbers spread over 0..1 as if at random, the same on every database.
    first, second, third = (f"((n.i * {prime} % 1000003) / 1000003.0)" for prime in (7919, 104729, 15485863))
    given = _choose("(n.i * 31) % 5", classes)
    off_by = f"CASE WHEN {first} < {SUSPECTED} THEN 1 + (n.i % 4) ELSE 0 END"
    suggested = _choose(f"((n.i * 31) % 5 + ({off_by})) % 5", classes)
    zero, no = ("0", "0") if sqlite else ("0", "FALSE")
    is_suspect = f"({first} < {SUSPECTED})"
    split = f"CASE WHEN {second} < 0.8 THEN 'train' WHEN {second} < 0.9 THEN 'validation' ELSE 'test' END"
    padded = "printf('%07d', n.i)" if sqlite else "lpad(n.i::text, 7, '0')"
    now = "'2026-11-21 00:00:00'" if sqlite else "now()"
    blob = "zeroblob(20)" if sqlite else "'\\x00'::bytea"
    statements = [
        (
            "INSERT INTO labeling_image (id, dataset_id, root_id, path, source_id, sha256, pixel_sha256, byte_size, "
            "modified_ns, width, height, format, mode, phash, dhash, brightness, contrast, sharpness, entropy, split, "
            "given_class_id, current_class_id, excluded, imported_at) "
            f"{numbers} SELECT n.i, {dataset.pk}, {root.pk}, 'part-' || (n.i % 50) || '/' || {padded} || '.jpg', "
            f"{sources[0].pk} + n.i % 200, 'h' || {padded}, '', 1000, 1, 640, 480, 'JPEG', 'RGB', n.i, n.i, 0.5, 0.5, "
            f"0.5, 5.0, {split}, {given}, {given}, {no}, {now} FROM n"
        ),
        (
            "INSERT INTO labeling_reviewitem (id, dataset_id, image_id, given_class_id, run_id, state, label_quality, "
            "risk, suspected, suggested_class_id, reason, priority, stands_alone) "
            f"{numbers} SELECT n.i, {dataset.pk}, n.i, {given}, {run.pk}, 'open', {third}, 1 - {third}, {is_suspect}, "
            f"{suggested}, 'the model says something else, 97 %', "
            f"CASE WHEN {is_suspect} THEN 0 ELSE 2 END + CASE WHEN {second} < 0.8 THEN 1 ELSE 0 END + {third}, {no} "
            "FROM n"
        ),
        (
            "INSERT INTO labeling_prediction (id, image_id, model_version_id, run_id, profile, probabilities, "
            "predicted_index, confidence, embedding_row) "
            f"{numbers} SELECT n.i, n.i, {model.pk}, {run.pk}, 'p', {blob}, "
            f"((n.i * 31) % 5 + ({off_by})) % 5, 0.97, n.i FROM n"
        ),
        (
            "INSERT INTO labeling_labelissue (run_id, image_id, kind, reason) "
            f"{numbers} SELECT {run.pk}, n.i, 'given_label', 'the label' FROM n WHERE {is_suspect}"
        ),
        (
            "INSERT INTO labeling_verdict (image_id, reviewer_id, kind, key, blind, wanted, rule, senior, alone, "
            "created_at) "
            f"{numbers} SELECT n.i, {lena.pk}, 'keep', "
            f"{'lower(hex(randomblob(16)))' if sqlite else 'gen_random_uuid()'}, {no}, 1, 'majority', {no}, {no}, "
            f"{now} FROM n WHERE n.i % 100 = {zero}"
        ),
        "UPDATE labeling_reviewitem SET state = 'settled', missing = 0 WHERE image_id % 100 = 0",
    ]
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        if not sqlite:
            for table in ("image", "reviewitem", "prediction"):
                cursor.execute(f"SELECT setval(pg_get_serial_sequence('labeling_{table}', 'id'), {images})")
        cursor.execute("ANALYZE")
        if sqlite:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"{time.perf_counter() - begun:.0f} s on {settings.DATABASES['default']['ENGINE'].rpartition('.')[2]}")


def _choose(place: str, keys: Sequence[int]) -> str:
    cases = " ".join(f"WHEN {number} THEN {key}" for number, key in enumerate(keys))
    return f"CASE {place} {cases} END"


def measure() -> None:
    """For each name of a page that stands on a line of stdin, print the seconds of one answer in this home."""
    from django.test import Client

    import reviewer.wsgi  # noqa: F401 - sets up a process as the web server has it
    from labeling.models import Image, Person

    client = Client(SERVER_NAME="localhost")
    client.force_login(Person.objects.get(username="lena"))
    middle = Image.objects.order_by("pk")[Image.objects.count() // 2]
    urls = URLS | {
        name: url.format(middle=middle.pk, path=middle.path.replace("/", "%2F")) for name, url in DEEP.items()
    }
    acts: dict[str, Callable[[], object]] = {name: partial(_got, client, url) for name, url in urls.items()}
    begins = {JUDGE: _judge, SETTLE: _settle}
    for line in sys.stdin:
        name = line.strip()
        if name not in acts:
            acts[name] = begins[name](client)
        print(_seconds(acts[name]), flush=True)


def _seconds(ask: Callable[[], object]) -> float:
    begun = time.perf_counter()
    ask()
    return time.perf_counter() - begun


def _timing(seconds: Sequence[float]) -> Timing:
    percentiles = statistics.quantiles(seconds, n=20, method="inclusive")
    return Timing(1000 * statistics.median(seconds), 1000 * percentiles[18], 1000 * max(seconds))


def _got(client: Any, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, f"{url} answered {answer.status_code}"
    text: str = answer.content.decode()
    return text


def _judge(client: Any) -> Callable[[], object]:
    page = {"html": client.post("/d/big/review/claim/", headers={"HX-Request": "true"}).content.decode()}

    def judge() -> None:
        found = re.search(r"/review/(\d+)/verdict/", page["html"])
        assert found, "expected an item to judge, received a page without one"
        page["html"] = client.post(
            f"/d/big/review/{found[1]}/verdict/",
            {"decision": "keep", "key": str(uuid4())},
            headers={"HX-Request": "true"},
        ).content.decode()

    return judge


def _settle(client: Any) -> Callable[[], object]:
    # Those that agree: a pair of suspects would be used up at 10,000 images.
    pair = "given=neutral&suggested=neutral&size=24"
    page = {"html": client.post(f"/d/big/review/grid/claim/?{pair}", follow=True).content.decode()}

    def settle() -> None:
        shown = re.findall(r'name="shown" value="(\d+)"', page["html"])
        assert shown, "expected a page of the grid, received one without images"
        sent = {"key": str(uuid4()), "label": "neutral", "shown": shown, "selected": shown[3:]}
        page["html"] = client.post(f"/d/big/review/grid/settle/?{pair}", sent, follow=True).content.decode()

    return settle


# ---- many reviewers at once -------------------------------------------------------------------------------------


def _many_rows(database: str) -> list[Row]:
    with _home(database, SHARED) as environment:
        facts = json.loads(_python(environment, "-m", "benchmarks.pages", "crowd").strip().splitlines()[-1])
    on = "PostgreSQL" if database else "SQLite"
    how = (
        f"{on}, {SHARED:,} images, gunicorn with 2 processes of 4 threads, {REVIEWERS} people × {VERDICTS} verdicts "
        f"{facts['pace']}, {facts['rate']:.0f} a second"
    )
    names = {"verdict": "a verdict", "refill": "the next items"}
    return [
        *(
            Row(
                f"{names[name]}, {REVIEWERS} people at once, p95",
                f"{p95:.0f} ms",
                "< 100 ms",
                f"{how}; median {p50:.0f} ms, worst {worst:.0f} ms",
            )
            for name, (p50, p95, worst) in facts["times"].items()
        ),
        Row("of these answered with an error or “locked”", f"{facts['failed']}", "0", on),
        Row("images with two verdicts", f"{facts['doubles']}", "0", f"{facts['verdicts']:,} verdicts on {on}"),
    ]


def crowd(pause: float = 2.2) -> None:
    """Sixteen people at their own pace (1,600 verdicts an hour each) against a gunicorn of this home."""
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.db.models import Count

    from labeling.models import Person, Verdict, VerdictKind

    cookies = []
    for number in range(REVIEWERS):
        person = Person.objects.get(username=f"r{number}")
        session = SessionStore()
        session[SESSION_KEY] = str(person.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = person.get_session_auth_hash()
        session.save()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    before = Verdict.objects.order_by("-id").values_list("id", flat=True).first() or 0
    with _gunicorn() as port:
        people = [_Reviewer(port, cookie, pause) for cookie in cookies]
        begun = time.perf_counter()
        everybody = threading.Barrier(REVIEWERS)
        threads = [
            threading.Thread(target=person.work, args=(pause * place / REVIEWERS, everybody))
            for place, person in enumerate(people)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
    timings = {
        "verdict": _timing([second for person in people for second in person.verdicts]),
        "refill": _timing([second for person in people for second in person.refills]),
    }
    given = Verdict.objects.filter(pk__gt=before).exclude(kind=VerdictKind.UNDO)
    doubles = given.values("image").annotate(verdicts=Count("pk")).filter(verdicts__gt=1).order_by().count()
    facts = {
        "times": {name: [timing.p50, timing.p95, timing.worst] for name, timing in timings.items()},
        "failed": sum(person.failed for person in people),
        "verdicts": given.count(),
        "doubles": doubles,
        "rate": given.count() / seconds,
        "pace": f"at one every {0.5 * pause:.1f} to {1.5 * pause:.1f} s each" if pause else "as fast as answers come",
    }
    print(json.dumps(facts))


@contextmanager
def _gunicorn() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    how = ("--workers=2", "--threads=4", "--log-level=error", f"--bind=127.0.0.1:{port}")
    process = subprocess.Popen([sys.executable, "-m", "gunicorn", "reviewer.wsgi", *how], cwd=CHECKOUT)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


class _Reviewer:
    """One person in a thread, who asks as focus mode does; seconds of each verdict and of each refill.

    The page asks for more when fewer than seven are in hand, and is told only about those that it does not know.
    """

    def __init__(self, port: int, cookie: str, pause: float) -> None:
        self.port, self.pause = port, pause
        token = uuid4().hex
        self.headers = {
            "Cookie": f"{cookie}; csrftoken={token}",
            "X-CSRFToken": token,
            "Content-Type": "application/json",
        }
        self.verdicts: list[float] = []
        self.refills: list[float] = []
        self.failed = 0

    def work(self, wait: float, everybody: threading.Barrier) -> None:
        said, _ = self._post("next", {"decided": []})
        items = [one["item"] for one in said.get("items", [])]
        seen: list[int] = []
        # Whoever comes first to a server that has just started waits for it; after that people decide at their own
        # pace, and not in step.
        everybody.wait()
        time.sleep(wait)
        chance = random.Random(wait)
        for _ in range(VERDICTS):
            if not items:
                self.failed += 1
                return
            begun = time.perf_counter()
            verdict = {"item": items[0], "key": str(uuid4()), "decision": "keep", "seconds": 2}
            seen.append(items.pop(0))
            said, took = self._post("verdicts", {"verdicts": [verdict], "held": items + seen})
            self.verdicts.append(took)
            if [one["status"] for one in said.get("results", [])] != [200]:
                self.failed += 1
            if len(items) < ENOUGH_AHEAD:
                said, took = self._post("next", {"decided": [], "known": items, "held": items + seen})
                items += [one["item"] for one in said.get("items", []) if one["item"] not in items]
                self.refills.append(took)
            time.sleep(max(0.0, self.pause * chance.uniform(0.5, 1.5) - (time.perf_counter() - begun)))

    def _post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", f"/d/big/review/{path}/", json.dumps(body), self.headers)
            answer = connection.getresponse()
            text = answer.read()
            return json.loads(text) if answer.status == 200 else {}, time.perf_counter() - begun
        finally:
            connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The parts of the suite `pages` that run in a process of their own.")
    parser.add_argument("part", choices=["build", "measure", "crowd"])
    parser.add_argument("images", nargs="?", type=int, default=SMALL)
    options = parser.parse_args()
    {"build": lambda: build(options.images), "measure": measure, "crowd": crowd}[options.part]()
