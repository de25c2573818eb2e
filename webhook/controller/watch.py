"""A mirror of a collection: listed once, then followed by a watch; what happened during an outage is caught up with.

Nothing is lost, whatever fails: a watch that ends goes on from the last version that was seen. When the API server no
longer remembers that (410 Gone), a new list is compared with the mirror, so that objects which vanished meanwhile are
noticed too. What the mirror tells is levels, not edges: what an object is now, and what it was when last told.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, TypeAlias, TypeVar

import aiohttp
import msgspec

from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.core.lines import LineSplitter, LineTooLongError
from webhook.controller.core.pacing import FIRST_PAGE_ITEMS, Backoff
from webhook.controller.listing import GoneError, RefusedError, Selection, pages, refusal
from webhook.controller.metrics import WatchMetrics
from webhook.controller.objects import (
    DecodeError,
    Described,
    Event,
    Key,
    ObjectMeta,
    bookmark_version,
    event_decoder,
    partial_decoder,
    read_status,
)
from webhook.errors import KubernetesError
from webhook.log import Logger

T = TypeVar("T", bound=Described)

#: Told for each difference: the key, what was (None: not there) and what is (None: gone).
Changed: TypeAlias = Callable[[Key, T | None, T | None], None]

#: The API server sends a bookmark each minute; when it is silent for longer, the connection may be dead.
SILENCE_SECONDS: Final = 90.0
#: Watches are ended now and then, so that they move to servers that came back.
WATCH_SECONDS: Final = 300.0
#: Of a watch that lasted so long, the end is no failure.
_LONG_SECONDS: Final = 10.0
_STATUS_BYTES: Final = 65_536


class Mirror(Mapping[Key, T], Generic[T]):
    """What there is in a collection, by key, as far as we have been told.

    Args:
        api: The API server. A watch occupies a connection: use a client of its own that allows enough of them.
        selection: What to mirror.
        kind: The struct of the fields to decode, and to compare: what is not in it is never a change.
        changed: Told of each difference right after the mirror has it, in the order of events, at the first list too.
            It must not raise, and does no more than to take note: the event loop waits.
        clock: A monotonic clock, in seconds.
        chance: A random number from 0 to 1.
        log: Told of problems, and of their end.
        metrics: Counts.
        silence: Seconds without a byte after which the connection is given up.
        watch_seconds: After this, or up to twice this, the API server ends a watch and we begin the next.
        first_page: How many objects to ask for first.
        backoff: Between tries that fail.
        gate: Shared by mirrors that should not all list at once.

    Attributes:
        synced: Set when the collection has been listed once.
    """

    def __init__(
        self,
        api: KubernetesClient,
        selection: Selection,
        kind: type[T],
        *,
        changed: Changed[T],
        clock: Callable[[], float],
        chance: Callable[[], float],
        log: Logger,
        metrics: WatchMetrics,
        silence: float = SILENCE_SECONDS,
        watch_seconds: float = WATCH_SECONDS,
        first_page: int = FIRST_PAGE_ITEMS,
        backoff: Backoff | None = None,
        gate: asyncio.Semaphore | None = None,
    ) -> None:
        self.synced = asyncio.Event()
        self._api = api
        self._selection = selection
        self._decoder = msgspec.json.Decoder(kind)
        self._changed = changed
        self._clock = clock
        self._chance = chance
        self._log = log.bind(watch=str(selection))
        self._objects = metrics.objects.labels(selection.resource)
        self._behind = metrics.behind.labels(selection.resource)
        self._metrics = metrics
        self._silence = silence
        self._watch_seconds = watch_seconds
        self._first_page = first_page
        self._backoff = backoff or Backoff()
        self._gate = gate or asyncio.Semaphore()
        self._items: dict[Key, T] = {}
        #: From which a watch goes on; empty if there has to be a list first.
        self._version = ""
        #: Whether the watch under way has shown that it works.
        self._works = False
        self._told = ""

    def __getitem__(self, key: Key) -> T:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    async def run(self) -> None:
        """Follow the collection until this is cancelled. Can be run again, and then catches up."""
        failures = 0
        self._behind.inc()
        self._objects.inc(len(self._items))
        try:
            while True:
                self._works = False
                problem = await self._follow()
                if self._works and problem is None:
                    failures = 0
                    continue
                failures = 1 if self._works else failures + 1
                wait = self._backoff.delay(failures - 1, self._chance())
                if isinstance(problem, RefusedError):
                    wait = max(wait, problem.retry_after)
                await asyncio.sleep(wait)
        finally:
            self._behind.dec()
            self._objects.dec(len(self._items))

    async def _follow(self) -> KubernetesError | None:
        """List if that has to be, and watch until the watch ends; returns why, if not because its time was over."""
        try:
            if not self._version:
                async with self._gate:
                    await self._list()
            await self._watch()
        except KubernetesError as error:
            problem = error
        except (*DecodeError, LineTooLongError):
            # The text of the error could repeat what it was about.
            problem = GoneError(f"The answer to a list or watch of {self._selection} holds what is no object.")
        else:
            return None
        if isinstance(problem, GoneError):
            self._version = ""
        self._report(problem)
        return problem

    async def _list(self) -> None:
        seen: set[Key] = set()
        version = ""
        async for raws, snapshot in pages(self._api, self._selection, clock=self._clock, first=self._first_page):
            version = snapshot
            seen.update(self._put(raw).key for raw in raws)
            # Views of the page, which is freed before the next one is read.
            raws.clear()
        for key in self._items.keys() - seen:
            self._drop(key)
        self._version = version
        self._metrics.lists.labels(self._selection.resource).inc()
        self.synced.set()

    async def _watch(self) -> None:
        query = {
            **self._selection.query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": f"{self._watch_seconds * (1 + self._chance()):.0f}",
        }
        async with self._api.stream(
            self._selection.path, query=query, accept=self._selection.accept, silence=self._silence
        ) as response:
            if response.status != 200:
                body = await response.content.read(_STATUS_BYTES)
                after = response.headers.get("Retry-After", "")
                raise refusal(
                    "watch", self._selection, response.status, body, int(after) if after.isdecimal() else None
                )
            started = self._clock()
            self._report(None)
            self._behind.dec()
            try:
                await self._read(response.content)
            finally:
                self._behind.inc()
                self._works |= self._clock() - started > _LONG_SECONDS

    async def _read(self, content: aiohttp.StreamReader) -> None:
        lines = LineSplitter()
        async for piece in content.iter_any():
            for line in lines.feed(piece):
                self._handle(event_decoder.decode(line))

    def _handle(self, event: Event) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                self._version = self._put(event.object).resource_version
            case "DELETED":
                metadata = partial_decoder.decode(event.object).metadata
                self._drop(metadata.key)
                self._version = metadata.resource_version
            case "BOOKMARK":
                self._version = bookmark_version(event.object)
            case "ERROR":
                status = read_status(event.object)
                raise refusal("watch", self._selection, status.code, bytes(event.object), None)
        self._works = True
        self._metrics.events.labels(self._selection.resource, event.type).inc()

    def _put(self, raw: msgspec.Raw) -> ObjectMeta:
        """Take an object as it is now."""
        try:
            item = self._decoder.decode(raw)
        except DecodeError:
            # One odd object of somebody's CRD must not hide all others; it is as if it were not there.
            metadata = partial_decoder.decode(raw).metadata
            self._log.warning("An object cannot be understood and is left out.", object=str(metadata.key))
            self._metrics.failures.labels(self._selection.resource, "object").inc()
            self._drop(metadata.key)
            return metadata
        key = item.metadata.key
        before = self._items.get(key)
        self._items[key] = item
        if before is None:
            self._objects.inc()
        if before != item:
            self._changed(key, before, item)
        return item.metadata

    def _drop(self, key: Key) -> None:
        before = self._items.pop(key, None)
        if before is not None:
            self._objects.dec()
            self._changed(key, before, None)

    def _report(self, problem: KubernetesError | None) -> None:
        """Tell of a problem once, and of its end."""
        if problem is not None:
            reason = "gone" if isinstance(problem, GoneError) else "refused"
            reason = reason if isinstance(problem, (GoneError, RefusedError)) else "broken"
            self._metrics.failures.labels(self._selection.resource, reason).inc()
        text = "" if problem is None else str(problem)
        # That a watch which worked is cut is nothing special: it is told if the next try fails too.
        if text != self._told and not (problem and self._works):
            self._told = text
            if problem is None:
                self._log.info("The watch works again.")
            else:
                self._log.warning("The watch does not work and is tried again.", problem=text)
