"""Sharing reads: fewer reads, and never an older value than one's own read would have given."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from webhook.hooks.checksums.shared import SharedReads

LONG = 60.0


class Library:
    """Something that can be read, whose reads begin and end when a test says so.

    Attributes:
        version: What a read that begins now will give.
        begun: Reads so far, by key.
    """

    def __init__(self) -> None:
        self.version = 1
        self.begun: Counter[str] = Counter()
        self._begins = asyncio.Condition()
        self._gate = asyncio.Semaphore(0)

    async def read(self, key: str) -> int:
        """See the version at the beginning, give it at the end."""
        version = self.version
        async with self._begins:
            self.begun[key] += 1
            self._begins.notify_all()
        await self._gate.acquire()
        if version < 0:
            raise LookupError(key)
        return version

    async def reads(self, key: str, count: int) -> None:
        """Wait until so many reads of a key have begun."""
        async with self._begins:
            await self._begins.wait_for(lambda: self.begun[key] >= count)

    def finish(self, count: int = 1) -> None:
        """Let so many reads end."""
        for _ in range(count):
            self._gate.release()


async def test_who_asks_at_the_same_time_shares_one_read() -> None:
    """A burst that arrives before the read begins costs one."""
    library = Library()
    shared = SharedReads(library.read, patience=LONG)
    library.finish()
    assert await asyncio.gather(*(shared.get("a") for _ in range(100))) == [1] * 100
    assert library.begun == {"a": 1}


async def test_a_read_that_has_begun_is_not_joined() -> None:
    """Who writes and then asks sees what he wrote, though a read was under way that does not."""
    library = Library()
    shared = SharedReads(library.read, patience=LONG)
    early = asyncio.create_task(shared.get("a"))
    await library.reads("a", 1)
    library.version = 2
    late = [asyncio.create_task(shared.get("a")) for _ in range(50)]
    library.finish(2)
    assert await early == 1
    assert await asyncio.gather(*late) == [2] * 50
    assert library.begun == {"a": 2}


async def test_a_read_that_hangs_holds_nobody_up() -> None:
    """After its patience the next read begins beside the one that hangs, and the one after it waits for that."""
    library = Library()
    shared = SharedReads(library.read, patience=0.0)
    first = asyncio.create_task(shared.get("a"))
    await library.reads("a", 1)
    second = asyncio.create_task(shared.get("a"))
    await library.reads("a", 2)
    assert not first.done()
    library.finish(2)
    assert (await first, await second) == (1, 1)


async def test_different_things_are_read_side_by_side() -> None:
    """One key never waits for another."""
    library = Library()
    shared = SharedReads(library.read, patience=LONG)
    tasks = [asyncio.create_task(shared.get(key)) for key in "abc"]
    for key in "abc":
        await library.reads(key, 1)
    library.finish(3)
    assert await asyncio.gather(*tasks) == [1, 1, 1]


async def test_who_leaves_does_not_take_the_read_along() -> None:
    """Others wait for it."""
    library = Library()
    shared = SharedReads(library.read, patience=LONG)
    leaving, staying = (asyncio.create_task(shared.get("a")) for _ in range(2))
    await library.reads("a", 1)
    leaving.cancel()
    library.finish()
    assert await staying == 1
    assert (await asyncio.gather(leaving, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    assert library.begun == {"a": 1}


async def test_an_error_reaches_all_who_waited_and_is_not_kept() -> None:
    """The next one reads again."""
    library = Library()
    shared = SharedReads(library.read, patience=LONG)
    library.version = -1
    library.finish(2)
    failed = await asyncio.gather(shared.get("a"), shared.get("a"), return_exceptions=True)
    assert [type(error) for error in failed] == [LookupError, LookupError]
    library.version = 3
    library.finish()
    assert await shared.get("a") == 3


async def test_nothing_is_left_over() -> None:
    """Memory does not grow with the number of things ever read."""
    library = Library()
    shared = SharedReads(library.read, patience=LONG)
    library.finish(20)
    await asyncio.gather(*(shared.get(f"key-{n}") for n in range(20)))
    assert not shared._begun
    assert not shared._waiting


@pytest.mark.parametrize("seed", range(20))
async def test_nobody_ever_gets_a_value_from_before_he_asked(seed: int) -> None:
    """In any interleaving: a value is at least as new as it was when it was asked for."""
    random_source = random.Random(seed)
    version = 0

    async def read(_: str) -> int:
        seen = version
        for _turn in range(random_source.randrange(4)):
            await asyncio.sleep(0)
        return seen

    shared = SharedReads(read, patience=random_source.choice([0.0, LONG]))

    async def client() -> None:
        nonlocal version
        for _ in range(30):
            if random_source.random() < 0.3:
                version += 1
            asked = version
            assert await shared.get(random_source.choice("ab")) >= asked
            for _ in range(random_source.randrange(3)):
                await asyncio.sleep(0)

    await asyncio.gather(*(client() for _ in range(8)))
