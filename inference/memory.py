"""Memory that is freed and soon wanted again.

The work on one picture takes some megabytes and gives them back. By default glibc hands such pieces back to the system
at once, which zeroes and maps them anew for the next picture: 750 page faults each, a tenth of the time of bulk scoring
and a fifth of a request's (measured; CONTRIBUTING, decisions).
"""

import ctypes
from functools import cache

# The parameters of mallopt(3) in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_MEGABYTE = 1 << 20


@cache
def keep_freed_memory() -> bool:
    """Have this process keep freed memory for its next allocations, up to 64 MB in each of two arenas.

    Once is enough, before threads start or after. Whatever is larger than 32 MB still goes back to the system at once.

    Returns:
        whether the C library understood; False where it is not glibc, and nothing has changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = {
        _MMAP_THRESHOLD: 32 * _MEGABYTE,
        _TRIM_THRESHOLD: 64 * _MEGABYTE,
        _TOP_PAD: 4 * _MEGABYTE,
        _ARENA_MAX: 2,
    }
    understood = [mallopt(parameter, value) == 1 for parameter, value in wanted.items()]
    return all(understood)
