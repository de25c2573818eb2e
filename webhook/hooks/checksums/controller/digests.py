"""Checksums of what is watched, remembered by version: an object is read when it has moved, and once for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from webhook.hooks.checksums.core.facts import Reading, Unreadable
from webhook.hooks.checksums.core.keys import Source
from webhook.hooks.checksums.sources import Seen

#: A source and the namespace that it is in.
Place: TypeAlias = tuple[str, Source]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read.

    Attributes:
        asked: The resourceVersion that the watch had told of when it was asked for; empty for no object.
        seen: What came back, which may be newer.
    """

    asked: str
    seen: Seen


class DigestCache:
    """Remembers digests, never contents.

    Args:
        read: Reads one source.
        version: Returns the resourceVersion that the watch has told of; empty for no object.
    """

    def __init__(self, read: Callable[[Place], Awaitable[Seen]], version: Callable[[Place], str]) -> None:
        self._read = read
        self._version = version
        self._known: dict[Place, _Known] = {}
        self._reading: dict[tuple[Place, str], asyncio.Task[Seen]] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    async def get(self, namespace: str, sources: Iterable[Source]) -> dict[Source, Reading]:
        """Return what sources hold, at least as new as the watch has told of.

        What could not be read is not remembered: the next one to ask tries again.
        """
        wanted = tuple(sources)
        readings = await asyncio.gather(*(self._one((namespace, source)) for source in wanted))
        return dict(zip(wanted, readings, strict=True))

    def forget(self, place: Place) -> None:
        """Forget what nobody wants any more."""
        self._known.pop(place, None)

    async def _one(self, place: Place) -> Reading:
        asked = self._version(place)
        known = self._known.get(place)
        if known and asked in {known.asked, known.seen.version}:
            return known.seen.reading
        # Whoever asks for the same version may share a read under way: what comes later is told by the watch.
        task = self._reading.get((place, asked))
        if task is None:
            task = asyncio.create_task(self._fetch(place, asked))
            self._reading[place, asked] = task
        return (await asyncio.shield(task)).reading

    async def _fetch(self, place: Place, asked: str) -> Seen:
        try:
            seen = await self._read(place)
        finally:
            del self._reading[place, asked]
        if not isinstance(seen.reading, Unreadable) and asked == self._version(place):
            self._known[place] = _Known(asked, seen)
        return seen
