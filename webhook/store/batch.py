"""Send commands that are requested at the same moment together, over one connection and in one write.

Each command keeps its own result. Redis runs one command after the other anyway, so no command waits longer, and a
hundred commands cost little more than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from redis.exceptions import RedisError

Words: TypeAlias = Sequence[bytes | int | str]
#: Sends commands over one connection; returns a result or an error for each.
Send: TypeAlias = Callable[[Sequence[Words]], Awaitable[Sequence[object]]]


class Batches:
    """Collect the commands of one turn of the event loop and send them together.

    Args:
        send: Sends a batch.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[tuple[Words, asyncio.Future[object]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, words: Words) -> object:
        """Send a command with all others of this turn, and return its result.

        Cancelling one caller does not affect the others; its command may have run.

        Raises:
            RedisError: The server refused the command, or did not answer.
            OSError: The connection broke.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._start)
        self._waiting.append((words, answer))
        return await answer

    async def close(self) -> None:
        """Cancel all batches that have no answer yet."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._carry(batch))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, batch))

    def _end(self, batch: Sequence[tuple[Words, asyncio.Future[object]]], task: asyncio.Task[None]) -> None:
        """Complete every future that is still open, however the task has ended."""
        self._tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        for _, future in batch:
            if not future.done():
                future.set_exception(problem) if problem else future.cancel()

    async def _carry(self, batch: Sequence[tuple[Words, asyncio.Future[object]]]) -> None:
        """Send a batch, without the commands whose callers were cancelled, and pass on the results."""
        open_ = [(words, future) for words, future in batch if not future.done()]
        if not open_:
            return
        try:
            answers = await self._send([words for words, _ in open_])
        except (RedisError, OSError) as error:
            answers = [error] * len(open_)
        for (_, future), answer in zip(open_, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
