"""Running Winnow's commands as whole processes and reading what they cost."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
LAUNCHER = Path(__file__).with_name("launcher.py")


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
        report = self.path / "cost.json"
        command = [sys.executable, "manage.py", *arguments, "--json", "--quiet"]
        out = subprocess.run(
            [sys.executable, str(LAUNCHER), str(report), *command],
            cwd=CHECKOUT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        ).stdout
        cost = json.loads(report.read_text(encoding="utf-8"))
        lines = out.strip().splitlines()
        if cost["code"] not in {0, 1} or not lines:
            raise RuntimeError(f"manage.py {' '.join(arguments)} ended with {cost['code']}: {lines[-1:]}")
        return Cost(cost["seconds"], cost["peak_megabytes"], json.loads(lines[-1]))
