"""Background tasks that run as long as the program and are started again after a defect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.log import Logger

#: Delays before a task is started again; each task finds its state by itself.
RESTART_BACKOFF: Final = Backoff(first=2.0, limit=60.0)

#: Creates the coroutine of a task.
Work = Callable[[], Coroutine[Any, Any, None]]


async def keep_running(name: str, work: Work, log: Logger, clock: Clock, *, backoff: Backoff = RESTART_BACKOFF) -> None:
    """Run a task until it returns or is cancelled; after a defect, start it again.

    Args:
        name: The task's name in the log.
        work: Creates the coroutine.
        log: Receives each defect with its traceback.
        clock: Sleep and jitter.
        backoff: Delays before the task is started again.
    """
    retry = Retry(clock, backoff)
    while True:
        try:
            return await work()
        except Exception:
            # The last resort: a defect in one task must not end the others.
            log.exception("task failed, restarting", task=name)
        await retry.wait()


class Background:
    """Tasks that end with the program; use it as an async context manager.

    Args:
        log: Receives defects.
        clock: Sleep and jitter.
    """

    def __init__(self, log: Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Work) -> None:
        """Start a task that runs until the program ends."""
        task = asyncio.create_task(keep_running(name, work, self._log, self._clock), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
