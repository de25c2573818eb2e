"""Which workloads depend on a source, and the checksums of sources, cached by version."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from webhook.checksums.core.inputs import Reading, Unreadable
from webhook.checksums.core.keys import NamespacedSource, Source
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.sources import VersionedReading


class Dependents:
    """An index from sources to the workloads that require their checksums, and back."""

    def __init__(self) -> None:
        self._by_source: dict[NamespacedSource, set[WorkloadId]] = {}
        self._by_workload: dict[WorkloadId, frozenset[NamespacedSource]] = {}

    def __len__(self) -> int:
        """Return how many workloads require something."""
        return len(self._by_workload)

    def put(self, workload_id: WorkloadId, sources: Iterable[Source]) -> tuple[NamespacedSource, ...]:
        """Set everything that a workload requires; no sources remove the workload.

        Returns:
            The sources that no workload requires any more.
        """
        dropped: list[NamespacedSource] = []
        after = frozenset((workload_id.namespace, source) for source in sources)
        before = self._by_workload.get(workload_id, frozenset())
        for where in before - after:
            self._by_source[where].discard(workload_id)
            if not self._by_source[where]:
                del self._by_source[where]
                dropped.append(where)
        for where in after - before:
            self._by_source.setdefault(where, set()).add(workload_id)
        if after:
            self._by_workload[workload_id] = after
        else:
            self._by_workload.pop(workload_id, None)
        return tuple(dropped)

    def of(self, where: NamespacedSource) -> tuple[WorkloadId, ...]:
        """Return the workloads that require a source, in order."""
        return tuple(sorted(self._by_source.get(where, ())))


@dataclass(frozen=True, slots=True)
class _Known:
    """A cached read.

    Attributes:
        watched: The resourceVersion that the watch had shown when the read started; empty for no object.
        found: The result, which may be newer.
    """

    watched: str
    found: VersionedReading


class DigestCache:
    """Cache checksums, never contents. An object is read again when its version has changed, once for all workloads.

    Args:
        read: Reads one source.
        version: Returns the resourceVersion that the watch has shown; empty for no object.
    """

    def __init__(
        self,
        read: Callable[[NamespacedSource], Awaitable[VersionedReading]],
        version: Callable[[NamespacedSource], str],
    ) -> None:
        self._read = read
        self._version = version
        self._known: dict[NamespacedSource, _Known] = {}
        self._reading: dict[tuple[NamespacedSource, str], asyncio.Task[VersionedReading]] = {}

    def __len__(self) -> int:
        """Return how many checksums are cached."""
        return len(self._known)

    async def get(self, namespace: str, sources: Iterable[Source]) -> dict[Source, Reading]:
        """Return readings that are at least as new as what the watch has shown.

        A source that could not be read is not cached: the next call reads it again.
        """
        sources = tuple(sources)
        readings = await asyncio.gather(*(self._reading_of((namespace, source)) for source in sources))
        return dict(zip(sources, readings, strict=True))

    def forget(self, where: NamespacedSource) -> None:
        """Drop a source that no workload requires any more."""
        self._known.pop(where, None)

    async def _reading_of(self, where: NamespacedSource) -> Reading:
        watched = self._version(where)
        known = self._known.get(where)
        if known and watched in {known.watched, known.found.version}:
            return known.found.reading
        # A read in progress for the same version can be shared: later changes are shown by the watch.
        task = self._reading.get((where, watched))
        if task is None:
            task = asyncio.create_task(self._fetch(where, watched))
            self._reading[where, watched] = task
        return (await asyncio.shield(task)).reading

    async def _fetch(self, where: NamespacedSource, watched: str) -> VersionedReading:
        try:
            found = await self._read(where)
        finally:
            del self._reading[where, watched]
        if not isinstance(found.reading, Unreadable) and watched == self._version(where):
            self._known[where] = _Known(watched, found)
        return found
