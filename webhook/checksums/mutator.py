"""The handler of the webhooks for workloads: read the sources, decide, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from webhook.admission.response import Decision, allowed, denied, patched
from webhook.admission.review import AdmissionRequest, Operation
from webhook.checksums.core.decide import Hold, WorkloadDecision, decide
from webhook.checksums.core.inputs import DecisionInput, Trigger
from webhook.checksums.core.kinds import KINDS, WorkloadKind, kind_of
from webhook.checksums.core.objects import WorkloadObject
from webhook.checksums.core.optin import required
from webhook.checksums.core.workload import Workload
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.settings import ChecksumSettings
from webhook.checksums.sources import SourceReader
from webhook.errors import MalformedReviewError
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

#: The share of the remaining time that reads may take; the rest is for deciding and answering.
READING_SHARE: Final = 0.9

_TRIGGERS: Final = {Operation.CREATE: Trigger.CREATE, Operation.UPDATE: Trigger.UPDATE}


class WorkloadMutator:
    """Update the checksums of workloads that are being written.

    Args:
        settings: Returns the present settings; called for each request.
        reader: Reads the sources.
        kinds: The kinds that are served.
        log: Receives a line for each write with a change or a finding.
        metrics: Counters of decisions and findings.
    """

    def __init__(
        self,
        settings: Callable[[], ChecksumSettings],
        reader: SourceReader,
        *,
        kinds: Sequence[WorkloadKind],
        log: Logger,
        metrics: ChecksumMetrics,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._kinds = kinds
        self._log = log
        self._metrics = metrics

    async def mutate(self, request: AdmissionRequest[WorkloadObject], deadline: Deadline) -> Decision:
        """Decide about one write.

        Raises:
            MalformedReviewError: The review lacks an object that its operation must have.
        """
        if request.operation not in _TRIGGERS:
            return allowed()
        inputs = self._inputs(request)
        readings = await self._reader.read(request.namespace, inputs.to_read, deadline.fraction(READING_SHARE))
        decision = decide(inputs, readings)
        self._record(request, inputs, decision)
        if decision.refusal is not None:
            return denied(decision.refusal)
        return patched(decision.operations, warnings=decision.warnings)

    def _inputs(self, request: AdmissionRequest[WorkloadObject]) -> DecisionInput:
        trigger = _TRIGGERS[request.operation]
        if request.object is None or (request.old_object is None and trigger is Trigger.UPDATE):
            raise MalformedReviewError(f"A review of an {request.operation.value} has to bring its objects along.")
        kind = kind_of(request.kind.group, request.kind.kind, self._kinds)
        if kind is None:
            raise MalformedReviewError("The review is about a kind that this webhook does not serve.")
        settings = self._settings()
        workload = Workload.of(kind, request.object)
        old = Workload.of(kind, request.old_object) if request.old_object else None
        requirements = required(workload, settings.policy, request.namespace)
        writer = request.options.field_manager if request.options else ""
        return DecisionInput.of(trigger, workload, old, requirements, settings.rules, writer=writer)

    def _record(
        self, request: AdmissionRequest[WorkloadObject], inputs: DecisionInput, decision: WorkloadDecision
    ) -> None:
        resolution = decision.resolution
        by_finding = {
            "missing": resolution.missing,
            "disappeared": resolution.disappeared,
            "unreadable": tuple(source for source, _ in resolution.unreadable),
        }
        findings = {finding: [str(source) for source in sources] for finding, sources in by_finding.items() if sources}
        for finding, names in findings.items():
            self._metrics.findings.labels(finding).inc(len(names))
        if problems := inputs.requirements.problems:
            self._metrics.findings.labels("malformed").inc(len(problems))
        outcome = _outcome(decision)
        self._metrics.decisions.labels(request.kind.kind, outcome).inc()
        if outcome != "unchanged" or findings:
            self._log.info(
                "checksums decided",
                request_uid=request.uid,
                kind=request.kind.kind,
                namespace=request.namespace,
                workload=request.name,
                operation=request.operation.value,
                dry_run=request.is_dry_run,
                outcome=outcome,
                changed=[str(source) for source in decision.changed],
                **findings,
            )


def new_mutator(
    settings: Callable[[], ChecksumSettings],
    api: KubernetesApi,
    *,
    clock: Clock,
    log: Logger,
    metrics: ChecksumMetrics,
    kinds: Sequence[WorkloadKind] = KINDS,
) -> WorkloadMutator:
    """Return a mutator that reads sources from an API server.

    Args:
        settings: Returns the present settings.
        api: The API server. Needs get of the Secrets and ConfigMaps.
        clock: Monotonic time.
        log: Receives decisions.
        metrics: Counters.
        kinds: The kinds that are served.
    """
    reader = SourceReader(settings, api, clock=clock, metrics=metrics)
    return WorkloadMutator(settings, reader, kinds=kinds, log=log, metrics=metrics)


def _outcome(decision: WorkloadDecision) -> str:
    """Return the value of the `outcome` label."""
    if decision.refusal:
        return "refused"
    if decision.hold in {Hold.PLACED, Hold.KEPT}:
        return "held"
    if decision.hold is Hold.RELEASED:
        return "released"
    if decision.hold is Hold.YIELDED:
        return "yielded"
    return "patched" if decision.operations else "unchanged"
