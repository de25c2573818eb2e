"""The webhook for workloads: gather what the sources hold, decide, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.admission.response import Decision, allowed, denied, patched
from webhook.admission.review import AdmissionRequest, Operation
from webhook.errors import MalformedReviewError
from webhook.hooks.checksums.core.case import Case
from webhook.hooks.checksums.core.decide import Hold, Outcome, decide
from webhook.hooks.checksums.core.facts import Occasion
from webhook.hooks.checksums.core.optin import required
from webhook.hooks.checksums.core.workload import Workload, WorkloadObject
from webhook.hooks.checksums.metrics import ChecksumMetrics
from webhook.hooks.checksums.settings import ChecksumSettings
from webhook.hooks.checksums.sources import SourceReader

#: The share of the time left that reads may take; the rest is for deciding and answering with what there is.
READING_SHARE: Final = 0.9

_OCCASIONS: Final = {Operation.CREATE: Occasion.CREATE, Operation.UPDATE: Occasion.UPDATE}


class WorkloadMutator:
    """Brings the checksums of a workload that is being written up to date.

    Args:
        settings: Asked for at each request, since they can change.
        reader: Reads the sources.
        log: Gets a line for each write that was more than nothing to do.
        metrics: Counts decisions and findings.
    """

    def __init__(
        self,
        settings: Callable[[], ChecksumSettings],
        reader: SourceReader,
        *,
        log: FilteringBoundLogger,
        metrics: ChecksumMetrics,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._log = log
        self._metrics = metrics

    async def __call__(self, request: AdmissionRequest[WorkloadObject], deadline: Deadline) -> Decision:
        """Decide about one write.

        Raises:
            MalformedReviewError: The review lacks an object that its operation must have.
        """
        if request.operation not in _OCCASIONS:
            return allowed()
        case = self._case(request)
        readings = await self._reader.read(request.namespace, case.to_read, deadline.fraction(READING_SHARE))
        outcome = decide(case, readings)
        self._tell(request, case, outcome)
        if outcome.refusal is not None:
            return denied(outcome.refusal)
        return patched(outcome.operations, warnings=outcome.warnings)

    def _case(self, request: AdmissionRequest[WorkloadObject]) -> Case:
        occasion = _OCCASIONS[request.operation]
        if request.object is None or (request.old_object is None and occasion is Occasion.UPDATE):
            raise MalformedReviewError(f"A review of an {request.operation.value} has to bring its objects along.")
        settings = self._settings()
        workload = Workload.of(request.kind.kind, request.object)
        old = Workload.of(request.kind.kind, request.old_object) if request.old_object else None
        requirements = required(workload, settings.operator, request.namespace)
        return Case.of(occasion, workload, old, requirements, settings.rules)

    def _tell(self, request: AdmissionRequest[WorkloadObject], case: Case, outcome: Outcome) -> None:
        resolution = outcome.resolution
        findings = {
            "missing": resolution.missing,
            "disappeared": resolution.disappeared,
            "unreadable": tuple(source for source, _ in resolution.unreadable),
        }
        noticed = {finding: [str(source) for source in sources] for finding, sources in findings.items() if sources}
        for finding, names in noticed.items():
            self._metrics.findings.labels(finding).inc(len(names))
        if problems := case.requirements.problems:
            self._metrics.findings.labels("malformed").inc(len(problems))
        word = _word(outcome)
        self._metrics.decisions.labels(request.kind.kind, word).inc()
        if word != "unchanged" or noticed:
            self._log.info(
                "A workload's checksums were decided.",
                kind=request.kind.kind,
                namespace=request.namespace,
                workload=request.name,
                operation=request.operation.value,
                dry_run=request.is_dry_run,
                outcome=word,
                changed=[str(source) for source in outcome.changed],
                **noticed,
            )


def _word(outcome: Outcome) -> str:
    if outcome.refusal:
        return "refused"
    if outcome.hold in {Hold.PLACED, Hold.KEPT}:
        return "held"
    if outcome.hold is Hold.RELEASED:
        return "released"
    return "patched" if outcome.operations else "unchanged"
