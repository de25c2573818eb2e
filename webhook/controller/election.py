"""Leader election on a Lease: of all replicas, one runs the controllers.

It is a convenience, not a lock: a process that stands still cannot know that its time is over. So the one who leads is
handed a `Term`; whoever bounds each write by `Term.deadline` sends none after the term, and every write carries a
resourceVersion besides. The rules are in `webhook.controller.core.lease`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from webhook.admission.deadline import Deadline
from webhook.clients.api import KubernetesApi
from webhook.controller.core.lease import LeaseRecord, LeaseTiming, Sight, Wait, decide, pause, released
from webhook.controller.leases import LeaseStore, StoredLease
from webhook.controller.metrics import ElectionMetrics
from webhook.errors import DeadlineExceededError, KubernetesError, RollonceError
from webhook.log import Logger

#: A refused write, a look and a write again: what one try takes when the Lease is deleted or labelled by somebody.
_STEPS: Final = 3


class Term:
    """The time for which one replica leads; each renewal makes it longer.

    Args:
        ends: When it ends, in seconds of the clock.
        clock: A monotonic clock.
    """

    def __init__(self, ends: float, clock: Callable[[], float]) -> None:
        self._ends = ends
        self._clock = clock

    @property
    def holds(self) -> bool:
        """Whether nobody else can be leading now."""
        return self._clock() < self._ends

    def deadline(self, seconds: float) -> Deadline:
        """Return the end of the term as it is known now, or so many seconds from now if that is sooner."""
        return Deadline(self._ends, self._clock).within(seconds)

    def extend(self, ends: float) -> None:
        """Note a renewal: the term ends later."""
        self._ends = ends

    def end(self) -> None:
        """Note that somebody else holds the Lease: the term is over."""
        self._ends = self._clock()


Lead: TypeAlias = Callable[[Term], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class _Held:
    """The Lease is ours, by a write that was sent at this time of the monotonic clock."""

    sent: float


@dataclass(frozen=True, slots=True)
class _Failed:
    """Whose the Lease is could not be found out."""

    problem: str


class Elector:
    """Takes part in the election for one Lease.

    Args:
        api: The API server. Needs get, create and update of `leases.coordination.k8s.io` in the namespace.
        namespace: Where the Lease is.
        name: The Lease's name; it is made if it does not exist.
        identity: Shown as the holder. No other elector may have the same, nor this one after a restart: begin it with
            the pod's name and end it with something random.
        timing: The three times.
        clock: A monotonic clock, in seconds.
        wall_clock: An aware time, written down for people to read.
        chance: A random number from 0 to 1.
        log: Told of each change and each new problem.
        metrics: Counts them.
    """

    def __init__(
        self,
        api: KubernetesApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        chance: Callable[[], float],
        log: Logger,
        metrics: ElectionMetrics,
    ) -> None:
        self._store = LeaseStore(api, namespace=namespace, name=name)
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._label = f"{namespace}/{name}"
        self._log = log.bind(lease=self._label, identity=identity)
        self._metrics = metrics
        self._sight = Sight()
        #: What our last write stored: the next may go over it unread.
        self._written: StoredLease | None = None
        self._told: tuple[str, str] = ("", "")
        metrics.leading.labels(self._label).set(0)

    async def run(self, lead: Lead) -> None:
        """Lead whenever we are elected, until `lead` is done or this is cancelled.

        Args:
            lead: What only the leader does. Called anew for each term. It is cancelled when the term cannot be renewed,
                and has ended before the next election. If it returns or raises by itself, the Lease is released and
                this returns or raises too; a `RollonceError` after its term says no more than that.
        """
        while True:
            term = await self._win()
            if await self._serve(term, lead):
                return

    async def _win(self) -> Term:
        while True:
            self._written = None
            answer = await self._claim(Deadline.after(self._timing.renew_deadline, self._clock))
            wait = pause(self._timing, self._chance())
            match answer:
                case _Held(sent):
                    return Term(sent + self._timing.renew_deadline, self._clock)
                case Wait(holder, until):
                    self._tell("Somebody else leads.", holder)
                    wait = min(wait, max(0.0, until - self._clock()))
                case _Failed(problem):
                    self._tell("The Lease cannot be taken.", problem)
            await asyncio.sleep(wait)

    async def _serve(self, term: Term, lead: Lead) -> bool:
        """Lead for a term, and return whether `lead` is done."""
        self._tell("Leading.")
        self._metrics.leading.labels(self._label).set(1)
        self._metrics.changes.labels(self._label, "acquired").inc()
        leading = asyncio.create_task(lead(term))
        renewing = asyncio.create_task(self._renew(term))
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
            done = leading.done()
        finally:
            # The Lease is renewed until nothing of `lead` runs any more: only then may somebody else begin.
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
            await asyncio.sleep(term.deadline(pause(self._timing, self._chance())).remaining())
            if not term.holds:
                return
            match await self._claim(term.deadline(self._timing.renew_deadline)):
                case _Held(sent):
                    self._told = ("", "")
                    term.extend(sent + self._timing.renew_deadline)
                case Wait(holder):
                    self._tell("Somebody else took the Lease.", holder)
                    term.end()
                case _Failed(problem):
                    self._tell("The Lease cannot be renewed.", problem)

    async def _claim(self, deadline: Deadline) -> _Held | Wait | _Failed:
        """Take or renew the Lease if the rules allow it."""
        problem = "Others write the Lease at the same time."
        try:
            for _ in range(_STEPS):
                found = self._written or await self._look(deadline)
                decision = decide(self._sight, self._identity, self._timing, now=self._clock(), wall=self._wall_clock())
                if isinstance(decision, Wait):
                    return decision
                sent = self._clock()
                if await self._write(decision.record, found, deadline):
                    return _Held(sent)
        except (KubernetesError, DeadlineExceededError) as error:
            problem = str(error)
        self._metrics.failures.labels(self._label).inc()
        return _Failed(problem)

    async def _look(self, deadline: Deadline) -> StoredLease | None:
        found = await self._store.read(deadline)
        self._sight = self._sight.look(found.record if found else None, self._clock())
        return found

    async def _write(self, record: LeaseRecord, over: StoredLease | None, deadline: Deadline) -> bool:
        # Until it is acknowledged, nobody knows what is stored.
        self._written = None
        self._written = await self._store.write(record, over, deadline)
        if self._written is None:
            return False
        self._sight = self._sight.look(self._written.record, self._clock())
        return True

    async def _end(self, task: asyncio.Task[None]) -> None:
        """Cancel a task and wait until it has ended, however long that takes."""
        task.cancel()
        while not task.done():
            await asyncio.wait((task,), timeout=self._timing.lease_duration - self._timing.renew_deadline)
            if not task.done():
                self._log.error("A part of the controller goes on though it was told to end.")

    async def _leave(self, term: Term) -> None:
        """Release the Lease if it is still ours, so that the next leader does not have to wait."""
        change = "lost"
        deadline = term.deadline(self._timing.renew_deadline)
        try:
            for _ in range(_STEPS if term.holds else 0):
                found = self._written or await self._look(deadline)
                if found is None or found.record.holder != self._identity:
                    break
                if await self._write(released(found.record, self._wall_clock()), found, deadline):
                    change = "released"
                    break
        except (KubernetesError, DeadlineExceededError) as error:
            self._tell("The Lease could not be released and has to run out.", str(error))
        self._metrics.changes.labels(self._label, change).inc()
        self._tell("No longer leading.", change)

    def _tell(self, message: str, detail: str = "") -> None:
        """Log what is new; what is the same at each try is told once."""
        if (message, detail) != self._told:
            self._told = (message, detail)
            self._log.info(message, detail=detail)
