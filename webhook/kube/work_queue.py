"""A work queue: informers add keys, a few workers process them, one coroutine per key.

The rules are in `webhook.kube.core.schedule`. Work is level-triggered: it gets a key, reads the present state and does
what is missing, whatever the key was added for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeAlias, TypeVar

from webhook.errors import RollonceError
from webhook.kube.core.schedule import Schedule, Settling
from webhook.kube.metrics import QueueMetrics
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger

K = TypeVar("K", bound=Hashable)

#: Processes one key; returns after how many seconds to process it again even without a change, or None.
#: A `RollonceError` is an expected failure and logged in one line; any other exception is a defect and logged with its
#: traceback. After either, the key is tried again with growing delays.
Work: TypeAlias = Callable[[K], Awaitable[float | None]]


class WorkQueue(Generic[K]):
    """Hand keys to workers; not safe for use from several threads.

    Args:
        name: For logs and metrics.
        clock: Monotonic time and jitter.
        log: Receives failures.
        metrics: Counters.
        settling: How long changes wait for further changes.
        backoff: Delays after failures.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        log: Logger,
        metrics: QueueMetrics,
        settling: Settling | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._schedule: Schedule[K] = Schedule(settling or Settling(), backoff or Backoff())
        self._clock = clock
        self._log = log.bind(queue=name)
        self._woken = asyncio.Event()
        self._processing: set[K] = set()
        self._keys = metrics.keys.labels(name)
        self._working = metrics.working.labels(name)
        self._seconds = metrics.seconds.labels(name)
        self._done = {outcome: metrics.done.labels(name, outcome) for outcome in ("done", "again", "retry", "defect")}

    def add(self, key: K) -> None:
        """Have a key processed because something about it changed: at once, or when the change has settled."""
        self._schedule.add(key, self._clock.monotonic())
        self._woken.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key processed after that many seconds at the latest."""
        self._schedule.add_at(key, self._clock.monotonic() + seconds)
        self._woken.set()

    async def run(self, work: Work[K], *, workers: int) -> None:
        """Process keys until cancelled, which cancels the work too.

        A key whose work was cancelled is processed again when this is called again.

        Args:
            work: Called for one key at a time each.
            workers: How many keys to process at a time.
        """
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._woken.clear()
                    while len(self._processing) < workers:
                        key = self._schedule.take(self._clock.monotonic())
                        if key is None:
                            break
                        self._processing.add(key)
                        group.create_task(self._process(key, work))
                    await self._rest(idle=len(self._processing) < workers)
        finally:
            for key in tuple(self._processing):
                self._schedule.add_at(key, self._clock.monotonic())
                self._take_back(key)
            self._gauge()

    async def _rest(self, *, idle: bool) -> None:
        """Wait until a key is added or done, or until the next key is due if a worker is idle."""
        due = self._schedule.next_due() if idle else None
        self._gauge()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock.monotonic())):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _process(self, key: K, work: Work[K]) -> None:
        started = self._clock.monotonic()
        try:
            again = await work(key)
        except RollonceError as error:
            outcome = "retry"
            delay = self._schedule.retry(key, self._clock.monotonic(), self._clock.jitter())
            self._log.warning("work failed, retrying", key=str(key), problem=str(error), delay=round(delay, 1))
        except Exception:  # noqa: BLE001 - one unexpected object must not stop the work on all others
            outcome = "defect"
            delay = self._schedule.retry(key, self._clock.monotonic(), self._clock.jitter())
            self._log.exception("work failed by a defect, retrying", key=str(key), delay=round(delay, 1))
        else:
            outcome = "done" if again is None else "again"
            self._schedule.forget(key)
            if again is not None:
                self._schedule.add_at(key, self._clock.monotonic() + again)
        self._done[outcome].inc()
        self._seconds.observe(self._clock.monotonic() - started)
        self._take_back(key)

    def _take_back(self, key: K) -> None:
        self._processing.remove(key)
        self._schedule.done(key)
        self._woken.set()

    def _gauge(self) -> None:
        self._keys.set(len(self._schedule))
        self._working.set(len(self._processing))
