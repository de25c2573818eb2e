"""Background tasks that run as long as the program: started again after an expected failure, but not after a defect.

An expected failure is a `RollonceError`: the API server or Redis did not answer, or refused. Any other exception is a
defect of this program. A task that failed by a defect may have left its state half changed, and a task that fails again
and again does nothing while the program looks alive, so a defect ends the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Final, Self

from webhook.errors import RollonceError
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.log import Logger, origin_of

#: Delays before a task is started again; each task finds its state by itself.
RESTART_BACKOFF: Final = Backoff(first=2.0, limit=60.0)
#: How long tasks may take to end after their cancellation; a leader releases its Lease within 10 s.
CANCEL_SECONDS: Final = 12.0

#: Creates the coroutine of a task.
Work = Callable[[], Coroutine[Any, Any, None]]


class DefectError(Exception):
    """A task failed by an exception that is not expected; the exception is the cause.

    Attributes:
        task: The task's name.
    """

    def __init__(self, task: str) -> None:
        super().__init__(f"The task {task!r} failed by a defect.")
        self.task = task


async def keep_running(name: str, work: Work, log: Logger, clock: Clock, *, backoff: Backoff = RESTART_BACKOFF) -> None:
    """Run a task until it returns or is cancelled; after an expected failure, start it again.

    A task that ran for longer than the longest delay has worked: its next failure is the first one again.

    Args:
        name: The task's name in the log.
        work: Creates the coroutine.
        log: Receives each failure.
        clock: Sleep and jitter.
        backoff: Delays before the task is started again.

    Raises:
        DefectError: It failed by anything but a `RollonceError`.
    """
    retry = Retry(clock, backoff)
    while True:
        started = clock.monotonic()
        try:
            # In a task of its own: a task group counts the failure of a member as a cancellation of its task.
            return await asyncio.create_task(work(), name=name)
        except Exception as error:  # noqa: BLE001 - what is not expected is raised again, with the name of the task
            problem = _expected(name, error)
        # A task group that is cancelled while a member fails raises that failure, and the cancellation is lost.
        if _is_cancelled():
            raise asyncio.CancelledError
        log.warning("task failed, restarting", task=name, problem=problem)
        if clock.monotonic() - started > backoff.limit:
            retry.succeeded()
        await retry.wait()


class Background:
    """Tasks that end with the program; use it as an async context manager.

    Args:
        log: Receives failures and defects.
        clock: Sleep and jitter.
        stop: Set when a task fails by a defect, so that the program ends.
        cancel_seconds: How long tasks may take to end after their cancellation.

    Attributes:
        defects: The tasks that failed by a defect.
        stuck: The tasks that did not end after their cancellation.
    """

    def __init__(
        self,
        log: Logger,
        clock: Clock,
        *,
        stop: asyncio.Event | None = None,
        cancel_seconds: float = CANCEL_SECONDS,
    ) -> None:
        self._cancel_seconds = cancel_seconds
        self._log = log
        self._clock = clock
        self._stop = stop or asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.defects: list[str] = []
        self.stuck: list[str] = []

    def start(self, name: str, work: Work) -> None:
        """Start a task that runs until the program ends."""
        task = asyncio.create_task(keep_running(name, work, self._log, self._clock), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=self._cancel_seconds)
        self.stuck = sorted(task.get_name() for task in pending)
        if self.stuck:
            self._log.error("tasks do not end after their cancellation", tasks=self.stuck)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        name = error.task if isinstance(error, DefectError) else task.get_name()
        self.defects.append(name)
        self._log.error(
            "task failed by a defect, ending",
            task=name,
            error=type(error.__cause__ or error).__name__,
            origin=origin_of(error.__cause__ or error),
        )
        self._stop.set()


def _expected(task: str, error: Exception) -> str:
    """Return what to log about an expected failure.

    Raises:
        DefectError: It is none.
    """
    leaves = tuple(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, DefectError):
            raise leaf from leaf.__cause__
    for leaf in leaves:
        if not isinstance(leaf, RollonceError):
            raise DefectError(task) from leaf
    return " ".join(dict.fromkeys(map(str, leaves)))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
