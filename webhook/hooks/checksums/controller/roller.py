"""Rolls workloads whose checksums are no longer those of what they depend on.

Level-triggered: whatever woke it, it compares what a pod template says with what the objects hold; equal means no
write. So it makes no difference whether it noticed a change by an event, by a list after an outage, or at its start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from webhook.controller.election import Term
from webhook.controller.queue import WorkQueue
from webhook.errors import KubernetesError
from webhook.hooks.checksums.controller.dependents import Dependents
from webhook.hooks.checksums.controller.digests import DigestCache, Place
from webhook.hooks.checksums.controller.patching import Patcher
from webhook.hooks.checksums.controller.scope import Scope
from webhook.hooks.checksums.controller.tools import Tools
from webhook.hooks.checksums.controller.turns import Turns
from webhook.hooks.checksums.controller.view import View
from webhook.hooks.checksums.core.case import Case
from webhook.hooks.checksums.core.decide import decide
from webhook.hooks.checksums.core.facts import Occasion, Unreadable
from webhook.hooks.checksums.core.keys import Source
from webhook.hooks.checksums.core.optin import required
from webhook.hooks.checksums.core.pace import Pace, Timing
from webhook.hooks.checksums.core.plan import Observed
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.hooks.checksums.settings import ChecksumSettings
from webhook.hooks.checksums.sources import Seen, fetch

#: Patches under way at a time. A hundred workloads of one ConfigMap shall not wait for each other.
WORKERS: Final = 48
NOT_WATCHED: Final = "it is not among what is watched"


class Roller:
    """Looks after the workloads of a scope for one term.

    Args:
        settings: Asked for at each look, since they can change.
        scope: What is watched.
        pace: When to write.
        tools: What it works with.
        term: Bounds what may be written.
    """

    def __init__(
        self, settings: Callable[[], ChecksumSettings], scope: Scope, pace: Pace, tools: Tools, term: Term
    ) -> None:
        watching = tools.watching
        self._settings = settings
        self._scope = scope
        self._pace = pace
        self._clock = watching.clock
        self._tools = tools
        self._dependents = Dependents()
        self._timings: dict[WorkloadId, Timing] = {}
        self._view = View(
            scope,
            watching,
            workload_changed=self._see_workload,
            status_changed=lambda one: self._turns.moved(one.namespace),
            source_changed=self._see_source,
        )
        self._digests = DigestCache(self._fetch, self._view.version)
        self._patcher = Patcher(tools.api, self._view, term, metrics=tools.metrics)
        self._queue: WorkQueue[WorkloadId] = WorkQueue(
            "checksums", clock=self._clock, chance=watching.chance, log=watching.log, metrics=tools.queues
        )
        self._turns = Turns(self._view, self._look_if_due, self._write, tools)

    async def run(self) -> None:
        """Roll until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._view.run())
            await self._view.wait_synced()
            self._tools.watching.log.info("Looking after workloads.", workloads=len(tuple(self._view.workloads())))
            group.create_task(self._turns.run(lambda: self._settings().max_concurrent))
            group.create_task(self._queue.run(self._work, workers=WORKERS))

    def look_at_all(self) -> None:
        """Look at every workload: the settings have changed."""
        for one in self._view.workloads():
            self._queue.add(one)

    async def _work(self, one: WorkloadId) -> float | None:
        if (wait := self._wait(one)) or self._view.waits_for_echo(one):
            return wait or None
        looked = await self._look(one)
        if looked is None:
            return None
        outcome = looked.outcome
        if not outcome.keys:
            self._settle(one)
        elif self._timings.get(one, Timing()).first_change is None:
            self._note_change(one)
            if wait := self._wait(one):
                return wait
        if outcome.keys and self._settings().max_concurrent:
            self._turns.want(one)
        elif outcome.operations:
            await self._write(looked)
        # What is not watched stays unreadable, however often it is tried.
        if unreadable := [one for one in outcome.resolution.unreadable if one[1] != NOT_WATCHED]:
            raise KubernetesError("; ".join(f"{source} could not be read ({why})" for source, why in unreadable) + ".")
        return None

    async def _look_if_due(self, one: WorkloadId) -> Observed | None:
        """Decide about a workload whose turn may have come; one that is not due is brought back by the queue."""
        return None if self._wait(one) or self._view.waits_for_echo(one) else await self._look(one)

    async def _look(self, one: WorkloadId) -> Observed | None:
        """Decide about a workload as it is now; None if it is not there, or is none of our business."""
        while (stored := self._view.workload(one)) is not None:
            settings = self._settings()
            workload = stored.look(one.kind)
            requirements = required(workload, settings.operator, one.namespace)
            case = Case.of(Occasion.RECONCILE, workload, None, requirements, settings.rules)
            self._depend(one, case.to_read)
            if not (requirements.wanted or requirements.problems or workload.managed or workload.held):
                break
            readings = await self._digests.get(one.namespace, case.to_read)
            if self._view.workload(one) is stored:
                looked = stored.observe(one, decide(case, readings))
                self._tools.teller.looked(looked, requirements.problems)
                return looked
        self._depend(one, ())
        self._timings.pop(one, None)
        self._tools.teller.forget(one)
        return None

    async def _write(self, observed: Observed) -> None:
        """Write what was decided.

        Raises:
            KubernetesError: It was refused, or nobody knows whether it was written.
        """
        one, timing = observed.id, self._timings.get(observed.id, Timing())
        if not await self._patcher.write(observed):
            self._view.came_too_late(one, observed.resource_version)
            return
        now = self._clock()
        if observed.outcome.keys:
            if timing.first_change is not None:
                self._tools.metrics.seconds.labels(one.kind).observe(now - timing.first_change)
            self._timings[one] = timing.rolled(now, self._pace)
        self._tools.teller.wrote(observed)

    def _see_workload(self, one: WorkloadId) -> None:
        self._queue.add(one)
        self._turns.moved(one.namespace)

    def _see_source(self, place: Place) -> None:
        if place not in self._dependents:
            return
        for one in self._dependents.of(place):
            self._note_change(one)
            self._queue.add_after(one, self._wait(one))

    def _note_change(self, one: WorkloadId) -> None:
        self._timings[one] = self._timings.get(one, Timing()).changed(self._clock())

    def _settle(self, one: WorkloadId) -> None:
        if timing := self._timings.get(one):
            self._timings[one] = settled = timing.settled()
            if settled.forgettable(self._clock(), self._pace):
                del self._timings[one]

    def _wait(self, one: WorkloadId) -> float:
        """Return the seconds until a workload may be written; 0 if it may be, or if there is nothing to write."""
        due = self._timings.get(one, Timing()).due(self._pace)
        return 0.0 if due is None else max(0.0, due - self._clock())

    def _depend(self, one: WorkloadId, sources: tuple[Source, ...]) -> None:
        for place in self._dependents.put(one, sources):
            self._digests.forget(place)
        self._tools.metrics.workloads.set(len(self._dependents))
        self._tools.metrics.digests.set(len(self._digests))

    async def _fetch(self, place: Place) -> Seen:
        if not self._scope.covers(*place):
            # It may be readable, but nobody would tell us when it changes.
            return Seen(Unreadable(NOT_WATCHED))
        return await fetch(*place, self._settings(), self._tools.api, clock=self._clock, metrics=self._tools.reads)
