"""Hashing of several values as one, so that no two different lists of values look alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def digest(parts: Iterable[bytes]) -> bytes:
    """Hash parts, each with its length (8 bytes, big-endian) before it, by SHA-256.

    The lengths keep `("a", "bc")` and `("ab", "c")` apart, which joining alone would not.

    Returns:
        32 bytes.
    """
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()
