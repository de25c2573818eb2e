"""Time, sleep and randomness as one injected object, and the retry loop that uses them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from webhook.runtime.backoff import Backoff
from webhook.runtime.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Clock:
    """What code needs to know of time and chance; tests replace single parts of it.

    Attributes:
        monotonic: Seconds of a clock that never goes back.
        time: Seconds since 1970.
        sleep: Waits for that many seconds.
        jitter: A random number from 0 to 1.
    """

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    def now(self) -> datetime:
        """Return the time of day as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def deadline(self, seconds: float) -> Deadline:
        """Return a deadline that many seconds from now."""
        return Deadline.after(seconds, self.monotonic)


class Retry:
    """Count failures in a row and wait longer after each.

    Args:
        clock: Sleep and jitter.
        backoff: The delays.
    """

    def __init__(self, clock: Clock, backoff: Backoff | None = None) -> None:
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._failures = 0

    def succeeded(self) -> None:
        """Start again with the shortest delay."""
        self._failures = 0

    async def wait(self, *, at_least: float = 0.0) -> None:
        """Wait after a failure.

        Args:
            at_least: Seconds that the other side asked for.
        """
        delay = self._backoff.delay(self._failures, self._clock.jitter())
        self._failures += 1
        await self._clock.sleep(max(delay, at_least))
