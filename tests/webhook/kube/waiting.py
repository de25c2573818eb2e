"""Wait for a condition without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.02


async def eventually(predicate: Callable[[], T], timeout: float = 30.0) -> T:  # noqa: ASYNC109 - it only limits a failing test
    """Call a predicate until its result is true, and return the result.

    Raises:
        AssertionError: The result did not become true in time.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while not (result := predicate()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout:g} s; the last result: {result!r}"
        await asyncio.sleep(_POLL_SECONDS)
    return result
