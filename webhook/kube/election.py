"""Leader election by a Lease: one replica of all runs the controllers.

It is not a lock: a process that was frozen cannot know that its term is over. So the leader gets a `Term`, bounds each
write by `Term.deadline`, and gives each write a resourceVersion as a precondition. The rules are in
`webhook.kube.core.lease`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from webhook.errors import DeadlineExceededError, KubernetesError, RollonceError
from webhook.kube.api import KubernetesApi
from webhook.kube.core.lease import LeaseObservation, LeaseRecord, LeaseTiming, Wait, decide, pause, released
from webhook.kube.lease_store import LeaseStore, StoredLease
from webhook.kube.metrics import ElectionMetrics
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import ChangeLogger, Logger

#: A refused write, a read and a second write: what one attempt takes if others delete or label the Lease.
_STEPS: Final = 3


class Term:
    """The time for which one replica leads; each renewal extends it.

    Args:
        ends: Its end, in seconds of the clock.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, ends: float, clock: Callable[[], float]) -> None:
        self._ends = ends
        self._clock = clock

    @property
    def holds(self) -> bool:
        """Whether no other replica can be leading now."""
        return self._clock() < self._ends

    def deadline(self, seconds: float) -> Deadline:
        """Return the present end of the term, or that many seconds from now if that is earlier."""
        return Deadline(self._ends, self._clock).within(seconds)

    def extend(self, ends: float) -> None:
        """Move the end of the term after a renewal."""
        self._ends = ends

    def end(self) -> None:
        """End the term now: another replica holds the Lease."""
        self._ends = self._clock()


Lead: TypeAlias = Callable[[Term], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class _Held:
    """This replica holds the Lease, by a write that was sent at this time of the monotonic clock."""

    sent: float


@dataclass(frozen=True, slots=True)
class _Failed:
    """The holder of the Lease could not be determined."""

    problem: str


class Elector:
    """Take part in the election for one Lease.

    Args:
        api: The API server. Needs get, create and update of `leases.coordination.k8s.io` in the namespace.
        namespace: Namespace of the Lease.
        name: Name of the Lease; it is created if it does not exist.
        identity: Shown as the holder. It must be unique, also after a restart: use the pod's name and a random suffix.
        timing: Lease duration, renew deadline and retry period.
        clock: Monotonic time, time of day (written for people to read) and jitter.
        log: Receives each change and each new problem.
        metrics: Counters.
    """

    def __init__(
        self,
        api: KubernetesApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming,
        clock: Clock,
        log: Logger,
        metrics: ElectionMetrics,
    ) -> None:
        self._store = LeaseStore(api, namespace=namespace, name=name)
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._label = f"{namespace}/{name}"
        self._log = log.bind(lease=self._label, identity=identity)
        self._changes = ChangeLogger(self._log)
        self._metrics = metrics
        self._observation = LeaseObservation()
        #: What this replica wrote last: the next write can replace it without a read.
        self._written: StoredLease | None = None
        metrics.leading.labels(self._label).set(0)

    async def run(self, lead: Lead) -> None:
        """Lead whenever this replica is elected, until `lead` returns or this is cancelled.

        Args:
            lead: What only the leader does; called once per term. It is cancelled when the term cannot be renewed, and
                has ended before the next election. If it returns or raises by itself, the Lease is released and this
                method returns or raises too; a `RollonceError` after the end of the term is ignored.
        """
        while True:
            term = await self._win()
            if await self._serve(term, lead):
                return

    async def _win(self) -> Term:
        while True:
            self._written = None
            answer = await self._claim(self._clock.deadline(self._timing.renew_deadline))
            wait = pause(self._timing, self._clock.jitter())
            match answer:
                case _Held(sent):
                    return Term(sent + self._timing.renew_deadline, self._clock.monotonic)
                case Wait(holder, until):
                    self._changes.changed("another replica leads", holder)
                    wait = min(wait, max(0.0, until - self._clock.monotonic()))
                case _Failed(problem):
                    self._changes.changed("lease cannot be acquired", problem)
            await self._clock.sleep(wait)

    async def _serve(self, term: Term, lead: Lead) -> bool:
        """Lead for one term, and return whether `lead` is done."""
        self._changes.changed("leading")
        self._metrics.leading.labels(self._label).set(1)
        self._metrics.changes.labels(self._label, "acquired").inc()
        leading = asyncio.create_task(lead(term))
        renewing = asyncio.create_task(self._renew(term))
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
            done = leading.done()
        finally:
            # The Lease is renewed until `lead` has ended: only then may another replica start.
            await self._end(leading)
            await self._end(renewing)
            self._metrics.leading.labels(self._label).set(0)
            await self._leave(term)
        if not renewing.cancelled():
            renewing.result()
        problem = None if leading.cancelled() else leading.exception()
        if problem and (term.holds or not isinstance(problem, RollonceError)):
            raise problem
        return done and not problem

    async def _renew(self, term: Term) -> None:
        """Renew until the term is over."""
        while True:
            await self._clock.sleep(term.deadline(pause(self._timing, self._clock.jitter())).remaining())
            if not term.holds:
                return
            match await self._claim(term.deadline(self._timing.renew_deadline)):
                case _Held(sent):
                    self._changes.reset()
                    term.extend(sent + self._timing.renew_deadline)
                case Wait(holder):
                    self._changes.changed("lease lost to another replica", holder)
                    term.end()
                case _Failed(problem):
                    self._changes.changed("lease cannot be renewed", problem)

    async def _claim(self, deadline: Deadline) -> _Held | Wait | _Failed:
        """Acquire or renew the Lease if the rules allow it."""
        problem = "Other clients write the Lease at the same time."
        try:
            for _ in range(_STEPS):
                found = self._written or await self._read(deadline)
                decision = decide(
                    self._observation, self._identity, self._timing, now=self._clock.monotonic(), wall=self._clock.now()
                )
                if isinstance(decision, Wait):
                    return decision
                sent = self._clock.monotonic()
                if await self._write(decision.record, found, deadline):
                    return _Held(sent)
        except (KubernetesError, DeadlineExceededError) as error:
            problem = str(error)
        self._metrics.failures.labels(self._label).inc()
        return _Failed(problem)

    async def _read(self, deadline: Deadline) -> StoredLease | None:
        found = await self._store.read(deadline)
        self._observation = self._observation.look(found.record if found else None, self._clock.monotonic())
        return found

    async def _write(self, record: LeaseRecord, over: StoredLease | None, deadline: Deadline) -> bool:
        # Until the write is acknowledged, it is unknown what is stored.
        self._written = None
        self._written = await self._store.write(record, over, deadline)
        if self._written is None:
            return False
        self._observation = self._observation.look(self._written.record, self._clock.monotonic())
        return True

    async def _end(self, task: asyncio.Task[None]) -> None:
        """Cancel a task and wait until it has ended, however long that takes."""
        task.cancel()
        while not task.done():
            await asyncio.wait((task,), timeout=self._timing.lease_duration - self._timing.renew_deadline)
            if not task.done():
                self._log.error("task does not end after its cancellation")

    async def _leave(self, term: Term) -> None:
        """Release the Lease if this replica still holds it, so that the next leader need not wait."""
        change = "lost"
        deadline = term.deadline(self._timing.renew_deadline)
        try:
            for _ in range(_STEPS if term.holds else 0):
                found = self._written or await self._read(deadline)
                if found is None or found.record.holder != self._identity:
                    break
                if await self._write(released(found.record, self._clock.now()), found, deadline):
                    change = "released"
                    break
        except (KubernetesError, DeadlineExceededError) as error:
            self._changes.changed("lease could not be released and must expire", str(error))
        self._metrics.changes.labels(self._label, change).inc()
        self._changes.changed("no longer leading", change)
