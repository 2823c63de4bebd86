"""Running Winnow's commands as whole processes and reading what they cost."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Cost:
    """What one command cost, and the JSON object that it printed last."""

    seconds: float
    peak_megabytes: float
    facts: dict[str, Any]


class Home:
    """A new installation in a temporary folder."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="winnow-bench-")
        self.path = Path(self._folder.name)

    def close(self) -> None:
        self._folder.cleanup()

    def run(self, *arguments: str) -> Cost:
        """Run a command to its end; its time on the clock and the peak of its resident memory."""
        environment = os.environ | {"WINNOW_HOME": str(self.path), "DATABASE_URL": "", "LOG_LEVEL": "ERROR"}
        with tempfile.TemporaryFile("w+") as out:
            begun = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments, "--json", "--quiet"],
                cwd=CHECKOUT,
                env=environment,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            lines = out.read().strip().splitlines()
        if process.returncode not in {0, 1} or not lines:
            raise RuntimeError(f"manage.py {' '.join(arguments)} ended with {process.returncode}: {lines[-1:]}")
        kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        return Cost(seconds, kilobytes / 1024, json.loads(lines[-1]))
