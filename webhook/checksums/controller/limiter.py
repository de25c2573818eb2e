"""Roll a few workloads at a time: in each namespace some are written, and the others wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

from webhook.checksums.controller.cache import ClusterCache
from webhook.checksums.controller.progress import ProgressTracker
from webhook.checksums.controller.reporter import StatusReporter
from webhook.checksums.core.decide import NOTHING_DECIDED
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.marks import needs_deadline
from webhook.checksums.core.plan import Observed, plan
from webhook.checksums.core.rollout import Rollout
from webhook.checksums.metrics import RolloutMetrics
from webhook.errors import KubernetesError
from webhook.kube.core.schedule import Settling
from webhook.kube.work_queue import WorkQueue
from webhook.runtime.log import Logger

#: A rollout changes the status of a workload several times in a row; one plan is made for all of these changes.
SETTLING: Final = Settling(0.02, 0.1)
_NAMESPACES_AT_A_TIME: Final = 8


class RolloutLimiter:
    """Write workloads when there is a place for them.

    Args:
        cache: The watched part of the cluster.
        reporter: Receives waves that are stopped, and rollouts without progress.
        tracker: Judges the progress of rollouts.
        limit: Returns how many workloads may roll at a time because of one object; 0 means no limit.
        decide: Decides about a workload; returns None if there is nothing to decide now.
        write: Writes a decision.
        record: Writes on a workload since when its rollout makes no progress.
        queue: The namespaces to look at.
        log: Receives failures.
        metrics: Gauges of what waits.
    """

    def __init__(
        self,
        cache: ClusterCache,
        reporter: StatusReporter,
        tracker: ProgressTracker,
        *,
        limit: Callable[[], int],
        decide: Callable[[WorkloadId], Awaitable[Observed | None]],
        write: Callable[[Observed], Awaitable[None]],
        record: Callable[[Observed, str], Awaitable[None]],
        queue: WorkQueue[str],
        log: Logger,
        metrics: RolloutMetrics,
    ) -> None:
        self._cache = cache
        self._reporter = reporter
        self._tracker = tracker
        self._limit = limit
        self._decide = decide
        self._write = write
        self._record = record
        self._queue = queue
        self._metrics = metrics
        self._log = log
        self._waiting: dict[str, set[WorkloadId]] = {}
        #: Keys that were removed from pod templates, until the rollouts of the removal have ended. Nothing in the
        #: cluster shows this, so a new controller does not know it.
        self._left: dict[WorkloadId, frozenset[str]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def run(self) -> None:
        """Write workloads until cancelled."""
        try:
            await self._queue.run(self._write_next, workers=_NAMESPACES_AT_A_TIME)
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def add(self, workload_id: WorkloadId) -> None:
        """Let a workload wait for a place."""
        self._waiting.setdefault(workload_id.namespace, set()).add(workload_id)
        self._queue.add(workload_id.namespace)

    def workload_changed(self, workload_id: WorkloadId) -> None:
        """Record that a workload, or its status, has changed, so that a place may be free."""
        if not self._limit():
            return
        stored = self._cache.workload(workload_id)
        if stored is None:
            self._tracker.forget(workload_id)
            self._left.pop(workload_id, None)
        elif stored.managed:
            # Before a place is wanted: a workload that is broken already is not blamed on new contents.
            self._tracker.judge(workload_id, stored)
        if self._waiting.get(workload_id.namespace) or self._tracker.record(workload_id):
            self._queue.add(workload_id.namespace)
        self._set_timer(workload_id.namespace)

    async def _write_next(self, namespace: str) -> float | None:
        waiting = self._waiting.pop(namespace, set())
        decided = await asyncio.gather(*map(self._decide, sorted(waiting)))
        changing = {observed.id: observed for observed in decided if observed and observed.decision.operations}
        workloads = self._with_others(namespace, changing)
        planned = plan(workloads.values(), self._limit())
        results = await asyncio.gather(*map(self._write, planned.write), return_exceptions=True)
        for observed, error in zip(planned.write, results, strict=True):
            if error is not None:
                self._wait(observed.id)
            elif observed.replaces_pods and observed.decision.removed:
                self._left[observed.id] = observed.left | {*observed.decision.removed}
        for workload_id in planned.queued:
            self._wait(workload_id)
        self._metrics.queued.labels(namespace).set(len(planned.queued))
        self._metrics.stopped.labels(namespace).set(len(planned.stopped))
        self._reporter.stopped(namespace, planned, workloads)
        written = {observed.id for observed in planned.write}
        await self._report_stalls(observed for observed in workloads.values() if observed.id not in written)
        self._set_timer(namespace)
        for error in results:
            if error is not None:
                raise error
        return None

    def _wait(self, workload_id: WorkloadId) -> None:
        self._waiting.setdefault(workload_id.namespace, set()).add(workload_id)

    def _with_others(self, namespace: str, changing: dict[WorkloadId, Observed]) -> dict[WorkloadId, Observed]:
        """Add to the workloads that change those that may take up places or may have failed."""
        found = dict(changing)
        for workload_id in self._cache.workloads(namespace):
            stored = self._cache.workload(workload_id)
            if stored is None or not (stored.managed or workload_id in self._left):
                continue
            rollout = self._tracker.judge(workload_id, stored)
            if rollout is not Rollout.ROLLING:
                self._left.pop(workload_id, None)
            left = self._left.get(workload_id, frozenset())
            if workload_id in found:
                found[workload_id] = replace(found[workload_id], left=left)
            else:
                found[workload_id] = Observed.of(workload_id, stored, rollout, NOTHING_DECIDED, left=left)
        return found

    async def _report_stalls(self, workloads: Iterable[Observed]) -> None:
        """Record which rollouts make no progress, and report those that have failed because of that."""
        for observed in workloads:
            stored = self._cache.workload(observed.id)
            if stored is None or not stored.managed:
                continue
            if record := self._tracker.record(observed.id):
                try:
                    await self._record(observed, record)
                except KubernetesError as error:
                    # This controller goes on without it; only the next one would not know of it.
                    self._log.warning("progress cannot be recorded", workload=str(observed.id), problem=str(error))
            if observed.rollout is Rollout.FAILED and needs_deadline(stored):
                self._reporter.stalled(observed)

    def _set_timer(self, namespace: str) -> None:
        """Look at a namespace again when a rollout has made no progress for long enough, even if nothing changes."""
        if timer := self._timers.pop(namespace, None):
            timer.cancel()
        due = self._tracker.next_due(namespace)
        if due is not None:
            self._timers[namespace] = asyncio.get_running_loop().call_later(due, self._queue.add, namespace)
