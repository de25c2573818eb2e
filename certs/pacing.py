"""How the loops of this package wait: with jitter, until they are woken, and never for long.

No wait is longer than a check interval, because the time of day can jump while a timer runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol

#: Upper bounds of the delays after a failure, in seconds: the first one, and any.
FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 30.0
#: The shortest wait for something that is due, in seconds.
SHORTEST_REST: Final = 0.2


class Clock(Protocol):
    """Time, sleep and randomness; `webhook.runtime.clock.Clock` is one."""

    def now(self) -> datetime:
        """Return the time of day, with a time zone."""

    @property
    def sleep(self) -> Callable[[float], Awaitable[None]]:
        """The function that waits for that many seconds."""

    @property
    def jitter(self) -> Callable[[], float]:
        """The function that returns a random number from 0 to 1."""


class Pace:
    """The waiting of one loop.

    Args:
        clock: Sleep, and jitter, so that replicas do not act at the same moments.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._woken = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """End the present wait, or the next one if there is none: something has changed."""
        self._woken.set()

    async def rest(self, seconds: float) -> None:
        """Wait after a success, until woken or for three quarters to all of the time.

        Args:
            seconds: The longest wait.
        """
        self._failures = 0
        await self._wait(seconds * (0.75 + 0.25 * self._clock.jitter()))

    async def rest_until(self, left: float, *, longest: float) -> None:
        """Wait after a success, until something is due, until the next check, or until woken.

        Args:
            left: Seconds until it is due. The wait is up to a third longer, and never shorter: a loop that wakes too
                early finds nothing due, and would repeat that at shorter and shorter intervals.
            longest: The longest wait for what is due later, as in `rest`.
        """
        if left < longest:
            self._failures = 0
            await self._wait(max(left, SHORTEST_REST) * (1 + self._clock.jitter() / 3))
        else:
            await self.rest(longest)

    async def back_off(self) -> None:
        """Wait after a failure, until woken or for half to all of a time that doubles with each failure in a row."""
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self._failures, 16))
        self._failures += 1
        await self._wait(longest * (0.5 + 0.5 * self._clock.jitter()))

    async def _wait(self, seconds: float) -> None:
        tasks = (asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._woken.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._woken.clear()
