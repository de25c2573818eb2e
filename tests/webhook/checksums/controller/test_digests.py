"""When a source is read, and when its checksum is cached."""

from __future__ import annotations

import asyncio

from webhook.checksums.controller.digests import Dependents, DigestCache
from webhook.checksums.core.inputs import Absent, Found, Unreadable
from webhook.checksums.core.keys import NamespacedSource, Source, SourceKind
from webhook.checksums.core.kinds import DEPLOYMENT, WorkloadId
from webhook.checksums.sources import VersionedReading

DB = Source(SourceKind.SECRET, "db")
WHERE: NamespacedSource = ("shop", DB)


class Cluster:
    """One Secret, and a watch that shows changes of it sooner or later.

    Attributes:
        stored: The result of a read.
        watched: The version that the watch has shown.
        reads: How many reads there were.
    """

    def __init__(self) -> None:
        self.stored = VersionedReading(Found("a" * 64), "1")
        self.watched = "1"
        self.reads = 0
        self.cache = DigestCache(self.read, lambda _: self.watched)

    async def read(self, _: NamespacedSource) -> VersionedReading:
        self.reads += 1
        await asyncio.sleep(0)
        return self.stored

    async def ask(self) -> object:
        return (await self.cache.get("shop", [DB]))[DB]


async def test_many_calls_cost_one_read() -> None:
    """A hundred workloads of one Secret cost one read, and no further read as long as it does not change."""
    cluster = Cluster()
    assert set(await asyncio.gather(*(cluster.ask() for _ in range(100)))) == {Found("a" * 64)}
    assert await cluster.ask() == Found("a" * 64)
    assert cluster.reads == 1


async def test_a_new_version_is_read_once() -> None:
    """Also if the read was ahead of the watch: its version is known when the watch shows it."""
    cluster = Cluster()
    await cluster.ask()
    cluster.stored, cluster.watched = VersionedReading(Found("c" * 64), "3"), "2"
    assert await cluster.ask() == Found("c" * 64)
    cluster.watched = "3"
    assert await cluster.ask() == Found("c" * 64)
    assert cluster.reads == 2


async def test_absence_is_read_and_cached() -> None:
    """An object that the watch does not show may exist; a read proves that it does not, until the watch shows it."""
    cluster = Cluster()
    cluster.stored, cluster.watched = VersionedReading(Absent()), ""
    assert [await cluster.ask(), await cluster.ask()] == [Absent(), Absent()]
    assert cluster.reads == 1
    cluster.stored, cluster.watched = VersionedReading(Found("a" * 64), "1"), "1"
    assert await cluster.ask() == Found("a" * 64)


async def test_a_failed_read_is_tried_again() -> None:
    """The contents are unknown, so nothing is cached."""
    cluster = Cluster()
    cluster.stored = VersionedReading(Unreadable("HTTP 403"))
    assert [await cluster.ask(), await cluster.ask()] == [Unreadable("HTTP 403")] * 2
    assert (cluster.reads, len(cluster.cache)) == (2, 0)


async def test_a_source_can_be_forgotten() -> None:
    """So that memory holds only what is in use."""
    cluster = Cluster()
    await cluster.ask()
    cluster.cache.forget(WHERE)
    assert len(cluster.cache) == 0


def test_dependents_are_an_index() -> None:
    """In both directions; a source that no workload requires any more is returned once."""
    web, worker = (WorkloadId("shop", DEPLOYMENT, name) for name in ("web", "worker"))
    dependents = Dependents()
    assert dependents.put(web, [DB]) == ()
    assert dependents.put(worker, [DB]) == ()
    assert dependents.of(WHERE) == (web, worker)
    assert dependents.put(web, []) == ()
    assert dependents.of(WHERE) == (worker,)
    assert dependents.put(worker, []) == (WHERE,)
    assert dependents.of(WHERE) == ()
    assert len(dependents) == 0
