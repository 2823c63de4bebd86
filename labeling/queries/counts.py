"""Counts of many rows, kept for a while when they took long."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

# Below this a count is taken anew each time, so small datasets always show the latest number.
CHEAP_SECONDS = 0.02
# A count that took t is kept for this many times t: about half a percent of the time goes into it.
KEEP_TIMES = 200
# But never longer than this, in seconds.
LONGEST = 120.0
_MOST_KEPT = 500


@dataclass(frozen=True)
class Counted(Generic[T]):
    """A number (or several), and how many seconds ago it was counted."""

    value: T
    age: float


@dataclass(frozen=True)
class _Kept:
    value: object
    at: float
    until: float


class CountKeeper:
    """Keeps what was slow to count, per process; safe to share between threads.

    `keeps`: whether anything is kept at all.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.keeps = True
        self._clock = clock
        self._kept: dict[Hashable, _Kept] = {}
        self._lock = Lock()

    def counted(self, key: Hashable, count: Callable[[], T], *, keep: float = 0.0) -> Counted[T]:
        """`count()`, or what it gave not long ago under this key.

        Args:
            keep: for how many seconds it is kept however quick it was, where nobody needs it to the second.
        """
        begun = self._clock()
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and begun < kept.until:
            return Counted(kept.value, begun - kept.at)  # type: ignore[arg-type]
        value = count()
        now = self._clock()
        with self._lock:
            slow = min(KEEP_TIMES * (now - begun), LONGEST) if now - begun >= CHEAP_SECONDS else 0.0
            if self.keeps and (slow or keep):
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[key] = _Kept(value, now, now + max(slow, keep))
            else:
                self._kept.pop(key, None)
        return Counted(value, 0.0)

    def forget(self) -> None:
        """Count everything anew."""
        with self._lock:
            self._kept.clear()


KEEPER = CountKeeper()
