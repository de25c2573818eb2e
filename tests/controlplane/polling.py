"""Waiting for a state, which is never waiting for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.05


def wait_for(predicate: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """Ask again and again until the answer is true, and return that answer.

    Args:
        predicate: Its AssertionError counts as "not yet", and is told at the end.
        timeout: Seconds until it is given up.
        what: What is waited for, as words that complete "waited for".

    Raises:
        AssertionError: It did not become true in time; with the last answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = predicate()
            last: object = answer
        except AssertionError as error:
            answer, last = None, error
        if answer:
            return answer
        if time.monotonic() > deadline:
            wanted = what or getattr(predicate, "__name__", "a condition")
            raise AssertionError(f"waited {timeout:.0f} s for {wanted}; the last answer was {last!r}")
        time.sleep(_POLL_SECONDS)
