"""The C library keeps what a picture's work frees."""

import platform
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.memory import keep_freed_memory

PIECE = 1 << 20


def _faults_of_a_piece(times: int = 20) -> float:
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        bytearray(PIECE)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun) / times


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_thread_gets_the_memory_again_that_it_freed() -> None:
    assert keep_freed_memory()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_faults_of_a_piece).result()
        # A megabyte has 256 pages, each of which is a fault when it comes from the system.
        assert thread.submit(_faults_of_a_piece).result() < 26


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.memory.ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory.__wrapped__()
