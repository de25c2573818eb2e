"""Report to users: Events on the workload, log lines and metrics; each finding once, until it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from webhook.checksums.core import messages
from webhook.checksums.core.decide import Hold
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.optin import Problem
from webhook.checksums.core.plan import Observed, Plan, Wave
from webhook.checksums.metrics import RolloutMetrics
from webhook.kube.events import EventType, Subject
from webhook.runtime.log import Logger

#: Delay of the Event about a patch, so that a hundred Events do not compete with a hundred patches.
EVENT_SECONDS: Final = 1.0
CHANGED: Final = "ConfigChanged"


class Recorder(Protocol):
    """Writes Events, as `webhook.kube.events.EventRecorder` does."""

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        """Have an Event written."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """A state of a workload that users should know of.

    Attributes:
        what: Its name in the metric.
        reason: The reason of the Event.
        event_type: Whether it needs attention.
        message: The message of the Event.
    """

    what: str
    reason: str
    event_type: EventType
    message: str


class StatusReporter:
    """Report findings and writes.

    Args:
        recorder: Writes Events.
        log: Receives a line for each write and each new finding.
        metrics: Counters.
    """

    def __init__(self, recorder: Recorder, log: Logger, metrics: RolloutMetrics) -> None:
        self._recorder = recorder
        self._log = log
        self._metrics = metrics
        self._reported: dict[WorkloadId, frozenset[_Finding]] = {}
        self._stalled: dict[WorkloadId, str] = {}
        self._stopped: dict[str, frozenset[tuple[Wave, WorkloadId]]] = {}

    def observed(self, observed: Observed, problems: Iterable[Problem]) -> None:
        """Report the findings of a decision that were not found by the one before.

        Args:
            observed: The workload and the decision.
            problems: Words of its opt-in that are not understood.
        """
        findings = frozenset(_findings(observed, problems))
        new = findings - self._reported.get(observed.id, frozenset())
        for finding in sorted(new, key=lambda finding: finding.message):
            self._metrics.findings.labels(finding.what).inc()
            self._log.info("workload finding", workload=str(observed.id), what=finding.what)
            self._recorder.record(_subject(observed), finding.event_type, finding.reason, finding.message)
        if findings:
            self._reported[observed.id] = findings
        else:
            self._reported.pop(observed.id, None)

    def wrote(self, written: Observed) -> None:
        """Report a write."""
        decision = written.decision
        self._log.info(
            "workload patched",
            workload=str(written.id),
            changed=[str(source) for source in decision.changed],
            removed=list(decision.removed),
            hold=decision.hold.value,
        )
        if decision.keys or decision.hold in {Hold.RELEASED, Hold.YIELDED}:
            released = decision.hold is Hold.RELEASED
            message = messages.rolled(
                decision.changed, decision.removed, released=released, paused=written.workload.paused
            )
            if decision.hold is Hold.YIELDED:
                message = f"{messages.YIELDED} {message}" if decision.keys else messages.YIELDED
            loop = asyncio.get_running_loop()
            loop.call_later(EVENT_SECONDS, self._recorder.record, _subject(written), EventType.NORMAL, CHANGED, message)

    def stopped(self, namespace: str, planned: Plan, workloads: Mapping[WorkloadId, Observed]) -> None:
        """Report waves that are stopped, on the workloads whose rollouts failed.

        Args:
            namespace: The namespace of the plan.
            planned: The plan.
            workloads: The workloads that it was made for.
        """
        now = frozenset((wave, failed) for wave, failures in planned.stopped.items() for failed in failures)
        for wave, failed in sorted(now - self._stopped.get(namespace, frozenset()), key=lambda pair: pair[1]):
            self._metrics.findings.labels("stopped").inc()
            self._log.warning("failed rollout stops others", workload=str(failed), key=wave.key)
            message = messages.stopped(wave.key, len(planned.queued), failed)
            self._recorder.record(_subject(workloads[failed]), EventType.WARNING, "RolloutStopped", message)
        if now:
            self._stopped[namespace] = now
        else:
            self._stopped.pop(namespace, None)

    def stalled(self, observed: Observed) -> None:
        """Report a rollout that has made no progress for too long, once."""
        if self._stalled.get(observed.id) == observed.rollout_id:
            return
        self._stalled[observed.id] = observed.rollout_id
        self._metrics.findings.labels("stalled").inc()
        self._log.warning("rollout makes no progress", workload=str(observed.id))
        self._recorder.record(_subject(observed), EventType.WARNING, "RolloutStalled", messages.STALLED)

    def reverted(self, observed: Observed) -> None:
        """Report a write that was undone before it was stored."""
        keys = sorted(observed.decision.keys)
        self._metrics.findings.labels("reverted").inc()
        self._log.warning("patch was undone by an admission webhook", workload=str(observed.id), keys=keys)
        self._recorder.record(_subject(observed), EventType.WARNING, "RolloutReverted", messages.reverted(keys))

    def forget(self, workload_id: WorkloadId) -> None:
        """Drop the findings of a workload, so that they are reported again if they come back."""
        self._reported.pop(workload_id, None)
        self._stalled.pop(workload_id, None)


def _findings(observed: Observed, problems: Iterable[Problem]) -> Iterator[_Finding]:
    resolution, warning = observed.decision.resolution, EventType.WARNING
    for problem in problems:
        yield _Finding("malformed", "OptInMalformed", warning, f"{problem}; it is ignored.")
    for source, why in resolution.unreadable:
        message = messages.unreadable(source, why, kept=source.key in resolution.checksums)
        yield _Finding("unreadable", "SourceUnreadable", warning, message)
    if observed.decision.hold is Hold.KEPT:
        yield _Finding("held", "RolloutHeld", EventType.NORMAL, messages.held(resolution.waiting))
        return
    for source in resolution.missing:
        yield _Finding("missing", "SourceMissing", warning, messages.missing(source))
    for source in resolution.disappeared:
        yield _Finding("disappeared", "SourceMissing", warning, messages.disappeared(source))


def _subject(observed: Observed) -> Subject:
    workload_id, kind = observed.id, observed.id.kind
    return Subject(
        kind.api_version,
        kind.name,
        workload_id.namespace,
        workload_id.name,
        observed.uid,
        observed.resource_version,
    )
