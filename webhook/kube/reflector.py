"""List a collection, then watch it from there, for as long as the caller likes: the one place that watches.

Nothing is lost, whatever fails. A watch that ends is continued from the last version that was handled. If the API
server no longer has that version (410 Gone), the collection is listed again.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from webhook.errors import RollonceError
from webhook.kube.api import ErrorReplyError, Reply, WatchApi
from webhook.kube.core.stream import LineTooLongError
from webhook.kube.listing import FIRST_PAGE_ITEMS, PAGE_SECONDS, GoneError, RefusedError, Selection, error_of, pages
from webhook.kube.metrics import WatchMetrics
from webhook.kube.objects import (
    DECODE_ERRORS,
    ObjectMeta,
    WatchEvent,
    bookmark_version,
    event_decoder,
    partial_decoder,
    read_status,
)
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.log import ChangeLogger, Logger

#: The API server ends a watch after this, or up to twice this. So a watch moves to API servers that came back, and a
#: dead connection is noticed: an idle watch can be silent for as long as it lasts, since bookmarks, about one a minute,
#: are only sent if there is a newer version.
WATCH_SECONDS: Final = 45.0
#: How long after the time at which the API server should have ended a watch its connection counts as dead.
SILENCE_SECONDS: Final = 10.0
#: The end of a watch that lasted this long is not a failure.
_LONG_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class WatchContext:
    """What every watch needs.

    Attributes:
        api: The API server. A watch occupies a connection: use a client of its own that allows enough of them.
        clock: Time, sleep and jitter.
        log: Receives problems and their end.
        metrics: Counters.
        silence: Seconds without a byte after which a connection is given up, counted from the time at which the API
            server should have ended the watch.
        watch_seconds: The API server ends a watch after this, or up to twice this.
        first_page: How many objects to request first.
        backoff: Delays between failed attempts.
    """

    api: WatchApi
    clock: Clock
    log: Logger
    metrics: WatchMetrics
    silence: float = SILENCE_SECONDS
    watch_seconds: float = WATCH_SECONDS
    first_page: int = FIRST_PAGE_ITEMS
    backoff: Backoff = field(default_factory=Backoff)


class Sink:
    """Receives what a reflector reads. The defaults do nothing.

    A version counts as handled when the method returns. If it raises a `RollonceError`, the watch is continued from
    the version before, after a delay; if it raises a decode error, the collection is listed again.
    """

    async def list_started(self) -> None:
        """Handle the start of a list; pages of an earlier list that failed do not count."""

    async def page(self, items: list[msgspec.Raw]) -> None:
        """Handle a page of a list. Objects are views of the page: clear the list to free its memory."""

    async def listed(self) -> None:
        """Handle the end of a list: what was in none of its pages does not exist."""

    async def opened(self) -> None:
        """Handle the start of a watch: from here on nothing is missed."""

    async def changed(self, raw: msgspec.Raw) -> ObjectMeta:
        """Handle an object that was added or modified; returns its metadata."""
        return partial_decoder.decode(raw).metadata

    async def deleted(self, raw: msgspec.Raw) -> ObjectMeta:
        """Handle the last state of an object that was deleted; returns its metadata."""
        return partial_decoder.decode(raw).metadata


class Reflector:
    """Read a collection into a sink.

    Args:
        context: Connection, clock, log and metrics.
        selection: What to read.
        sink: Receives it.
        list_first: Whether to list before watching. Without, only the right to `watch` is needed, and what exists
            already comes as events.
        list_slots: Limits how many reflectors list at the same time.
    """

    def __init__(
        self,
        context: WatchContext,
        selection: Selection,
        sink: Sink,
        *,
        list_first: bool = True,
        list_slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._context = context
        self._selection = selection
        self._sink = sink
        self._list_first = list_first
        self._list_slots = list_slots or asyncio.Semaphore()
        self._changes, self._sink_changes = (ChangeLogger(context.log.bind(watch=str(selection))) for _ in range(2))
        self._behind = context.metrics.behind.labels(selection.resource)
        #: From which a watch goes on; empty if the collection must be listed first.
        self._version = ""
        #: Whether the current watch has delivered something.
        self._works = False
        #: Whether the sink handles something now, or failed to.
        self._in_sink = False

    async def run(self) -> None:
        """Follow the collection until cancelled. It can be run again, and then continues where it was."""
        retry = Retry(self._context.clock, self._context.backoff)
        self._behind.inc()
        try:
            while True:
                self._works = False
                problem = await self._follow()
                if self._works and not self._in_sink:
                    retry.succeeded()
                    if problem is None:
                        continue
                await retry.wait(at_least=problem.retry_after if isinstance(problem, RefusedError) else 0.0)
        finally:
            self._behind.dec()

    async def _follow(self) -> RollonceError | None:
        """List if necessary, then watch until the watch ends; returns why, if it did not end by itself."""
        problem: RollonceError
        self._in_sink = False
        try:
            if self._list_first and not self._version:
                async with self._list_slots:
                    await self._list()
            await self._watch()
        except RollonceError as error:
            problem = error
        except DECODE_ERRORS:
            # The text of the error could repeat parts of the object.
            problem = GoneError(f"The reply to the list or watch of {self._selection} contains something else.")
        else:
            return None
        if isinstance(problem, (GoneError, LineTooLongError)):
            self._version = ""
        self._report(problem)
        return problem

    async def _list(self) -> None:
        context, version = self._context, ""
        with self._handling():
            await self._sink.list_started()
        listing = pages(
            context.api, self._selection, lambda: context.clock.deadline(PAGE_SECONDS), first=context.first_page
        )
        async for items, snapshot in listing:
            version = snapshot
            with self._handling():
                await self._sink.page(items)
        self._version = version
        context.metrics.lists.labels(self._selection.resource).inc()
        with self._handling():
            await self._sink.listed()
        self._sink_changes.recovered("objects are handled again")

    async def _watch(self) -> None:
        context = self._context
        seconds = max(1, round(context.watch_seconds * (1 + context.clock.jitter())))
        query = {
            **self._selection.query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        if self._version:
            query["resourceVersion"] = self._version
        stream = context.api.watch(
            self._selection.path, query=query, accept=self._selection.accept, silence=seconds + context.silence
        )
        try:
            async with stream as lines:
                with self._handling():
                    await self._sink.opened()
                await self._read(lines, usual=min(seconds / 2, _LONG_SECONDS))
        except ErrorReplyError as error:
            raise error_of(error.reply, "watch", self._selection) from None

    async def _read(self, lines: AsyncIterator[bytes], *, usual: float) -> None:
        """Handle events until the watch ends; one that lasts longer than `usual` has worked, also without an event."""
        started = self._context.clock.monotonic()
        self._changes.recovered("watch works again")
        self._behind.dec()
        try:
            async for line in lines:
                await self._handle(event_decoder.decode(line))
        finally:
            self._behind.inc()
            self._works |= self._context.clock.monotonic() - started > usual

    async def _handle(self, event: WatchEvent) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                with self._handling():
                    self._version = (await self._sink.changed(event.object)).resource_version
                self._sink_changes.recovered("objects are handled again")
            case "DELETED":
                with self._handling():
                    self._version = (await self._sink.deleted(event.object)).resource_version
                self._sink_changes.recovered("objects are handled again")
            case "BOOKMARK":
                self._version = bookmark_version(event.object)
            case "ERROR":
                status = read_status(event.object)
                raise error_of(Reply(status.code, bytes(event.object)), "watch", self._selection)
        self._works = True
        self._context.metrics.events.labels(self._selection.resource, event.type).inc()

    @contextmanager
    def _handling(self) -> Iterator[None]:
        """Tell a failure of the sink, which is in this block, from one of the API server."""
        self._in_sink = True
        yield
        self._in_sink = False

    def _report(self, problem: RollonceError) -> None:
        """Log and count a problem. A watch that worked and broke is logged only if the next attempt fails too."""
        reason = "broken"
        if isinstance(problem, (GoneError, LineTooLongError)):
            reason = "gone"
        elif self._in_sink:
            reason = "sink"
        elif isinstance(problem, RefusedError):
            reason = "refused"
        self._context.metrics.failures.labels(self._selection.resource, reason).inc()
        if reason == "sink":
            self._sink_changes.failed("object could not be handled, retrying", str(problem))
        elif self._in_sink or not self._works:
            self._changes.failed("watch failed, retrying", str(problem))
