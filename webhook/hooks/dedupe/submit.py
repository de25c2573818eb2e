"""The way of one create: ask the store, look at the API server where the table says so, act on the verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.admission.response import Decision
from webhook.errors import KubernetesError, StoreError
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core import answers
from webhook.hooks.dedupe.core.answers import RETRY_AFTER_SECONDS, UNAVAILABLE_RETRY_AFTER_SECONDS, Existing
from webhook.hooks.dedupe.core.decide import Asker, Known, Lease, Live, Policy, Situation, Trust, Verdict, decide
from webhook.hooks.dedupe.core.evidence import first_that_counts
from webhook.hooks.dedupe.core.fingerprint import fingerprint
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.names import is_generated
from webhook.hooks.dedupe.core.record import Record, State, UnreadableRecordError, canonical_uid, request_token
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.doubts import Doubts
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Outcome, Store, View

#: How much of the time left a call to the store may take, so that some is left to do without it.
_STORE_SHARE: Final = 0.4
_PATIENCE_SHARE: Final = 0.5
_ENOUGH_ABSENCES: Final = 2


@dataclass(frozen=True, slots=True)
class Parts:
    """What a submission works with; `clock` gives seconds since 1970, `sleep` takes seconds."""

    store: Store
    runs: Runs
    confirmer: Confirmer
    doubts: Doubts
    settings: DedupeSettings
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    log: FilteringBoundLogger
    metrics: DedupeMetrics


class Submission:
    """One create on its way.

    Args:
        parts: What it works with.
        key: The delivery.
        run: The run as it would be stored, with its final name and uid.
        request_uid: Of the admission request.
        deadline: For the answer.
    """

    def __init__(
        self, parts: Parts, key: DeliveryKey, run: OrchestrationRun, request_uid: str, deadline: Deadline
    ) -> None:
        self._parts = parts
        self._key = key
        self._deadline = deadline
        self._patience = deadline.fraction(_PATIENCE_SHARE)
        self._lease = int(parts.settings.lease.total_seconds() * 1000)
        self._retention = parts.settings.retention.total_seconds()
        self._record = Record(
            state=State.RESERVED,
            name=run.name,
            uid=canonical_uid(run.uid),
            request=request_token(request_uid),
            fingerprint=fingerprint(run.parameters),
            created_at=run.created_at,
        )
        permitted = parts.settings.on_redis_down.permits(generated=is_generated(run.name, key.ref, key.delivery_id))
        self._policy = Policy.GO if permitted else Policy.STOP

    async def decide(self) -> tuple[Verdict, Decision]:
        """Come to a verdict and act on it.

        Raises:
            DeadlineExceededError: There was not enough time.
            UnreadableRecordError: The store holds something that cannot be read.
        """
        proved: View | None = None
        absences: list[bytes] = []
        while True:
            self._deadline.require()
            view = await self._reserve(proved)
            if view is not None and view.outcome in {Outcome.MADE, Outcome.OWN}:
                return self._reserved(view)
            proved, live, found = None, Live.UNSEEN, None
            verdict = decide(self._situation(view, live))
            if verdict is Verdict.LOOK:
                live, found = await self._look(view)
                if live is Live.ABSENT and view is not None:
                    absences.append(view.raw)
                    if absences.count(view.raw) >= _ENOUGH_ABSENCES:
                        live = Live.GONE
                verdict = decide(self._situation(view, live))
            match verdict:
                case Verdict.RESERVE | Verdict.TAKE_OVER:
                    proved = view
                case Verdict.LOOK_AGAIN:
                    await self._pause()
                case Verdict.WAIT if self._patience.remaining() > 0:
                    await self._pause()
                case _:
                    return verdict, await self._answer(verdict, view, found)

    def _reserved(self, view: View) -> tuple[Verdict, Decision]:
        if not view.acknowledged:
            self._parts.metrics.unacknowledged.inc()
            self._parts.log.warning("Too few replicas of the deduplication store have acknowledged a reservation.")
            if self._parts.settings.strict:
                why = "too few replicas of Redis have acknowledged its reservation"
                wait = UNAVAILABLE_RETRY_AFTER_SECONDS
                refusal = answers.unavailable(self._parts.settings.resource, self._key, why, retry_after=wait)
                return Verdict.UNAVAILABLE, refusal
        return Verdict.ALLOW, answers.admitted(self._key, recorded=True)

    async def _reserve(self, proved: View | None) -> View | None:
        """Ask the store; None if it is down."""
        record = self._record
        if proved is not None and proved.record is not None:
            record = replace(record, forgotten=proved.record.forgotten)
        deadline = self._deadline.fraction(_STORE_SHARE)
        try:
            with self._parts.metrics.store_seconds.time():
                await self._parts.doubts.tell(deadline)
                view = await self._parts.store.reserve(
                    self._key,
                    record,
                    ttl=self._parts.settings.reservation_ttl_ms,
                    deadline=deadline,
                    instead_of=proved,
                )
        except UnreadableRecordError:
            raise
        except StoreError as error:
            self._parts.metrics.store_errors.inc()
            self._parts.metrics.store_down.set(1)
            self._parts.log.warning("The deduplication store failed.", error=str(error))
            return None
        self._parts.metrics.store_down.set(0)
        return view

    def _situation(self, view: View | None, live: Live) -> Situation:
        if view is None:
            return Situation(Trust.DOWN, Known.NONE, Asker.OTHER, live, Lease.OVER, self._policy)
        record = view.record
        known = Known.NONE
        asker = Asker.OTHER
        lease = Lease.OVER
        if record is not None and record.state is not State.FORGOTTEN:
            known = Known.RESERVED if record.state is State.RESERVED else Known.CONFIRMED
            lease = Lease.RUNNING if view.now - record.reserved_at < self._lease else Lease.OVER
            if record.uid == self._record.uid or record.request == self._record.request:
                asker = Asker.RETRY
            elif record.name == self._record.name:
                asker = Asker.NAMESAKE
        return Situation(view.mark.trust(view.now, self._lease), known, asker, live, lease, self._policy)

    async def _look(self, view: View | None) -> tuple[Live, OrchestrationRun | None]:
        """See whether storage holds a run that counts."""
        record = view.record if view else None
        try:
            with self._parts.metrics.api_seconds.time():
                seen: list[OrchestrationRun] = []
                if record is not None and (named := await self._get(record.name)) is not None:
                    seen.append(named)
                if view is None or not view.mark.whole:
                    seen.extend(await self._parts.runs.of_delivery(self._key, self._deadline))
        except KubernetesError as error:
            self._parts.metrics.api_errors.inc()
            self._parts.log.warning("A live look at runs failed.", error=str(error))
            return Live.UNKNOWN, None
        now = view.now / 1000 if view else self._parts.clock()
        forgotten = record.forgotten if record else None
        found = first_that_counts(seen, self._key, forgotten=forgotten, now=now, retention=self._retention)
        return (Live.ABSENT, None) if found is None else (Live.PRESENT, found)

    async def _get(self, name: str) -> OrchestrationRun | None:
        return await self._parts.runs.get(self._key.namespace, name, self._deadline)

    async def _pause(self) -> None:
        await self._parts.sleep(min(self._parts.settings.look_pause.total_seconds(), self._deadline.require()))

    async def _answer(self, verdict: Verdict, view: View | None, found: OrchestrationRun | None) -> Decision:
        resource = self._parts.settings.resource
        record = view.record if view else None
        match verdict:
            case Verdict.DUPLICATE:
                run = await self._existing(view, found)
                if not run.same_parameters:
                    self._parts.metrics.mismatches.inc()
                return answers.duplicate(resource, self._key, run, strict=self._parts.settings.strict)
            case Verdict.WAIT:
                return answers.in_flight(resource, self._key, record.name if record else "")
            case Verdict.ADMIT:
                self._parts.doubts.add(self._key.bucket)
                self._parts.metrics.degraded.inc()
                return answers.admitted(self._key, recorded=False)
            case Verdict.ALLOW:
                return answers.admitted(self._key, recorded=True)
            case _:
                lost = view is not None and view.mark.trust(view.now, self._lease) is Trust.LOST
                why = "Redis cannot be used" if view is None else "the API server does not answer"
                if lost:
                    why = "Redis has lost its memory, and creates that it knew of may still be under way"
                wait = RETRY_AFTER_SECONDS if lost else UNAVAILABLE_RETRY_AFTER_SECONDS
                return answers.unavailable(resource, self._key, why, retry_after=wait)

    async def _existing(self, view: View | None, found: OrchestrationRun | None) -> Existing:
        """Describe the delivery's run; confirm it on the way if only now it was found."""
        if found is not None:
            if view is not None:
                await self._confirm(found, view)
            same = fingerprint(found.parameters) == self._record.fingerprint
            return Existing(found.name, found.uid, found.phase, found.run_id, same_parameters=same)
        record = view.record if view else None
        if record is None:
            raise StoreError("A duplicate without a record and without a run.")
        same = record.fingerprint == self._record.fingerprint
        try:
            run = await self._get(record.name)
        except KubernetesError:
            # The answer does not depend on it: the record has the phase as last seen.
            self._parts.metrics.api_errors.inc()
            return Existing(record.name, record.uid, record.phase, same_parameters=same)
        if run is None or canonical_uid(run.uid) != record.uid:
            return Existing(record.name, record.uid, record.phase, stored=False, same_parameters=same)
        return Existing(run.name, run.uid, run.phase, run.run_id, same_parameters=same)

    async def _confirm(self, found: OrchestrationRun, view: View) -> None:
        try:
            await self._parts.confirmer.confirm(found, self._deadline, by="look", seen=(view.raw, view.record))
        except StoreError as error:
            # The run is stored: the next look will find it again.
            self._parts.log.warning("A run could not be confirmed.", run=found.name, error=str(error))
