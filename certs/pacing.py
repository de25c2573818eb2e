"""How the loops of this package wait: with jitter, awake at once when told, never for long.

No wait is longer than a check interval, since a wall clock can jump while a timer sleeps.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""The wall clock, an aware time."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""

Chance = Callable[[], float]
"""A random number from 0 to 1."""

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 30.0

SHORTEST_REST = 0.2


class Pace:
    """The waiting of one loop.

    Args:
        sleep: Waits for so many seconds.
        chance: A random number from 0 to 1, so that replicas do not act in step.
    """

    def __init__(self, *, sleep: Sleep, chance: Chance) -> None:
        self._sleep = sleep
        self._chance = chance
        self._woken = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """Ends the wait that is under way, or the next one: something has changed."""
        self._woken.set()

    async def rest(self, seconds: float) -> None:
        """Waits three quarters of this time or more, at most all of it, or until woken."""
        self._failures = 0
        await self._wait(seconds * (0.75 + 0.25 * self._chance()))

    async def rest_until(self, left: float, *, longest: float) -> None:
        """Waits until something is due, or until it is time to look again, or until woken.

        Args:
            left: Seconds until it is due. The wait is up to a third longer, and never shorter: to wake early and find
                nothing due would be repeated ever faster.
            longest: As `rest`, for what is due later.
        """
        if left < longest:
            self._failures = 0
            await self._wait(max(left, SHORTEST_REST) * (1 + self._chance() / 3))
        else:
            await self.rest(longest)

    async def back_off(self) -> None:
        """Waits after a failure: longer each time in a row, up to half a minute, or until woken."""
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self._failures, 16))
        self._failures += 1
        await self._wait(longest * (0.5 + 0.5 * self._chance()))

    async def _wait(self, seconds: float) -> None:
        tasks = (asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._woken.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._woken.clear()
