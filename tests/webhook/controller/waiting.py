"""Waiting for a state on an event loop, which goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.02


async def eventually(predicate: Callable[[], T], timeout: float = 30.0) -> T:  # noqa: ASYNC109 - a test's last resort
    """Ask again and again until the answer is true, and return it.

    Raises:
        AssertionError: It did not become true in time.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while not (answer := predicate()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout:g} s; the last answer: {answer!r}"
        await asyncio.sleep(_POLL_SECONDS)
    return answer
