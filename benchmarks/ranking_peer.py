"""One way of scoring, filtering and ranking arrays, in a process of its own.

`ranking_peer WAY FOLDER` prints one JSON line. FOLDER holds labels.npy and probabilities.npy, so that making them costs
this process nothing.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Way = Callable[[Any, Any], object]


def ours() -> Way:
    from inference.confident_learning import flagged
    from inference.label_quality import label_quality, worst_first

    def way(labels: Any, probabilities: Any) -> object:
        quality = label_quality(labels, probabilities)
        return flagged(labels, probabilities), quality, worst_first(quality)

    return way


def cleanlab(**arguments: Any) -> Way:
    from cleanlab.filter import find_label_issues

    def way(labels: Any, probabilities: Any) -> object:
        return find_label_issues(labels, probabilities, **arguments)

    return way


WAYS: dict[str, Callable[[], Way]] = {
    "ours": ours,
    "default": cleanlab,
    "n_jobs=1": lambda: cleanlab(n_jobs=1),
    "n_jobs=1, ranked": lambda: cleanlab(n_jobs=1, return_indices_ranked_by="self_confidence"),
}


def megabytes() -> float:
    """The most memory that this process held at any time; what it shares with processes of its own counts once."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux ru_maxrss starts with what the parent held before this program began.
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def main() -> None:
    name, place = sys.argv[1], Path(sys.argv[2])
    way = WAYS[name]()
    labels, probabilities = np.load(place / "labels.npy"), np.load(place / "probabilities.npy")
    way(labels[:1000], probabilities[:1000])
    before = megabytes()
    begun = time.perf_counter()
    way(labels, probabilities)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "peak": megabytes(), "above": megabytes() - before}))


if __name__ == "__main__":
    main()
