"""The memory of the C library: let it give back what large bodies and many connections have used.

glibc keeps freed memory for itself, in a heap that it can only shorten at its end, and puts ever larger blocks there.
So a process would stay as large as it was in its worst moment, and the worst moments of different kinds would add up.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Final

#: `M_MMAP_THRESHOLD` of mallopt(3). Larger blocks are mapped one by one and given back at once; by default the limit
#: grows with the blocks.
_M_MMAP_THRESHOLD: Final = -3
_MAPPED_BYTES: Final = 128 * 1024


@cache
def _library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def map_large_blocks() -> None:
    """Keep large blocks out of the heap; does nothing with another C library."""
    if library := _library():
        library.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def give_back() -> None:
    """Give free memory back to the system, which takes some milliseconds; does nothing with another C library."""
    if library := _library():
        library.malloc_trim(0)
