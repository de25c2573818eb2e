"""Reads that overlap are made once, without anyone being told something that was read before he asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class SharedReads(Generic[KeyT, ValueT]):
    """Shares reads of the same thing among those who ask for it at the same time.

    A read that has begun is never joined: it may already have seen what the caller's own write comes after. Who asks
    while one is under way waits for the next, together with all who ask until that one begins. So a burst of a hundred
    costs two reads and not a hundred, and each caller gets a value that was current after he had asked.

    Args:
        read: Reads one thing.
        patience: Seconds that a next read waits for the one under way; a read that hangs holds nobody up for longer.
    """

    def __init__(self, read: Callable[[KeyT], Awaitable[ValueT]], *, patience: float) -> None:
        self._read = read
        self._patience = patience
        self._begun: dict[KeyT, asyncio.Task[ValueT]] = {}
        self._waiting: dict[KeyT, asyncio.Task[ValueT]] = {}

    async def get(self, key: KeyT) -> ValueT:
        """Return what a read gives that begins after this call.

        The read goes on if the caller is cancelled, since others may wait for it.
        """
        task = self._waiting.get(key)
        if task is None:
            task = asyncio.create_task(self._next(key, self._begun.get(key)))
            self._waiting[key] = task
        return await asyncio.shield(task)

    async def _next(self, key: KeyT, previous: asyncio.Task[ValueT] | None) -> ValueT:
        if previous is not None:
            await asyncio.wait((previous,), timeout=self._patience)
        task = self._waiting.pop(key)
        self._begun[key] = task
        try:
            return await self._read(key)
        finally:
            # One that took too long has been overtaken, and the place is another's.
            if self._begun.get(key) is task:
                del self._begun[key]
