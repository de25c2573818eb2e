"""What the controller sees: workloads, versions of Secrets and ConfigMaps, and its own writes before a watch does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.metrics import WatchMetrics
from webhook.controller.mirrors import Mirrors
from webhook.controller.objects import Key, PartialObject
from webhook.hooks.checksums.controller.digests import Place
from webhook.hooks.checksums.controller.scope import Scope
from webhook.hooks.checksums.controller.stored import MirroredWorkload
from webhook.hooks.checksums.core.keys import Source, SourceKind
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.log import Logger

T = TypeVar("T", MirroredWorkload, PartialObject)


@dataclass(frozen=True, slots=True)
class Watching:
    """What every mirror needs.

    Attributes:
        api: A client of their own, with a connection for each.
        clock: A monotonic clock, in seconds.
        chance: A random number from 0 to 1.
        log: Told of problems.
        metrics: Counts.
    """

    api: KubernetesClient
    clock: Callable[[], float]
    chance: Callable[[], float]
    log: Logger
    metrics: WatchMetrics


class View:
    """The part of the cluster that is watched.

    Args:
        scope: What that is.
        watching: How.
        workload_changed: Told of each workload that came, changed or went.
        status_changed: Told of each of which nothing has changed that decisions are made by.
        source_changed: Told of each Secret or ConfigMap that came, changed or went, be it in its metadata only.
    """

    def __init__(
        self,
        scope: Scope,
        watching: Watching,
        *,
        workload_changed: Callable[[WorkloadId], None],
        status_changed: Callable[[WorkloadId], None],
        source_changed: Callable[[Place], None],
    ) -> None:
        self._workload_changed = workload_changed
        self._status_changed = status_changed
        self._source_changed = source_changed
        self._ours: dict[WorkloadId, MirroredWorkload] = {}
        self._awaited: set[WorkloadId] = set()
        self._workloads: dict[str, Mirrors[MirroredWorkload]] = {}
        self._objects: dict[SourceKind, Mirrors[PartialObject]] = {}
        for kind, selections in scope.workloads().items():
            self._workloads[kind] = _mirrors(watching, MirroredWorkload, partial(self._see_workload, kind))
            self._workloads[kind].want(selections)
        for source_kind, selections in scope.objects().items():
            self._objects[source_kind] = _mirrors(watching, PartialObject, partial(self._see_source, source_kind))
            self._objects[source_kind].want(selections)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for mirrors in self._all:
                group.create_task(mirrors.run())

    async def wait_synced(self) -> None:
        """Wait until everything has been listed once."""
        for mirrors in self._all:
            await mirrors.wait_synced()

    @property
    def _all(self) -> tuple[Mirrors[MirroredWorkload] | Mirrors[PartialObject], ...]:
        return (*self._workloads.values(), *self._objects.values())

    def workload(self, one: WorkloadId) -> MirroredWorkload | None:
        """Return a workload as it is stored, to our best knowledge; None if there is none."""
        return self._ours.get(one) or self._seen(one)

    def waits_for_echo(self, one: WorkloadId) -> bool:
        """Whether we wrote it and the watch has not shown that yet."""
        return one in self._ours

    def wrote(self, one: WorkloadId, over: str, stored: MirroredWorkload) -> None:
        """Note what a write of ours has made.

        Args:
            one: Which workload.
            over: The resourceVersion that was written over.
            stored: The API server's answer.
        """
        seen = self._seen(one)
        # If the watch has moved on already it shows this write or what came after it.
        if seen is not None and seen.metadata.resource_version == over:
            self._ours[one] = stored

    def came_too_late(self, one: WorkloadId, over: str) -> None:
        """Note that a write was refused since somebody else wrote first: what he wrote is to be looked at.

        Args:
            one: Which workload.
            over: The resourceVersion that would have been written over.
        """
        seen = self._seen(one)
        if seen is not None and seen.metadata.resource_version == over:
            self._awaited.add(one)
        else:
            self._workload_changed(one)

    def version(self, place: Place) -> str:
        """Return the resourceVersion of a Secret or ConfigMap; empty if none is seen."""
        namespace, source = place
        found = self._objects[source.kind].get(Key(namespace, source.name))
        return found.metadata.resource_version if found else ""

    def workloads(self) -> Iterator[WorkloadId]:
        """Go through all workloads."""
        for kind, mirrors in self._workloads.items():
            for key in mirrors:
                yield WorkloadId(key.namespace, kind, key.name)

    def _seen(self, one: WorkloadId) -> MirroredWorkload | None:
        return self._workloads[one.kind].get(Key(one.namespace, one.name))

    def _see_workload(
        self, kind: str, key: Key, before: MirroredWorkload | None, after: MirroredWorkload | None
    ) -> None:
        one = WorkloadId(key.namespace, kind, key.name)
        # What was put off until a write was shown, ours or another's, has to be looked at now, whatever else is new.
        put_off = self._ours.pop(one, None) is not None or one in self._awaited
        self._awaited.discard(one)
        if put_off or before is None or after is None or before.is_decided_otherwise_than(after):
            self._workload_changed(one)
        else:
            self._status_changed(one)

    def _see_source(self, kind: SourceKind, key: Key, _: PartialObject | None, __: PartialObject | None) -> None:
        self._source_changed((key.namespace, Source(kind, key.name)))


def _mirrors(watching: Watching, kind: type[T], changed: Callable[[Key, T | None, T | None], None]) -> Mirrors[T]:
    return Mirrors(
        watching.api,
        kind,
        changed=changed,
        clock=watching.clock,
        chance=watching.chance,
        log=watching.log,
        metrics=watching.metrics,
    )
