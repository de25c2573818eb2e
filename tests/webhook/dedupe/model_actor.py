"""Actors: things under way that go on only when they are told to, so that any order of their steps can be played."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Final


class Actor:
    """Something under way in a process that can die; it goes on only when it is told to.

    Args:
        loop: Runs it.
        process: The process.
        way: What it does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, process: int, way: Coroutine[Any, Any, Any]) -> None:
        self._loop = loop
        self._waiting: list[asyncio.Future[None]] = []
        self.process = process
        token = _ACTOR.set(self)
        self.task = loop.create_task(way)
        _ACTOR.reset(token)
        self._run()

    async def wait(self) -> None:
        """Wait until this actor is told to go on."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        await future

    def go_on(self, rng: random.Random) -> None:
        """Let one of the things that it waits for happen."""
        self._waiting = [future for future in self._waiting if not future.done()]
        if self._waiting:
            self._waiting.pop(rng.randrange(len(self._waiting))).set_result(None)
        self._run()

    def die(self) -> None:
        """End at once."""
        self.task.cancel()
        self._run()

    def _run(self) -> None:
        """Run until nothing is left to do but to wait."""
        while self._loop._ready:  # type: ignore[attr-defined]
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()


_ACTOR: Final[ContextVar[Actor]] = ContextVar("actor")


async def step() -> None:
    """Let all other actors go first."""
    await _ACTOR.get().wait()
