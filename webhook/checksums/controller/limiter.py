"""Roll a few workloads at a time: in each namespace some are written, and the others wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from webhook.checksums.controller.cache import ClusterCache
from webhook.checksums.controller.reporter import StatusReporter
from webhook.checksums.core.decide import WorkloadDecision
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.plan import Observed, plan
from webhook.checksums.metrics import RolloutMetrics
from webhook.kube.core.schedule import Settling
from webhook.kube.metrics import QueueMetrics
from webhook.kube.work_queue import WorkQueue
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger

#: A rollout changes the status of a workload several times in a row; one plan is made for all of these changes.
_SETTLING: Final = Settling(0.02, 0.1)
_NAMESPACES_AT_A_TIME: Final = 8
_NO_DECISION: Final = WorkloadDecision()


class RolloutLimiter:
    """Write workloads when there is a place for them.

    Args:
        cache: The watched part of the cluster.
        reporter: Receives waves that are stopped.
        limit: Returns how many workloads may roll at a time because of one object; 0 means no limit.
        decide: Decides about a workload; returns None if there is nothing to decide now.
        write: Writes a decision.
        clock: Monotonic time and jitter.
        log: Receives failures.
        metrics: Gauges of what waits.
        queues: Metrics of the queue.
    """

    def __init__(
        self,
        cache: ClusterCache,
        reporter: StatusReporter,
        *,
        limit: Callable[[], int],
        decide: Callable[[WorkloadId], Awaitable[Observed | None]],
        write: Callable[[Observed], Awaitable[None]],
        clock: Clock,
        log: Logger,
        metrics: RolloutMetrics,
        queues: QueueMetrics,
    ) -> None:
        self._cache = cache
        self._reporter = reporter
        self._limit = limit
        self._decide = decide
        self._write = write
        self._metrics = metrics
        self._waiting: dict[str, set[WorkloadId]] = {}
        self._queue: WorkQueue[str] = WorkQueue("rollouts", clock=clock, log=log, metrics=queues, settling=_SETTLING)

    async def run(self) -> None:
        """Write workloads until cancelled."""
        await self._queue.run(self._write_next, workers=_NAMESPACES_AT_A_TIME)

    def add(self, workload_id: WorkloadId) -> None:
        """Let a workload wait for a place."""
        self._waiting.setdefault(workload_id.namespace, set()).add(workload_id)
        self._queue.add(workload_id.namespace)

    def namespace_changed(self, namespace: str) -> None:
        """Record that a workload of a namespace has changed, so that a place may be free."""
        if self._waiting.get(namespace):
            self._queue.add(namespace)

    async def _write_next(self, namespace: str) -> float | None:
        waiting = self._waiting.pop(namespace, set())
        decided = await asyncio.gather(*map(self._decide, sorted(waiting)))
        changing = {observed.id: observed for observed in decided if observed and observed.decision.operations}
        workloads = self._with_others(namespace, changing)
        planned = plan(workloads.values(), self._limit())
        results = await asyncio.gather(*map(self._write, planned.write), return_exceptions=True)
        failed = [observed.id for observed, error in zip(planned.write, results, strict=True) if error is not None]
        for workload_id in (*planned.queued, *failed):
            self._waiting.setdefault(namespace, set()).add(workload_id)
        self._metrics.queued.labels(namespace).set(len(planned.queued))
        self._metrics.stopped.labels(namespace).set(len(planned.stopped))
        self._reporter.stopped(namespace, planned, workloads)
        for error in results:
            if error is not None:
                raise error
        return None

    def _with_others(self, namespace: str, changing: dict[WorkloadId, Observed]) -> dict[WorkloadId, Observed]:
        """Add to the workloads that change those that may take up places or may have failed."""
        found = dict(changing)
        for workload_id in self._cache.workloads(namespace):
            if workload_id not in found:
                stored = self._cache.workload(workload_id)
                if stored is not None and stored.managed:
                    found[workload_id] = Observed.of(workload_id, stored, _NO_DECISION)
        return found
