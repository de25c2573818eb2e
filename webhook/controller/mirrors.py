"""Several collections as one: each object by name, each namespace, or the whole cluster, as the rights allow it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, Generic, TypeVar

from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.core.pacing import Backoff
from webhook.controller.listing import Selection
from webhook.controller.metrics import WatchMetrics
from webhook.controller.objects import Described, Key
from webhook.controller.watch import Changed, Mirror
from webhook.log import Logger

T = TypeVar("T", bound=Described)

#: A list holds its page in memory, and a hundred at a time would hold a hundred.
_LISTS_AT_ONCE: Final = 4


class Mirrors(Mapping[Key, T], Generic[T]):
    """What there is in several selections, which can be changed while it runs.

    Args:
        api: The API server, by a client that allows a few more connections than there are selections.
        kind: As of `Mirror`.
        changed: As of `Mirror`. A selection that is no longer wanted takes its objects with it; that is not told.
        clock: A monotonic clock, in seconds.
        chance: A random number from 0 to 1.
        log: Told of problems, and of their end.
        metrics: Counts.
        backoff: Between tries that fail.
    """

    def __init__(
        self,
        api: KubernetesClient,
        kind: type[T],
        *,
        changed: Changed[T],
        clock: Callable[[], float],
        chance: Callable[[], float],
        log: Logger,
        metrics: WatchMetrics,
        backoff: Backoff | None = None,
    ) -> None:
        gate = asyncio.Semaphore(_LISTS_AT_ONCE)

        def new_mirror(selection: Selection) -> Mirror[T]:
            return Mirror(
                api,
                selection,
                kind,
                changed=partial(self._note, selection),
                clock=clock,
                chance=chance,
                log=log,
                metrics=metrics,
                backoff=backoff,
                gate=gate,
            )

        self._new_mirror = new_mirror
        self._changed = changed
        self._items: dict[Key, T] = {}
        self._mirrors: dict[Selection, Mirror[T]] = {}
        self._woken = asyncio.Event()

    def __getitem__(self, key: Key) -> T:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def want(self, selections: Iterable[Selection]) -> None:
        """Say what is to be mirrored from now on. No object may be in two selections."""
        wanted = set(selections)
        for dropped in self._mirrors.keys() - wanted:
            for key in self._mirrors.pop(dropped):
                del self._items[key]
        for selection in wanted - self._mirrors.keys():
            self._mirrors[selection] = self._new_mirror(selection)
        self._woken.set()

    async def wait_synced(self) -> None:
        """Wait until all that is wanted now has been listed once."""
        for mirror in tuple(self._mirrors.values()):
            await mirror.synced.wait()

    async def run(self) -> None:
        """Follow all that is wanted until this is cancelled. Can be run again, and then catches up."""
        running: dict[Selection, tuple[Mirror[T], asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                for selection, (mirror, task) in tuple(running.items()):
                    # A selection that was dropped and wanted again has a new mirror.
                    if self._mirrors.get(selection) is not mirror:
                        task.cancel()
                        del running[selection]
                for selection, mirror in self._mirrors.items():
                    if selection not in running:
                        running[selection] = mirror, group.create_task(mirror.run())
                await self._woken.wait()

    def _note(self, selection: Selection, key: Key, before: T | None, after: T | None) -> None:
        if selection not in self._mirrors:
            return  # dropped, and not yet cancelled
        if after is None:
            self._items.pop(key, None)
        else:
            self._items[key] = after
        self._changed(key, before, after)
