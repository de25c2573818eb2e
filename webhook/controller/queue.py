"""A work queue: keys in, from callbacks of mirrors; one coroutine a key out, a few at a time.

The rules are in `webhook.controller.core.schedule`. Work is level-triggered: it gets a key, looks at what is, and does
what is missing, whatever it was called for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeAlias, TypeVar

from webhook.controller.core.pacing import Backoff
from webhook.controller.core.schedule import Schedule, Settling
from webhook.controller.metrics import QueueMetrics
from webhook.errors import RollonceError
from webhook.log import Logger

K = TypeVar("K", bound=Hashable)

#: Does what there is to do for a key; returns after how many seconds to look again even if nothing changes, or None.
#: A `RollonceError` is a failure that is told in a line; any other exception is a defect and told with its traceback.
#: After either the key is tried again, later each time.
Work: TypeAlias = Callable[[K], Awaitable[float | None]]


class WorkQueue(Generic[K]):
    """Hands keys to a few workers; not for use from several threads.

    Args:
        name: For logs and metrics.
        clock: A monotonic clock, in seconds.
        chance: A random number from 0 to 1.
        log: Told of failures.
        metrics: Counts.
        settling: How changes are left to settle.
        backoff: How long keys wait after failures.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        log: Logger,
        metrics: QueueMetrics,
        settling: Settling | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._schedule: Schedule[K] = Schedule(settling or Settling(), backoff or Backoff())
        self._clock = clock
        self._chance = chance
        self._log = log.bind(queue=name)
        self._woken = asyncio.Event()
        self._closed = False
        self._handed_out: set[K] = set()
        self._keys = metrics.keys.labels(name)
        self._working = metrics.working.labels(name)
        self._seconds = metrics.seconds.labels(name)
        self._done = {outcome: metrics.done.labels(name, outcome) for outcome in ("done", "again", "retry", "defect")}

    def add(self, key: K) -> None:
        """Have a key worked on since something about it has changed; at once or when that has settled."""
        self._schedule.add(key, self._clock())
        self._woken.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key worked on after some time at the latest."""
        self._schedule.add_at(key, self._clock() + seconds)
        self._woken.set()

    def close(self) -> None:
        """Begin no more work: `run` returns when what is under way has ended."""
        self._closed = True
        self._woken.set()

    async def run(self, work: Work[K], *, workers: int) -> None:
        """Work on keys until the queue is closed, or until this is cancelled, which cancels the work too.

        What was cancelled is worked on again when this is called again.

        Args:
            work: Called for one key at a time each.
            workers: How many keys at a time.
        """
        try:
            async with asyncio.TaskGroup() as group:
                while not self._closed:
                    self._woken.clear()
                    while len(self._handed_out) < workers:
                        key = self._schedule.take(self._clock())
                        if key is None:
                            break
                        self._handed_out.add(key)
                        group.create_task(self._process(key, work))
                    await self._rest(idle=len(self._handed_out) < workers)
        finally:
            for key in tuple(self._handed_out):
                self._schedule.add_at(key, self._clock())
                self._take_back(key)
            self._gauge()

    async def _rest(self, *, idle: bool) -> None:
        """Wait until something is added or done, or until the next key is due if somebody is idle."""
        due = self._schedule.next_due() if idle else None
        self._gauge()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _process(self, key: K, work: Work[K]) -> None:
        started = self._clock()
        try:
            again = await work(key)
        except RollonceError as error:
            outcome = "retry"
            wait = self._schedule.retry(key, self._clock(), self._chance())
            self._log.warning("Work failed and is tried again.", key=str(key), problem=str(error), wait=round(wait, 1))
        except Exception:  # noqa: BLE001 - one object that nobody foresaw must not stop the work on all others
            outcome = "defect"
            wait = self._schedule.retry(key, self._clock(), self._chance())
            self._log.exception("Work failed by a defect and is tried again.", key=str(key), wait=round(wait, 1))
        else:
            outcome = "done" if again is None else "again"
            self._schedule.forget(key)
            if again is not None:
                self._schedule.add_at(key, self._clock() + again)
        self._done[outcome].inc()
        self._seconds.observe(self._clock() - started)
        self._take_back(key)

    def _take_back(self, key: K) -> None:
        self._handed_out.remove(key)
        self._schedule.done(key)
        self._woken.set()

    def _gauge(self) -> None:
        self._keys.set(len(self._schedule))
        self._working.set(len(self._handed_out))
