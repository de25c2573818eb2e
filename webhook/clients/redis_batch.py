"""Commands of one moment, sent together: each keeps its own answer, and a hundred cost little more than one.

What many requests ask for in the same turn of the event loop goes over one connection in one write. Redis does one
command after the other anyway, so nobody waits longer for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from redis.exceptions import RedisError

Words: TypeAlias = Sequence[bytes | int | str]
#: Sends commands over one connection; returns an answer or an error for each.
Send: TypeAlias = Callable[[Sequence[Words]], Awaitable[Sequence[object]]]


class Batches:
    """Collects commands.

    Args:
        send: Sends what was collected.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[tuple[Words, asyncio.Future[object]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, words: Words) -> object:
        """Send a command with all others of this turn, and return its answer.

        Whoever is cancelled while waiting leaves the others alone; the command may have run.

        Raises:
            RedisError: The server refused it, or no answer came.
            OSError: The connection broke.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._start)
        self._waiting.append((words, answer))
        return await answer

    async def close(self) -> None:
        """Give up what is under way."""
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
        """Leave nobody waiting, however the sending ended."""
        self._tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        for _, future in batch:
            if not future.done():
                future.set_exception(problem) if problem else future.cancel()

    async def _carry(self, batch: Sequence[tuple[Words, asyncio.Future[object]]]) -> None:
        wanted = [(words, future) for words, future in batch if not future.done()]
        if not wanted:
            return
        try:
            answers = await self._send([words for words, _ in wanted])
        except (RedisError, OSError) as error:
            answers = [error] * len(wanted)
        for (_, future), answer in zip(wanted, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
