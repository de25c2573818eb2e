"""The watched part of the cluster: workloads, versions of Secrets and ConfigMaps, and the controller's own writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from webhook.checksums.controller.scope import Scope
from webhook.checksums.core.keys import NamespacedSource, Source, SourceKind
from webhook.checksums.core.kinds import WorkloadId, WorkloadKind
from webhook.checksums.core.objects import StoredWorkload
from webhook.kube.informer import InformerSet
from webhook.kube.objects import Key, PartialObject
from webhook.kube.reflector import WatchContext


class ClusterCache:
    """Hold what is watched, and what the controller wrote until the watch shows it.

    Args:
        scope: What is watched.
        watch: Connection, clock, log and metrics.
        workload_changed: Called for each workload that was added, deleted, or changed in something that decisions are
            made of.
        status_changed: Called for each workload of which only other fields changed.
        source_changed: Called for each Secret or ConfigMap that was added, deleted or changed, even if only in its
            metadata.
    """

    def __init__(
        self,
        scope: Scope,
        watch: WatchContext,
        *,
        workload_changed: Callable[[WorkloadId], None],
        status_changed: Callable[[WorkloadId], None],
        source_changed: Callable[[NamespacedSource], None],
    ) -> None:
        self._workload_changed = workload_changed
        self._status_changed = status_changed
        self._source_changed = source_changed
        #: Own writes that the watch has not shown yet.
        self._written: dict[WorkloadId, StoredWorkload] = {}
        #: Workloads whose write was refused by a conflict, until the watch shows the write of the other client.
        self._conflicting: set[WorkloadId] = set()
        self._workloads: dict[WorkloadKind, InformerSet[StoredWorkload]] = {}
        self._sources: dict[SourceKind, InformerSet[PartialObject]] = {}
        for kind, selections in scope.workload_selections().items():
            changed = partial(self._see_workload, kind)
            self._workloads[kind] = InformerSet(watch, kind.stored_type, changed=changed)
            self._workloads[kind].select(selections)
        for source_kind, selections in scope.source_selections().items():
            noted = partial(self._see_source, source_kind)
            self._sources[source_kind] = InformerSet(watch, PartialObject, changed=noted)
            self._sources[source_kind].select(selections)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informers in self._all:
                group.create_task(informers.run())

    async def wait_synced(self) -> None:
        """Wait until everything has been listed once."""
        for informers in self._all:
            await informers.wait_synced()

    @property
    def _all(self) -> tuple[InformerSet[StoredWorkload] | InformerSet[PartialObject], ...]:
        return (*self._workloads.values(), *self._sources.values())

    def workload(self, workload_id: WorkloadId) -> StoredWorkload | None:
        """Return a workload as it is stored, own writes included; None if there is none."""
        return self._written.get(workload_id) or self._watched(workload_id)

    def awaits_own_write(self, workload_id: WorkloadId) -> bool:
        """Return whether the controller wrote a workload and the watch has not shown that yet."""
        return workload_id in self._written

    def wrote(self, workload_id: WorkloadId, over: str, stored: StoredWorkload) -> None:
        """Record an own write.

        Args:
            workload_id: The workload.
            over: The resourceVersion that was replaced.
            stored: The reply of the API server.
        """
        watched = self._watched(workload_id)
        # If the watch shows another version by now, that is this write or a later one.
        if watched is not None and watched.metadata.resource_version == over:
            self._written[workload_id] = stored

    def conflicted(self, workload_id: WorkloadId, over: str) -> None:
        """Record a write that was refused because another client wrote first; its write must be reconciled.

        Args:
            workload_id: The workload.
            over: The resourceVersion that would have been replaced.
        """
        watched = self._watched(workload_id)
        if watched is not None and watched.metadata.resource_version == over:
            self._conflicting.add(workload_id)
        else:
            self._workload_changed(workload_id)

    def version(self, where: NamespacedSource) -> str:
        """Return the resourceVersion of a Secret or ConfigMap that the watch has shown; empty if there is none."""
        namespace, source = where
        found = self._sources[source.kind].get(Key(namespace, source.name))
        return found.metadata.resource_version if found else ""

    def workloads(self, namespace: str = "") -> Iterator[WorkloadId]:
        """Yield all workloads of a namespace, or of all namespaces."""
        for kind, informers in self._workloads.items():
            for key in informers:
                if key.namespace == namespace or not namespace:
                    yield WorkloadId(key.namespace, kind, key.name)

    def _watched(self, workload_id: WorkloadId) -> StoredWorkload | None:
        return self._workloads[workload_id.kind].get(Key(workload_id.namespace, workload_id.name))

    def _see_workload(
        self, kind: WorkloadKind, key: Key, before: StoredWorkload | None, after: StoredWorkload | None
    ) -> None:
        workload_id = WorkloadId(key.namespace, kind, key.name)
        # What was postponed until the watch shows a write is due now, even if only the status has changed.
        postponed = self._written.pop(workload_id, None) is not None or workload_id in self._conflicting
        self._conflicting.discard(workload_id)
        if postponed or before is None or after is None or after.needs_decision(before):
            self._workload_changed(workload_id)
        else:
            self._status_changed(workload_id)

    def _see_source(self, kind: SourceKind, key: Key, _: PartialObject | None, __: PartialObject | None) -> None:
        self._source_changed((key.namespace, Source(kind, key.name)))
