"""The table that a benchmark prints, and RESULTS.md where it is kept."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = """# Results

Written by `make bench`. Absolute times drift with the machine; compare within a section.
"""


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, the value, what was asked for (empty: report only), and how."""

    what: str
    value: str
    wanted: str
    how: str


def show(title: str, rows: Sequence[Row]) -> str:
    """Print a section and put it into RESULTS.md in the place of its last version."""
    table = "\n".join(
        ["| figure | measured | wanted | how |", "|---|---|---|---|"]
        + [f"| {row.what} | {row.value} | {row.wanted or 'reported'} | {row.how} |" for row in rows]
    )
    section = f"## {title}\n\n{_machine()}\n\n{table}\n"
    print(section)
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _HEAD
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = pattern.sub(lambda _: section + "\n", text) if pattern.search(text) else text.rstrip() + "\n\n" + section
    RESULTS.write_text(text.rstrip() + "\n", encoding="utf-8")
    return section


def _machine() -> str:
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        model = found.group(1).strip() if found else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {cores} cores"
        f"{f' ({model})' if model else ''}, Python {platform.python_version()}"
    )
