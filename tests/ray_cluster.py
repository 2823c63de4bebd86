"""Real Ray clusters on this machine, one at a time, for the tests of the cluster engine."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from PIL import Image

OBJECT_STORE = 150_000_000

on_ray = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Ray's clusters need more than Windows gives"),
    # In CI a missing Ray is a failure and no reason to skip.
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None and os.environ.get("CI") != "true",
        reason="ray is not installed: pip install '.[ray]'",
    ),
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("default"),
]


@contextmanager
def one_node_cluster() -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` whose head has one core; `add_node` adds others.

    Workers of xdist wait for each other: two clusters on two cores would only be slower.
    """
    with FileLock(Path(os.environ["WINNOW_TEST_HOME"]) / "ray.lock"):
        from ray.cluster_utils import Cluster

        made = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "object_store_memory": OBJECT_STORE,
                "include_dashboard": False,
                # A dead node is noticed within five seconds instead of twenty.
                "_system_config": {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000},
            },
        )
        try:
            yield made
        finally:
            made.shutdown()  # type: ignore[no-untyped-call]
            gc.collect()  # Here, where Ray's leftovers are forgiven, and not in the next test.


def write_crops(folder: Path, photographs: tuple[Path, ...], count: int) -> list[Path]:
    """`count` JPEGs of 96×96 pixels, each another part of a real photograph."""
    folder.mkdir(parents=True)
    paths = []
    pictures = [Image.open(path).convert("RGB") for path in photographs]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        left, top = number * 7 % (picture.width - 96), number * 11 % (picture.height - 96)
        paths.append(folder / f"crop_{number:04}.jpg")
        picture.crop((left, top, left + 96, top + 96)).save(paths[-1], quality=92)
    return paths
