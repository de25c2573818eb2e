"""Wait for a condition instead of a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.05


def wait_for(predicate: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """Call a predicate until its result is true, and return the result.

    Args:
        predicate: The condition. An AssertionError counts as not true, and is shown at a timeout.
        timeout: Seconds until an error.
        what: Description of the condition that completes the text "waited for".

    Raises:
        AssertionError: The condition did not become true in time; the message has the last result.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            result = predicate()
            last: object = result
        except AssertionError as error:
            result, last = None, error
        if result:
            return result
        if time.monotonic() > deadline:
            condition = what or getattr(predicate, "__name__", "a condition")
            raise AssertionError(f"waited {timeout:.0f} s for {condition}; the last result was {last!r}")
        time.sleep(_POLL_SECONDS)
