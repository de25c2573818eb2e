"""Telling people: Events on the workload, log lines and metrics. Each thing once, until it is otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from webhook.controller.events import EventType, Subject
from webhook.hooks.checksums.core import messages
from webhook.hooks.checksums.core.decide import Hold
from webhook.hooks.checksums.core.optin import Problem
from webhook.hooks.checksums.core.plan import Observed, Plan, Wave
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.hooks.checksums.metrics import RollMetrics
from webhook.log import Logger

#: How long the Event about a patch waits, so that a hundred of them do not compete with a hundred patches.
EVENT_SECONDS: Final = 1.0
CHANGED: Final = "ConfigChanged"


class Recorder(Protocol):
    """Whoever writes Events: `webhook.controller.events.EventRecorder`."""

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        """Have an Event written."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """Something that is so, until it is otherwise.

    Attributes:
        what: As the metric calls it.
        reason: As the Event calls it.
        kind: Whether somebody should have a look.
        message: For people.
    """

    what: str
    reason: str
    kind: EventType
    message: str


class Teller:
    """Tells people.

    Args:
        recorder: Writes Events.
        log: Gets a line for each write and each finding.
        metrics: Counts.
    """

    def __init__(self, recorder: Recorder, log: Logger, metrics: RollMetrics) -> None:
        self._recorder = recorder
        self._log = log
        self._metrics = metrics
        self._told: dict[WorkloadId, frozenset[_Finding]] = {}
        self._stopped: dict[str, frozenset[tuple[Wave, WorkloadId]]] = {}

    def looked(self, looked: Observed, problems: Iterable[Problem]) -> None:
        """Tell of what a look has found, unless it was found before."""
        findings = frozenset(_findings(looked, problems))
        for finding in sorted(findings - self._told.get(looked.id, frozenset()), key=lambda one: one.message):
            self._metrics.noticed.labels(finding.what).inc()
            self._log.info("Something about a workload was noticed.", workload=str(looked.id), what=finding.what)
            self._recorder.record(_subject(looked), finding.kind, finding.reason, finding.message)
        if findings:
            self._told[looked.id] = findings
        else:
            self._told.pop(looked.id, None)

    def wrote(self, written: Observed) -> None:
        """Tell of a write."""
        outcome = written.outcome
        self._log.info(
            "A workload was patched.",
            workload=str(written.id),
            changed=[str(source) for source in outcome.changed],
            removed=list(outcome.removed),
            hold=outcome.hold.value,
        )
        if outcome.keys or outcome.hold is Hold.RELEASED:
            message = messages.rolled(outcome.changed, outcome.removed, released=outcome.hold is Hold.RELEASED)
            # The others of a fan-out go first.
            loop = asyncio.get_running_loop()
            loop.call_later(EVENT_SECONDS, self._recorder.record, _subject(written), EventType.NORMAL, CHANGED, message)

    def stopped(self, namespace: str, planned: Plan, everyone: Mapping[WorkloadId, Observed]) -> None:
        """Tell of waves that stand still, on those whose rollouts failed.

        Args:
            namespace: Where.
            planned: The plan.
            everyone: Those that it was made for.
        """
        now = frozenset((wave, one) for wave, failed in planned.stopped.items() for one in failed)
        for wave, one in sorted(now - self._stopped.get(namespace, frozenset()), key=lambda pair: pair[1]):
            self._metrics.noticed.labels("stopped").inc()
            self._log.warning("A failed rollout stops others.", workload=str(one), because_of=wave.key)
            message = messages.stopped(wave.key, len(planned.queued), one.kind, one.name, namespace)
            self._recorder.record(_subject(everyone[one]), EventType.WARNING, "RolloutStopped", message)
        if now:
            self._stopped[namespace] = now
        else:
            self._stopped.pop(namespace, None)

    def forget(self, one: WorkloadId) -> None:
        """Forget what was told of a workload."""
        self._told.pop(one, None)


def _findings(looked: Observed, problems: Iterable[Problem]) -> Iterator[_Finding]:
    outcome = looked.outcome
    resolution, warning = outcome.resolution, EventType.WARNING
    for problem in problems:
        yield _Finding("malformed", "OptInMalformed", warning, f"{problem}; it is ignored.")
    for source, why in resolution.unreadable:
        message = messages.unreadable(source, why, kept=source.key in resolution.checksums)
        yield _Finding("unreadable", "SourceUnreadable", warning, message)
    if outcome.hold is Hold.KEPT:
        yield _Finding("held", "RolloutHeld", EventType.NORMAL, messages.held(resolution.waiting))
        return
    for source in resolution.missing:
        yield _Finding("missing", "SourceMissing", warning, messages.missing(source))
    for source in resolution.disappeared:
        yield _Finding("disappeared", "SourceMissing", warning, messages.disappeared(source))


def _subject(observed: Observed) -> Subject:
    one = observed.id
    return Subject("apps/v1", one.kind, one.namespace, one.name, observed.uid, observed.resource_version)
