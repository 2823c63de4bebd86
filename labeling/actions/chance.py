"""Chance that can be looked at again: the same for the same names, and unlike that of any other."""

import hashlib


def chance(*names: object) -> float:
    """A number from 0 up to, but not including, 1; evenly spread over what is named."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
