"""Roll workloads whose checksums differ from those of the objects that they depend on.

Level-triggered: for any trigger it compares the pod template with what the objects contain; equal means no write. So it
makes no difference whether a change was found by an event, by a list after an outage, or at the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from webhook.checksums.controller.cache import ClusterCache
from webhook.checksums.controller.digests import Dependents, DigestCache
from webhook.checksums.controller.limiter import SETTLING, RolloutLimiter
from webhook.checksums.controller.patcher import WorkloadPatcher, WriteOutcome
from webhook.checksums.controller.progress import ProgressTracker
from webhook.checksums.controller.reporter import StatusReporter
from webhook.checksums.controller.scope import NOT_WATCHED, Scope
from webhook.checksums.core.decide import NOTHING_DECIDED, decide
from webhook.checksums.core.inputs import DecisionInput, Trigger, Unreadable
from webhook.checksums.core.keys import PROGRESS, NamespacedSource, Source
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.optin import required
from webhook.checksums.core.pace import Pace, Timing
from webhook.checksums.core.plan import Observed
from webhook.checksums.metrics import ChecksumMetrics, RolloutMetrics
from webhook.checksums.settings import ChecksumSettings
from webhook.checksums.sources import SourceReader, VersionedReading
from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.kube.election import Term
from webhook.kube.metrics import QueueMetrics
from webhook.kube.reflector import WatchContext
from webhook.kube.work_queue import WorkQueue

#: Patches in progress: a hundred workloads of one ConfigMap must not wait for each other.
WORKERS: Final = 48


@dataclass(frozen=True, slots=True)
class ControllerMetrics:
    """The metrics of the controller.

    Attributes:
        rollouts: Rollouts.
        reads: Reads of Secrets and ConfigMaps.
        queues: Work queues.
    """

    rollouts: RolloutMetrics
    reads: ChecksumMetrics
    queues: QueueMetrics

    @classmethod
    def register(cls, registry: CollectorRegistry) -> ControllerMetrics:
        """Create the metrics in a registry."""
        return cls(RolloutMetrics(registry), ChecksumMetrics(registry), QueueMetrics(registry))


class WorkloadReconciler:
    """Reconcile the workloads of a scope during one term; a new term starts with an empty state.

    Args:
        term: Bounds what may be written.
        settings: Returns the present settings.
        scope: What is watched.
        pace: How long to wait before writing.
        api: The API server.
        watch: The connection for watches, clock and log.
        reporter: Reports to users.
        metrics: Counters.
    """

    def __init__(
        self,
        term: Term,
        *,
        settings: Callable[[], ChecksumSettings],
        scope: Scope,
        pace: Pace,
        api: KubernetesApi,
        watch: WatchContext,
        reporter: StatusReporter,
        metrics: ControllerMetrics,
    ) -> None:
        self._settings = settings
        self._scope = scope
        self._pace = pace
        self._clock = watch.clock
        self._log = watch.log
        self._reporter = reporter
        self._metrics = metrics.rollouts
        self._dependents = Dependents()
        self._timings: dict[WorkloadId, Timing] = {}
        self._cache = ClusterCache(
            scope,
            watch,
            workload_changed=self._see_workload,
            status_changed=self._see_status,
            source_changed=self._see_source,
        )
        self._reader = SourceReader(settings, api, clock=watch.clock, metrics=metrics.reads)
        self._digests = DigestCache(self._fetch, self._cache.version)
        self._patcher = WorkloadPatcher(api, self._cache, term, metrics.rollouts)
        new_queue = partial(WorkQueue, clock=watch.clock, log=watch.log, metrics=metrics.queues)
        self._queue: WorkQueue[WorkloadId] = new_queue("checksums")
        self._tracker = ProgressTracker(lambda: settings().progress_deadline, watch.clock)
        self._limiter = RolloutLimiter(
            self._cache,
            reporter,
            self._tracker,
            limit=lambda: settings().max_concurrent,
            decide=self._decide_if_due,
            write=self._write,
            record=lambda observed, record: self._patcher.annotate(observed, PROGRESS, record),
            queue=new_queue("rollouts", settling=SETTLING),
            log=watch.log,
            metrics=metrics.rollouts,
        )

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cache.run())
            await self._cache.wait_synced()
            self._log.info("watching workloads", workloads=sum(1 for _ in self._cache.workloads()))
            group.create_task(self._limiter.run())
            group.create_task(self._queue.run(self._reconcile, workers=WORKERS))

    def reconcile_all(self) -> None:
        """Have every workload reconciled, because the settings have changed."""
        for workload_id in self._cache.workloads():
            self._queue.add(workload_id)

    async def _reconcile(self, workload_id: WorkloadId) -> float | None:
        if (wait := self._wait(workload_id)) or self._cache.awaits_own_write(workload_id):
            return wait or None
        observed = await self._decide(workload_id)
        if observed is None:
            return None
        decision = observed.decision
        if not decision.keys:
            self._settle(workload_id, accepted=not decision.operations)
        elif self._timings.get(workload_id, Timing()).first_change is None:
            self._note_change(workload_id)
            if wait := self._wait(workload_id):
                return wait
        if decision.keys and self._settings().max_concurrent:
            self._limiter.add(workload_id)
        elif decision.operations:
            await self._write(observed)
        # A source that is not watched stays unreadable: trying again is of no use.
        unreadable = [(source, why) for source, why in decision.resolution.unreadable if why != NOT_WATCHED]
        if unreadable:
            raise KubernetesError("; ".join(f"{source} could not be read ({why})" for source, why in unreadable) + ".")
        return None

    async def _decide_if_due(self, workload_id: WorkloadId) -> Observed | None:
        """Decide about a workload that may be written now; one that is not due is added again by the queue."""
        if self._wait(workload_id) or self._cache.awaits_own_write(workload_id):
            return None
        return await self._decide(workload_id)

    async def _decide(self, workload_id: WorkloadId) -> Observed | None:
        """Decide about a workload as it is now; None if it does not exist, or has nothing to do with checksums."""
        while (stored := self._cache.workload(workload_id)) is not None:
            settings = self._settings()
            staged, kind = settings.rules.staged, workload_id.kind
            rollout = self._tracker.judge(workload_id, stored) if staged else kind.rollout(stored)
            before = Observed.of(workload_id, stored, rollout, NOTHING_DECIDED)
            requirements = required(before.workload, settings.policy, workload_id.namespace)
            inputs = DecisionInput.of(
                Trigger.RECONCILE,
                before.workload,
                None,
                requirements,
                settings.rules,
                standing=before.standing if staged else None,
            )
            self._depend(workload_id, inputs.to_read)
            if not inputs.concerns_checksums:
                break
            readings = await self._digests.get(workload_id.namespace, inputs.to_read)
            if self._cache.workload(workload_id) is stored:
                observed = replace(before, decision=decide(inputs, readings))
                self._reporter.observed(observed, requirements.problems)
                return observed
        self._depend(workload_id, ())
        self._timings.pop(workload_id, None)
        self._tracker.forget(workload_id)
        self._reporter.forget(workload_id)
        return None

    async def _write(self, observed: Observed) -> None:
        """Write a decision.

        Raises:
            KubernetesError: It was refused, or it is unknown whether it was written.
        """
        workload_id, timing = observed.id, self._timings.get(observed.id, Timing())
        outcome = await self._patcher.write(observed)
        now = self._clock.monotonic()
        if outcome is WriteOutcome.REVERTED:
            self._timings[workload_id] = timing.reverted(now)
            self._queue.add_after(workload_id, self._wait(workload_id))
            self._reporter.reverted(observed)
        if outcome is not WriteOutcome.WRITTEN:
            return
        if observed.decision.keys:
            if timing.first_change is not None:
                self._metrics.seconds.labels(workload_id.kind.name).observe(now - timing.first_change)
            self._timings[workload_id] = timing.rolled(now, self._pace)
        else:
            self._settle(workload_id, accepted=True)
        self._reporter.wrote(observed)

    def _see_workload(self, workload_id: WorkloadId) -> None:
        self._queue.add(workload_id)
        self._limiter.workload_changed(workload_id)

    def _see_status(self, workload_id: WorkloadId) -> None:
        self._limiter.workload_changed(workload_id)

    def _see_source(self, where: NamespacedSource) -> None:
        for workload_id in self._dependents.of(where):
            self._note_change(workload_id)
            self._queue.add_after(workload_id, self._wait(workload_id))

    def _note_change(self, workload_id: WorkloadId) -> None:
        self._timings[workload_id] = self._timings.get(workload_id, Timing()).changed(self._clock.monotonic())

    def _settle(self, workload_id: WorkloadId, *, accepted: bool) -> None:
        if timing := self._timings.get(workload_id):
            settled = timing.settled().accepted() if accepted else timing.settled()
            self._timings[workload_id] = settled
            if settled.is_forgettable(self._clock.monotonic(), self._pace):
                del self._timings[workload_id]

    def _wait(self, workload_id: WorkloadId) -> float:
        """Return the seconds until a workload may be written; 0 if it may be now, or if there is nothing to write."""
        due = self._timings.get(workload_id, Timing()).due(self._pace)
        return 0.0 if due is None else max(0.0, due - self._clock.monotonic())

    def _depend(self, workload_id: WorkloadId, sources: tuple[Source, ...]) -> None:
        for where in self._dependents.put(workload_id, sources):
            self._digests.forget(where)
        self._metrics.workloads.set(len(self._dependents))
        self._metrics.digests.set(len(self._digests))

    async def _fetch(self, where: NamespacedSource) -> VersionedReading:
        if not self._scope.covers(*where):
            # It may be readable, but the controller would miss changes of it.
            return VersionedReading(Unreadable(NOT_WATCHED))
        return await self._reader.fetch(where)
