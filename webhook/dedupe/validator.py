"""The decision on one create: carry out the steps of its `Submission`, and put the result into words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from webhook.admission.response import Decision
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.decide import Live, Policy, StoreState, Verdict
from webhook.dedupe.core.evidence import first_that_counts
from webhook.dedupe.core.identity import DeliveryKey, is_generated
from webhook.dedupe.core.record import Record, State, canonical_uid, request_token
from webhook.dedupe.core.reservation import Read, ReserveOutcome, ReserveResult
from webhook.dedupe.core.retry_after import for_notice, for_outage
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.core.submission import Answer, Create, Look, Pause, Reserve, Submission
from webhook.dedupe.local_state import LocalState
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.replies import Replies
from webhook.dedupe.runs import ForbiddenError, Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.errors import DataError, DeadlineExceededError, KubernetesError, StoreError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

#: The share of the time left that one call to the store may take, so that there is time to decide without it.
_STORE_SHARE: Final = 0.4
#: The most time for it: an answer that took longer would say nothing about the clocks.
_STORE_SECONDS: Final = 4.0
#: The share of the time for which to wait for another create, or for the store.
_PATIENCE_SHARE: Final = 0.5


@dataclass(slots=True)
class _Review:
    """A create under review.

    Attributes:
        create: The create.
        request_uid: The uid of the admission request.
        deadline: When the answer must be sent.
        patience: Until when to wait for another create of the delivery, or for the store.
        found: The run that the last read of the API server has found.
        asked_at: When the store was asked last, in monotonic time.
    """

    create: Create
    request_uid: str
    deadline: Deadline
    patience: Deadline
    found: OrchestrationRun | None = None
    asked_at: float = 0.0

    @property
    def key(self) -> DeliveryKey:
        """The delivery."""
        return self.create.key


class RunValidator:
    """Decide about creates of runs.

    Args:
        store: The records of deliveries.
        runs: Reads runs from the API server.
        confirmer: Confirms records.
        local: What this replica knows beyond the store's answers.
        replies: Words the answers.
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
        local: LocalState,
        replies: Replies,
        *,
        settings: DedupeSettings,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._store = store
        self._runs = runs
        self._confirmer = confirmer
        self._local = local
        self._replies = replies
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
        review = _Review(self._create(key, run, request_uid), request_uid, deadline, deadline.fraction(_PATIENCE_SHARE))
        state = Submission(review.create)
        while True:
            deadline.require()
            patient = review.patience.remaining() > 0
            step = state.next_step(patient=patient)
            if step.row is not None:
                self._log.debug("table row applied", request_uid=request_uid, row=step.row + 1)
            match step:
                case Reserve():
                    result = await self._reserve(review, step)
                    state = state.after_reserve(result, self._local.recall(key.address, run.name))
                case Look():
                    state = state.after_look(await self._look(review, state, step))
                case Pause():
                    await self._pause(review)
                    state = state.after_pause()
                case Answer() if patient and self._may_change(step, state):
                    await self._pause(review)
                    state = state.after_pause()
                case Answer():
                    return await self._answer(review, state, step)

    def _create(self, key: DeliveryKey, run: OrchestrationRun, request_uid: str) -> Create:
        record = Record(
            state=State.RESERVED,
            name=run.name,
            uid=canonical_uid(run.uid),
            request=request_token(request_uid),
            fingerprint=run.fingerprint,
            created_at=run.created_at,
        )
        policy = self._settings.on_redis_down.policy(generated=is_generated(run.name, key.ref, key.delivery_id))
        return Create(key, record, policy, self._settings.rules)

    async def _reserve(self, review: _Review, step: Reserve) -> ReserveResult | None:
        """Try to write the reservation; returns None if the store is down, and not only for a moment."""
        while True:
            try:
                with self._metrics.store_seconds.time():
                    result = await self._ask_store(review, step)
            except StoreError as error:
                self._metrics.store_errors.inc()
                self._log.warning("deduplication store failed", problem=str(error))
                if not self._local.may_wait(review.patience):
                    return None
                if review.create.policy is not Policy.STOP:
                    self._local.expect_outage()
                await self._pause(review)
            else:
                if result.outcome is ReserveOutcome.MADE:
                    self._local.remember(review.key.address)
                return result

    async def _ask_store(self, review: _Review, step: Reserve) -> ReserveResult:
        deadline = review.deadline.fraction(_STORE_SHARE).within(_STORE_SECONDS)
        review.asked_at = self._clock.monotonic()
        with self._local.asking_store():
            await self._local.unsynced.mark(review.key.bucket, deadline)
            return await self._store.reserve(
                review.key,
                step.record,
                ttl=self._settings.reservation_ttl_ms,
                deadline=deadline,
                instead_of=step.instead_of,
                doubted=not self._local.trusted,
                api_time=self._local.api_time_ms,
            )

    async def _look(self, review: _Review, state: Submission, step: Look) -> Read:
        """Read the API server, and keep the run that counts if there is one."""
        key, result = review.key, state.result
        record = result.record if result else None
        # What a read shows can be as old as its begin.
        api_time = self._local.api_time_ms
        runs: list[OrchestrationRun] = []
        live = Live.ABSENT
        try:
            with self._metrics.api_seconds.time():
                if step.name:
                    named = await self._runs.get(key.namespace, step.name, review.deadline)
                    runs.extend([named] if named is not None and named.key(key.namespace) == key else [])
                if step.by_label:
                    runs.extend(await self._runs.of_delivery(key, review.deadline))
        except KubernetesError as error:
            self._metrics.api_errors.inc()
            self._log.warning("read of runs failed", problem=str(error))
            live = Live.FORBIDDEN if isinstance(error, ForbiddenError) else Live.UNKNOWN
        else:
            review.found = first_that_counts(
                runs,
                forgotten=record.forgotten if record else None,
                now=result.now / 1000 if result else self._clock.time(),
                retention=self._settings.retention.total_seconds(),
            )
            live = Live.ABSENT if review.found is None else Live.PRESENT
        return Read(live, api_time, int((self._clock.monotonic() - review.asked_at) * 1000))

    def _may_change(self, answer: Answer, state: Submission) -> bool:
        """Return whether a refusal for now can be spared by waiting a moment."""
        if answer.verdict is not Verdict.UNAVAILABLE or answer.situation.store is not StoreState.LOST:
            return False
        return state.result is not None and self._local.doubt_may_end(state.result)

    async def _pause(self, review: _Review) -> None:
        await self._clock.sleep(min(self._settings.look_pause.total_seconds(), review.deadline.require()))

    async def _answer(self, review: _Review, state: Submission, answer: Answer) -> tuple[Verdict, Decision]:
        verdict, key = answer.verdict, review.key
        if state.result and not state.result.acknowledged:
            self._metrics.unacknowledged.inc()
            self._log.warning("too few replicas acknowledged a reservation", request_uid=review.request_uid)
        match verdict:
            case Verdict.ALLOW:
                return verdict, await self._replies.allowed(state, review.deadline)
            case Verdict.DUPLICATE:
                await self._confirm(review, state)
                return verdict, await self._replies.duplicate(state, review.found, review.deadline)
            case Verdict.WAIT:
                return verdict, self._replies.in_flight(state)
            case Verdict.ADMIT:
                return await self._admit(review)
            case Verdict.MISCONFIGURED:
                return verdict, self._replies.misconfigured(key)
        soon = self._may_change(answer, state)
        outage = self._local.outage_seconds
        return Verdict.UNAVAILABLE, self._replies.unavailable(state, answer, outage=outage, soon=soon)

    async def _admit(self, review: _Review) -> tuple[Verdict, Decision]:
        """Allow a create without a record, if all other servers can know that this happens."""
        key, name = review.key, review.create.record.name
        # Noted before anything is awaited: if the store comes back meanwhile, the bucket is put in doubt.
        with self._local.unsynced.adding(key.bucket) as keep:
            try:
                wait = await self._local.admission(review.deadline)
            except StoreError as error:
                why, pause = f"Redis cannot be used. {error}", for_outage(self._local.outage_seconds)
            except (KubernetesError, DataError) as error:
                self._log.warning("create not admitted without redis", problem=str(error))
                why = "Redis cannot be used, and the other replicas cannot be told"
                pause = for_outage(self._local.outage_seconds)
            else:
                if not wait and self._local.admit(key.address, name):
                    keep()
                    return Verdict.ADMIT, self._replies.admitted(key)
                why, pause = "Redis cannot be used, and other replicas do not know it yet", for_notice(wait)
        return Verdict.UNAVAILABLE, self._replies.refused_for_now(key, why.rstrip("."), pause)

    async def _confirm(self, review: _Review, state: Submission) -> None:
        """Confirm the record of the run that a read has found."""
        result, found = state.result, review.found
        if found is None or result is None:
            return
        try:
            await self._confirmer.confirm(found, review.deadline, by="look", seen=(result.raw, result.record))
        except (StoreError, DataError, DeadlineExceededError) as error:
            # The run is stored: the next read will find it again.
            self._log.warning("run not confirmed", run=found.name, problem=str(error))
