"""What runs beside the main business of a program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

from webhook.log import Logger

#: After a defect a part is begun anew: each finds out for itself how things are.
FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 60.0

Work = Callable[[], Coroutine[Any, Any, None]]


async def keep_running(name: str, work: Work, log: Logger, *, pause: float = FIRST_PAUSE_SECONDS) -> None:
    """Run something until it returns or this is cancelled; after a defect, begin it anew.

    Args:
        name: What the log calls it.
        work: Makes the coroutine.
        log: Told of each defect, with its traceback.
        pause: Seconds after the first defect; longer after each further one.
    """
    while True:
        try:
            return await work()
        except Exception:
            # The last resort: one part's defect must not end the others.
            log.exception("A part ended because of a defect; it begins anew.", part=name)
        await asyncio.sleep(pause)
        pause = min(LAST_PAUSE_SECONDS, pause * 2)


class Background:
    """Tasks that end with the program; use it as an async context manager.

    Args:
        log: Told of defects.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Work) -> None:
        """Begin something that runs until the end."""
        task = asyncio.create_task(keep_running(name, work, self._log), name=name)
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
