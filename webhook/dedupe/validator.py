"""The decision on one create: ask the store, read the API server where the table says so, act on the verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from webhook.admission.response import Decision
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core import answers
from webhook.dedupe.core.answers import RETRY_AFTER_SECONDS, UNAVAILABLE_RETRY_AFTER_SECONDS, Existing
from webhook.dedupe.core.decide import TABLE, Live, Policy, StoreState, Verdict, row_of
from webhook.dedupe.core.evidence import first_that_counts
from webhook.dedupe.core.fingerprint import fingerprint
from webhook.dedupe.core.identity import DeliveryKey, is_generated
from webhook.dedupe.core.record import Record, State, canonical_uid, request_token
from webhook.dedupe.core.reservation import Absences, ReserveResult, situation
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.runs import Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.dedupe.unsynced import UnsyncedBuckets
from webhook.errors import DataError, KubernetesError, StoreError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

#: The share of the time left that one call to the store may take, so that there is time to decide without it.
_STORE_SHARE: Final = 0.4
#: The share of the time for which to wait for another create.
_PATIENCE_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Create:
    """A create under review.

    Attributes:
        key: The delivery.
        record: The reservation to write.
        policy: What `onRedisDown` says about it.
        request_uid: The uid of the admission request.
        deadline: When the answer must be sent.
        patience: Until when to wait for another create of the delivery.
    """

    key: DeliveryKey
    record: Record
    policy: Policy
    request_uid: str
    deadline: Deadline
    patience: Deadline


class RunValidator:
    """Decide about creates of runs.

    Args:
        store: The records of deliveries.
        runs: Reads runs from the API server.
        confirmer: Confirms records.
        unsynced: Notes creates that are admitted without a record.
        settings: The settings of deduplication.
        clock: Time and sleep.
        log: Receives problems; at level debug, each row of the table that was applied.
        metrics: Counters.
    """

    def __init__(
        self,
        store: Store,
        runs: Runs,
        confirmer: Confirmer,
        unsynced: UnsyncedBuckets,
        settings: DedupeSettings,
        *,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._store = store
        self._runs = runs
        self._confirmer = confirmer
        self._unsynced = unsynced
        self._settings = settings
        self._clock = clock
        self._log = log
        self._metrics = metrics

    async def decide(
        self, key: DeliveryKey, run: OrchestrationRun, request_uid: str, deadline: Deadline
    ) -> tuple[Verdict, Decision]:
        """Decide about a create, and make the reservation if it is allowed.

        Args:
            key: The delivery.
            run: The run as it would be stored, with its final name and uid.
            request_uid: The uid of the admission request.
            deadline: When the answer must be sent.

        Raises:
            DeadlineExceededError: There was not enough time.
            UnreadableRecordError: The store holds a record that cannot be decoded.
        """
        create, absences = self._create(key, run, request_uid, deadline), Absences()
        proved: ReserveResult | None = None
        while True:
            deadline.require()
            result = await self._reserve(create, proved)
            proved, found = None, None
            verdict = self._apply_table(create, result, Live.UNSEEN)
            if verdict is Verdict.LOOK:
                live, found = await self._look(create, result)
                verdict = self._apply_table(create, result, absences.observe(live, result.raw if result else b""))
            match verdict:
                case Verdict.RESERVE | Verdict.TAKE_OVER:
                    proved = result
                case Verdict.LOOK_AGAIN:
                    await self._pause(create)
                case Verdict.WAIT if create.patience.remaining() > 0:
                    await self._pause(create)
                case Verdict.ALLOW if result is not None:
                    return self._allow(create, result)
                case _:
                    return verdict, await self._answer(create, verdict, result, found)

    def _create(self, key: DeliveryKey, run: OrchestrationRun, request_uid: str, deadline: Deadline) -> _Create:
        record = Record(
            state=State.RESERVED,
            name=run.name,
            uid=canonical_uid(run.uid),
            request=request_token(request_uid),
            fingerprint=fingerprint(run.parameters),
            created_at=run.created_at,
        )
        generated = is_generated(run.name, key.ref, key.delivery_id)
        policy = Policy.GO if self._settings.on_redis_down.permits(generated=generated) else Policy.STOP
        return _Create(key, record, policy, request_uid, deadline, deadline.fraction(_PATIENCE_SHARE))

    def _apply_table(self, create: _Create, result: ReserveResult | None, live: Live) -> Verdict:
        facts = situation(result, live, name=create.record.name, lease=self._settings.lease_ms, policy=create.policy)
        row = row_of(facts)
        verdict = TABLE[row].verdict
        self._log.debug("table row applied", request_uid=create.request_uid, row=row + 1, verdict=verdict.value)
        return verdict

    async def _reserve(self, create: _Create, proved: ReserveResult | None) -> ReserveResult | None:
        """Try to write the reservation; returns None if the store is down."""
        record = create.record
        if proved is not None and proved.record is not None:
            record = replace(record, forgotten=proved.record.forgotten)
        deadline = create.deadline.fraction(_STORE_SHARE)
        try:
            with self._metrics.store_seconds.time():
                await self._unsynced.mark(deadline)
                result = await self._store.reserve(
                    create.key, record, ttl=self._settings.reservation_ttl_ms, deadline=deadline, instead_of=proved
                )
        except StoreError as error:
            self._metrics.store_errors.inc()
            self._metrics.store_down.set(1)
            self._log.warning("deduplication store failed", problem=str(error))
            return None
        self._metrics.store_down.set(0)
        return result

    async def _look(self, create: _Create, result: ReserveResult | None) -> tuple[Live, OrchestrationRun | None]:
        """Read the API server; returns the fact, and the run that counts if there is one."""
        key, record = create.key, result.record if result else None
        runs: list[OrchestrationRun] = []
        try:
            with self._metrics.api_seconds.time():
                if record is not None and (named := await self._get(create, record.name)) is not None:
                    runs.append(named)
                if result is None or not result.mark.synced:
                    runs.extend(await self._runs.of_delivery(key, create.deadline))
        except KubernetesError as error:
            self._metrics.api_errors.inc()
            self._log.warning("read of runs failed", problem=str(error))
            return Live.UNKNOWN, None
        found = first_that_counts(
            runs,
            key,
            forgotten=record.forgotten if record else None,
            now=result.now / 1000 if result else self._clock.time(),
            retention=self._settings.retention.total_seconds(),
        )
        return (Live.ABSENT, None) if found is None else (Live.PRESENT, found)

    async def _get(self, create: _Create, name: str) -> OrchestrationRun | None:
        return await self._runs.get(create.key.namespace, name, create.deadline)

    async def _pause(self, create: _Create) -> None:
        await self._clock.sleep(min(self._settings.look_pause.total_seconds(), create.deadline.require()))

    def _allow(self, create: _Create, result: ReserveResult) -> tuple[Verdict, Decision]:
        if not result.acknowledged:
            self._metrics.unacknowledged.inc()
            self._log.warning("too few replicas acknowledged a reservation", request_uid=create.request_uid)
            if self._settings.strict:
                why = "too few replicas of Redis have acknowledged its reservation"
                return Verdict.UNAVAILABLE, self._unavailable(create, why, UNAVAILABLE_RETRY_AFTER_SECONDS)
        return Verdict.ALLOW, answers.admitted(create.key, recorded=True)

    async def _answer(
        self, create: _Create, verdict: Verdict, result: ReserveResult | None, found: OrchestrationRun | None
    ) -> Decision:
        match verdict:
            case Verdict.DUPLICATE:
                run = await self._existing(create, result, found)
                if not run.same_parameters:
                    self._metrics.mismatches.inc()
                return answers.duplicate(self._settings.resource, create.key, run, strict=self._settings.strict)
            case Verdict.WAIT:
                name = result.record.name if result and result.record else ""
                return answers.in_flight(self._settings.resource, create.key, name)
            case Verdict.ADMIT:
                self._unsynced.add(create.key.bucket)
                self._metrics.degraded.inc()
                return answers.admitted(create.key, recorded=False)
        if result is None:
            return self._unavailable(create, "Redis cannot be used", UNAVAILABLE_RETRY_AFTER_SECONDS)
        if result.mark.state(result.now, self._settings.lease_ms) is StoreState.LOST:
            why = "Redis has lost records, and creates that they were for may still be under way"
            return self._unavailable(create, why, RETRY_AFTER_SECONDS)
        return self._unavailable(create, "the API server does not answer", UNAVAILABLE_RETRY_AFTER_SECONDS)

    def _unavailable(self, create: _Create, why: str, retry_after: int) -> Decision:
        return answers.unavailable(self._settings.resource, create.key, why, retry_after=retry_after)

    async def _existing(
        self, create: _Create, result: ReserveResult | None, found: OrchestrationRun | None
    ) -> Existing:
        """Describe the delivery's run, and confirm its record if a read has found it."""
        if found is not None:
            if result is not None:
                await self._confirm(found, result, create.deadline)
            same = fingerprint(found.parameters) == create.record.fingerprint
            return Existing(found.name, found.uid, found.phase, found.run_id, same_parameters=same)
        record = result.record if result else None
        if record is None:
            raise StoreError("A duplicate without a record and without a run.")
        same = record.fingerprint == create.record.fingerprint
        try:
            run = await self._get(create, record.name)
        except KubernetesError:
            # The verdict does not depend on this read: the record has the last phase that was read.
            self._metrics.api_errors.inc()
            return Existing(record.name, record.uid, record.phase, same_parameters=same)
        if run is None or canonical_uid(run.uid) != record.uid:
            return Existing(record.name, record.uid, record.phase, stored=False, same_parameters=same)
        return Existing(run.name, run.uid, run.phase, run.run_id, same_parameters=same)

    async def _confirm(self, found: OrchestrationRun, result: ReserveResult, deadline: Deadline) -> None:
        try:
            await self._confirmer.confirm(found, deadline, by="look", seen=(result.raw, result.record))
        except (StoreError, DataError) as error:
            # The run is stored: the next read will find it again.
            self._log.warning("run not confirmed", run=found.name, problem=str(error))
