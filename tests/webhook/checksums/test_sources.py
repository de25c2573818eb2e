"""Reading sources: what replies of the API server mean, and how reads are shared."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from webhook.checksums.core.digest import checksum
from webhook.checksums.core.inputs import Absent, Found, Reading, Unreadable
from webhook.checksums.sources import SharedReads, SourceObject, parse_reply
from webhook.kube.api import Reply

UNKNOWN = Unreadable("an answer that is no Secret or ConfigMap")
LONG = 60.0


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"data":{"a":"eA=="},"metadata":{"annotations":{"x":1}}}', Found(checksum({"a": "eA=="}, None))),
        (200, b'{"data":null,"binaryData":{"b":"eA=="}}', Found(checksum(None, {"b": "eA=="}))),
        (200, b'{"metadata":{"resourceVersion":"7"}}', Found(checksum(None, None))),
        (200, b"{}", Found(checksum(None, None))),
        (404, b"anything", Absent()),
        (403, b"{}", Unreadable("HTTP 403")),
        (429, b"{}", Unreadable("HTTP 429")),
        (503, b"{}", Unreadable("HTTP 503")),
        (302, b"{}", Unreadable("HTTP 302")),
        (200, b'{"data":{"a":"hunter2', UNKNOWN),
        (200, b'{"data":["hunter2"]}', UNKNOWN),
        (200, b'{"data":{"a":"\xff"}}', UNKNOWN),
        (200, b"", UNKNOWN),
    ],
)
def test_only_a_404_means_absent(status: int, body: bytes, expected: Reading) -> None:
    """Every other reply without an object means unreadable, and nothing of it is quoted."""
    assert parse_reply(Reply(status, body), None).reading == expected


def test_contents_are_not_in_the_repr() -> None:
    """So that they are not in a traceback or a debugger's log either."""
    assert "hunter2" not in repr(SourceObject(data={"password": "hunter2"}))


def test_a_mebibyte_is_parsed() -> None:
    """The largest Secret that the API server stores."""
    value = "QUJD" * (2**20 // 4)
    body = b'{"data":{"large":"%s"}}' % value.encode()
    assert parse_reply(Reply(200, body), None).reading == Found(checksum({"large": value}, None))


def test_the_version_is_returned() -> None:
    """A cache of checksums needs to know the version of each."""
    assert parse_reply(Reply(200, b'{"metadata":{"resourceVersion":"7"}}'), None).version == "7"
    assert parse_reply(Reply(404, b"{}"), None).version == ""


class Library:
    """Values whose reads start and end when the test says so.

    Attributes:
        version: The result of a read that starts now.
        started: Reads so far, by key.
    """

    def __init__(self) -> None:
        self.version = 1
        self.started: Counter[str] = Counter()
        self._starts = asyncio.Condition()
        self._gate = asyncio.Semaphore(0)

    async def read(self, key: str) -> int:
        """Take the version at the start of the read, and return it at its end."""
        version = self.version
        async with self._starts:
            self.started[key] += 1
            self._starts.notify_all()
        await self._gate.acquire()
        if version < 0:
            raise LookupError(key)
        return version

    async def reads(self, key: str, count: int) -> None:
        """Wait until that many reads of a key have started."""
        async with self._starts:
            await self._starts.wait_for(lambda: self.started[key] >= count)

    def finish(self, count: int = 1) -> None:
        """Let that many reads end."""
        for _ in range(count):
            self._gate.release()


async def test_calls_at_the_same_time_share_one_read() -> None:
    """A burst that comes before the read starts costs one read."""
    library = Library()
    shared = SharedReads(library.read, max_wait=LONG)
    library.finish()
    assert await asyncio.gather(*(shared.get("a") for _ in range(100))) == [1] * 100
    assert library.started == {"a": 1}


async def test_a_read_that_has_started_is_not_shared() -> None:
    """A caller that wrote before its call sees its own write, although an older read was in progress."""
    library = Library()
    shared = SharedReads(library.read, max_wait=LONG)
    early = asyncio.create_task(shared.get("a"))
    await library.reads("a", 1)
    library.version = 2
    late = [asyncio.create_task(shared.get("a")) for _ in range(50)]
    library.finish(2)
    assert await early == 1
    assert await asyncio.gather(*late) == [2] * 50
    assert library.started == {"a": 2}


async def test_a_read_that_hangs_does_not_block_others() -> None:
    """After `max_wait` the next read starts although one hangs."""
    library = Library()
    shared = SharedReads(library.read, max_wait=0.0)
    first = asyncio.create_task(shared.get("a"))
    await library.reads("a", 1)
    second = asyncio.create_task(shared.get("a"))
    await library.reads("a", 2)
    assert not first.done()
    library.finish(2)
    assert (await first, await second) == (1, 1)


async def test_different_keys_are_read_concurrently() -> None:
    """One key never waits for another."""
    library = Library()
    shared = SharedReads(library.read, max_wait=LONG)
    tasks = [asyncio.create_task(shared.get(key)) for key in "abc"]
    for key in "abc":
        await library.reads(key, 1)
    library.finish(3)
    assert await asyncio.gather(*tasks) == [1, 1, 1]


async def test_a_cancelled_caller_does_not_cancel_the_read() -> None:
    """Other callers wait for it."""
    library = Library()
    shared = SharedReads(library.read, max_wait=LONG)
    leaving, staying = (asyncio.create_task(shared.get("a")) for _ in range(2))
    await library.reads("a", 1)
    leaving.cancel()
    library.finish()
    assert await staying == 1
    assert (await asyncio.gather(leaving, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    assert library.started == {"a": 1}


async def test_an_error_reaches_all_callers_and_is_not_kept() -> None:
    """The next call reads again."""
    library = Library()
    shared = SharedReads(library.read, max_wait=LONG)
    library.version = -1
    library.finish(2)
    failed = await asyncio.gather(shared.get("a"), shared.get("a"), return_exceptions=True)
    assert [type(error) for error in failed] == [LookupError, LookupError]
    library.version = 3
    library.finish()
    assert await shared.get("a") == 3


async def test_no_state_is_left_over() -> None:
    """Memory does not grow with the number of keys that were ever read."""
    library = Library()
    shared = SharedReads(library.read, max_wait=LONG)
    library.finish(20)
    await asyncio.gather(*(shared.get(f"key-{n}") for n in range(20)))
    assert not shared._started
    assert not shared._waiting


@pytest.mark.parametrize("seed", range(20))
async def test_no_value_is_older_than_the_call(seed: int) -> None:
    """In any interleaving: a value is at least as new as it was at the time of the call."""
    random_source = random.Random(seed)
    version = 0

    async def read(_: str) -> int:
        seen = version
        for _turn in range(random_source.randrange(4)):
            await asyncio.sleep(0)
        return seen

    shared = SharedReads(read, max_wait=random_source.choice([0.0, LONG]))

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
