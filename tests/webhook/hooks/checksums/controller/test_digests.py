"""When an object is read, and when it is remembered."""

from __future__ import annotations

import asyncio

from webhook.hooks.checksums.controller.dependents import Dependents
from webhook.hooks.checksums.controller.digests import DigestCache, Place
from webhook.hooks.checksums.core.facts import Absent, Found, Unreadable
from webhook.hooks.checksums.core.keys import Source, SourceKind
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.hooks.checksums.sources import Seen

DB = Source(SourceKind.SECRET, "db")
PLACE: Place = ("shop", DB)


class Cluster:
    """One Secret, and a watch that tells of it sooner or later.

    Attributes:
        stored: What a read finds.
        told: The version that the watch has told of.
        reads: How many there were.
    """

    def __init__(self) -> None:
        self.stored = Seen(Found("a" * 64), "1")
        self.told = "1"
        self.reads = 0
        self.cache = DigestCache(self.read, lambda _: self.told)

    async def read(self, _: Place) -> Seen:
        self.reads += 1
        await asyncio.sleep(0)
        return self.stored

    async def ask(self) -> object:
        return (await self.cache.get("shop", [DB]))[DB]


async def test_many_ask_and_one_reads() -> None:
    """A hundred workloads of one Secret cost one read, and none as long as it does not move."""
    cluster = Cluster()
    assert set(await asyncio.gather(*(cluster.ask() for _ in range(100)))) == {Found("a" * 64)}
    assert await cluster.ask() == Found("a" * 64)
    assert cluster.reads == 1


async def test_a_new_version_is_read_once() -> None:
    """Also if the read was ahead of the watch: what it found is known when the watch tells of it."""
    cluster = Cluster()
    await cluster.ask()
    cluster.stored, cluster.told = Seen(Found("c" * 64), "3"), "2"
    assert await cluster.ask() == Found("c" * 64)
    cluster.told = "3"
    assert await cluster.ask() == Found("c" * 64)
    assert cluster.reads == 2


async def test_absence_is_read_and_remembered() -> None:
    """That the watch shows nothing is no proof; that a read found nothing is one until the watch shows something."""
    cluster = Cluster()
    cluster.stored, cluster.told = Seen(Absent()), ""
    assert [await cluster.ask(), await cluster.ask()] == [Absent(), Absent()]
    assert cluster.reads == 1
    cluster.stored, cluster.told = Seen(Found("a" * 64), "1"), "1"
    assert await cluster.ask() == Found("a" * 64)


async def test_what_cannot_be_read_is_tried_again() -> None:
    """Nobody knows what it holds, so nothing is remembered."""
    cluster = Cluster()
    cluster.stored = Seen(Unreadable("HTTP 403"))
    assert [await cluster.ask(), await cluster.ask()] == [Unreadable("HTTP 403")] * 2
    assert (cluster.reads, len(cluster.cache)) == (2, 0)


async def test_what_nobody_wants_is_forgotten() -> None:
    """Memory follows what is in use."""
    cluster = Cluster()
    await cluster.ask()
    cluster.cache.forget(PLACE)
    assert len(cluster.cache) == 0


def test_dependents_know_who_wants_what() -> None:
    """In both directions, and what nobody wants any more is told once."""
    web, worker = (WorkloadId("shop", "Deployment", name) for name in ("web", "worker"))
    dependents = Dependents()
    assert dependents.put(web, [DB]) == ()
    assert dependents.put(worker, [DB]) == ()
    assert dependents.of(PLACE) == (web, worker)
    assert dependents.put(web, []) == ()
    assert PLACE in dependents
    assert dependents.put(worker, []) == (PLACE,)
    assert PLACE not in dependents
    assert len(dependents) == 0
