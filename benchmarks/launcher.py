"""Run a command and tell what it cost: `python launcher.py REPORT COMMAND …`.

A process of its own, and a small one: Linux counts what the starting process held towards the peak of what it starts,
so a command that the benchmark itself started would never measure below the benchmark.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    report, *command = sys.argv[1:]
    begun = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    cost = {"seconds": seconds, "peak_megabytes": kilobytes / 1024, "code": process.returncode}
    Path(report).write_text(json.dumps(cost), encoding="utf-8")


if __name__ == "__main__":
    main()
