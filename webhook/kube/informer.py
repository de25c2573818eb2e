"""Informers: the objects of a collection in memory, kept current by a watch.

What an informer reports is state, not events: what an object is now, and what it was when last reported. So it makes
no difference whether a change came by the watch or was found by a list after an outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from webhook.kube.listing import Selection
from webhook.kube.objects import DECODE_ERRORS, Described, Key, ObjectMeta, partial_decoder
from webhook.kube.reflector import Reflector, Sink, WatchContext

T = TypeVar("T", bound=Described)

#: Called for each difference: the key, the object before (None: absent) and the object now (None: gone).
Changed: TypeAlias = Callable[[Key, T | None, T | None], None]

#: A list holds its page in memory, and a hundred lists at a time would hold a hundred pages.
_LISTS_AT_ONCE: Final = 4


class Informer(Mapping[Key, T], Generic[T]):
    """The objects of one selection by key.

    Args:
        context: Connection, clock, log and metrics.
        selection: What to hold.
        object_type: The struct to decode. Objects are compared by it: a field that it lacks is never a change.
        changed: Called for each difference, right after the informer has it, in the order of events, for the first
            list too. It must not raise and must only take note: the event loop waits.
        list_slots: Limits how many informers list at the same time.

    Attributes:
        synced: Set when the selection has been listed once.
    """

    def __init__(
        self,
        context: WatchContext,
        selection: Selection,
        object_type: type[T],
        *,
        changed: Changed[T],
        list_slots: asyncio.Semaphore | None = None,
    ) -> None:
        self._items: dict[Key, T] = {}
        self._objects = context.metrics.objects.labels(selection.resource)
        sink = _Objects(context, selection, object_type, self._items, changed)
        self.synced = sink.synced
        self._reflector = Reflector(context, selection, sink, list_slots=list_slots)

    def __getitem__(self, key: Key) -> T:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    async def run(self) -> None:
        """Follow the selection until cancelled. It can be run again, and then catches up."""
        self._objects.inc(len(self._items))
        try:
            await self._reflector.run()
        finally:
            self._objects.dec(len(self._items))


class _Objects(Sink, Generic[T]):
    """Decode objects into a mapping, and report differences."""

    def __init__(
        self,
        context: WatchContext,
        selection: Selection,
        object_type: type[T],
        items: dict[Key, T],
        changed: Changed[T],
    ) -> None:
        self.synced = asyncio.Event()
        self._items = items
        self._changed = changed
        self._decoder = msgspec.json.Decoder(object_type)
        self._log = context.log.bind(watch=str(selection))
        self._undecodable = context.metrics.failures.labels(selection.resource, "object")
        self._objects = context.metrics.objects.labels(selection.resource)
        self._listed: set[Key] = set()

    async def list_started(self) -> None:
        self._listed = set()

    async def page(self, items: list[msgspec.Raw]) -> None:
        self._listed.update(self._put(raw).key for raw in items)
        items.clear()

    async def listed(self) -> None:
        for key in self._items.keys() - self._listed:
            self._drop(key)
        self._listed = set()
        self.synced.set()

    async def changed(self, raw: msgspec.Raw) -> ObjectMeta:
        return self._put(raw)

    async def deleted(self, raw: msgspec.Raw) -> ObjectMeta:
        metadata = partial_decoder.decode(raw).metadata
        self._drop(metadata.key)
        return metadata

    def _put(self, raw: msgspec.Raw) -> ObjectMeta:
        try:
            item = self._decoder.decode(raw)
        except DECODE_ERRORS:
            # One odd custom resource must not hide all others; it is treated as absent.
            metadata = partial_decoder.decode(raw).metadata
            self._log.warning("object cannot be decoded and is ignored", object=str(metadata.key))
            self._undecodable.inc()
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


class InformerSet(Mapping[Key, T], Generic[T]):
    """The objects of several selections as one mapping; the selections can change while it runs.

    Args:
        context: Connection, clock, log and metrics. The client allows a few more connections than selections.
        object_type: As of `Informer`.
        changed: As of `Informer`. The objects of a selection that is dropped disappear without a call.
    """

    def __init__(self, context: WatchContext, object_type: type[T], *, changed: Changed[T]) -> None:
        slots = asyncio.Semaphore(_LISTS_AT_ONCE)

        def new_informer(selection: Selection) -> Informer[T]:
            note = partial(self._note, selection)
            return Informer(context, selection, object_type, changed=note, list_slots=slots)

        self._new_informer = new_informer
        self._changed = changed
        self._items: dict[Key, T] = {}
        self._informers: dict[Selection, Informer[T]] = {}
        self._reselected = asyncio.Event()

    def __getitem__(self, key: Key) -> T:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def select(self, selections: Iterable[Selection]) -> None:
        """Set what to hold from now on. No object may be in two selections."""
        wanted = set(selections)
        for dropped in self._informers.keys() - wanted:
            for key in self._informers.pop(dropped):
                del self._items[key]
        for selection in wanted - self._informers.keys():
            self._informers[selection] = self._new_informer(selection)
        self._reselected.set()

    async def wait_synced(self) -> None:
        """Wait until everything that is selected now has been listed once."""
        for informer in tuple(self._informers.values()):
            await informer.synced.wait()

    async def run(self) -> None:
        """Follow everything that is selected until cancelled. It can be run again, and then catches up."""
        running: dict[Selection, tuple[Informer[T], asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._reselected.clear()
                for selection, (informer, task) in tuple(running.items()):
                    # A selection that was dropped and selected again has a new informer.
                    if self._informers.get(selection) is not informer:
                        task.cancel()
                        del running[selection]
                for selection, informer in self._informers.items():
                    if selection not in running:
                        running[selection] = informer, group.create_task(informer.run())
                await self._reselected.wait()

    def _note(self, selection: Selection, key: Key, before: T | None, after: T | None) -> None:
        if selection not in self._informers:
            return  # dropped, and not yet cancelled
        if after is None:
            self._items.pop(key, None)
        else:
            self._items[key] = after
        self._changed(key, before, after)
