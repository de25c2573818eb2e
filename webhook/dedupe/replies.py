"""What a client gets to read: the facts about a decided create, in words."""

from __future__ import annotations

from webhook.admission.response import Decision
from webhook.dedupe.core import answers
from webhook.dedupe.core.answers import Existing
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.record import Record, canonical_uid
from webhook.dedupe.core.refusal import refusal
from webhook.dedupe.core.reservation import ReserveResult, lease_left
from webhook.dedupe.core.retry_after import SHORTEST, for_reservation
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.core.submission import Answer, Submission
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.rights import Rights
from webhook.dedupe.runs import Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.errors import DeadlineExceededError, KubernetesError, StoreError
from webhook.runtime.deadline import Deadline


class Replies:
    """Word the answers to creates.

    Args:
        runs: Reads the run of a duplicate.
        rights: Whether runs can be read.
        settings: The settings of deduplication.
        metrics: Counters.
    """

    def __init__(self, runs: Runs, rights: Rights, settings: DedupeSettings, metrics: DedupeMetrics) -> None:
        self._runs = runs
        self._rights = rights
        self._settings = settings
        self._metrics = metrics

    async def allowed(self, state: Submission, deadline: Deadline) -> Decision:
        """Allow a create that has its record."""
        create, warnings = state.create, []
        if state.unproved_name:
            self._metrics.unproved.inc()
            warnings.append(answers.unproved_warning(create.key, state.unproved_name))
        if not await self._rights.may_read(create.key.namespace, create.record.name, deadline):
            warnings.append(answers.rights_warning(self._settings.resource, create.key.namespace))
        return answers.admitted(create.key, recorded=True, warnings=tuple(warnings), unproved=state.unproved_name)

    def admitted(self, key: DeliveryKey) -> Decision:
        """Allow a create without a record."""
        self._metrics.degraded.inc()
        return answers.admitted(key, recorded=False)

    async def duplicate(self, state: Submission, found: OrchestrationRun | None, deadline: Deadline) -> Decision:
        """Refuse a create whose delivery has a run.

        Args:
            state: The create.
            found: The run, if a read has found it.
            deadline: When to give up reading more about the run.
        """
        run = await self._existing(state, found, deadline)
        if not run.same_parameters:
            self._metrics.mismatches.inc()
        return answers.duplicate(self._settings.resource, state.create.key, run, strict=self._settings.strict)

    def in_flight(self, state: Submission) -> Decision:
        """Refuse a create for now, because another one of the delivery may be stored soon."""
        record, now = _reservation(state)
        lease = self._settings.lease_ms
        left = lease_left(record, now + state.read.elapsed, state.read.api_time, lease)
        pause = for_reservation(left / 1000, lease / 1000)
        return answers.in_flight(self._settings.resource, state.create.key, record.name, retry_after=pause)

    def unavailable(self, state: Submission, answer: Answer, *, outage: float, soon: bool) -> Decision:
        """Refuse a create for now.

        Args:
            state: The create.
            answer: The verdict.
            outage: For how many seconds the store has not answered.
            soon: Whether a doubt may be settled within seconds.
        """
        why, pause = refusal(answer.situation, state.result, lease=self._settings.lease_ms, outage=outage)
        return self.refused_for_now(state.create.key, why, SHORTEST if soon else pause)

    def refused_for_now(self, key: DeliveryKey, why: str, pause: int) -> Decision:
        """Refuse a create for now, for a reason that is part of a sentence, and name the seconds to wait."""
        return answers.unavailable(self._settings.resource, key, why, retry_after=pause)

    def misconfigured(self, key: DeliveryKey) -> Decision:
        """Refuse a create until runs of its namespace can be read."""
        return answers.misconfigured(self._settings.resource, key)

    async def _existing(self, state: Submission, found: OrchestrationRun | None, deadline: Deadline) -> Existing:
        ours = state.create.record.fingerprint
        if found is not None:
            same = found.fingerprint == ours
            return Existing(found.name, found.uid, found.phase, found.run_id, same_parameters=same)
        record, _ = _reservation(state)
        same = record.fingerprint == ours
        try:
            run = await self._runs.get(state.create.key.namespace, record.name, deadline)
        except (KubernetesError, DeadlineExceededError):
            # The verdict does not depend on this read: the record has the last phase that was read.
            self._metrics.api_errors.inc()
            return Existing(record.name, record.uid, record.phase, same_parameters=same)
        if run is None or canonical_uid(run.uid) != record.uid:
            return Existing(record.name, record.uid, record.phase, stored=False, same_parameters=same)
        return Existing(run.name, run.uid, run.phase, run.run_id, same_parameters=same)


def _reservation(state: Submission) -> tuple[Record, int]:
    result: ReserveResult | None = state.result
    if result is None or result.record is None:
        raise StoreError("The store's record was expected.")
    return result.record, result.now
