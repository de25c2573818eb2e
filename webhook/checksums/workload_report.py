"""What `rollonce checksums` reports about a workload."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

from webhook.admission.patch import PatchOperation
from webhook.checksums.core import messages
from webhook.checksums.core.decide import Hold, WorkloadDecision
from webhook.checksums.core.inputs import DecisionInput
from webhook.checksums.core.keys import is_checksum_key
from webhook.checksums.core.plan import Observed
from webhook.checksums.core.rollout import Rollout


class State(Enum):
    """The state of a checksum, or of a workload; later ones are worse."""

    CURRENT = "current"
    STALE = "stale"
    HELD = "held"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """A Secret or ConfigMap that a workload depends on.

    Attributes:
        source: Such as `secret/db`.
        key: The annotation key of its checksum.
        state: Whether the pod template has the checksum of its current contents.
        provided: Whether the checksum is provided, so that nothing is read.
        optional: Whether the pods can start without it.
        why: Why it cannot be read, if it cannot.
    """

    source: str
    key: str
    state: State
    provided: bool
    optional: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadReport:
    """A workload that is opted in, or was.

    Attributes:
        namespace: Its namespace.
        workload: Such as `deployment/web`.
        state: The worst state of its checksums; `HELD` if it is kept paused.
        rollout: The progress of its rollout.
        resumed: Whether other workloads were resumed past its failed rollout.
        sources: What it depends on.
        removed: Keys that are to be removed from its pod template.
        unmanaged: Keys in its pod template that look like those of rollonce, and that it neither wants nor manages.
        notes: Sentences for users.
    """

    namespace: str
    workload: str
    state: State
    rollout: Rollout
    resumed: bool
    sources: tuple[SourceReport, ...]
    removed: tuple[str, ...]
    unmanaged: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether its checksums are current, and its rollout has not failed."""
        return self.state is State.CURRENT and self.rollout is not Rollout.FAILED

    @classmethod
    def of(cls, observed: Observed, inputs: DecisionInput) -> Self:
        """Return the report on a workload that was decided about."""
        decision, unmanaged = observed.decision, unmanaged_keys(inputs)
        sources = _sources(inputs, decision)
        states = [source.state for source in sources if not (source.optional and source.state is State.MISSING)]
        worst = next((state for state in reversed(State) if state in states), State.CURRENT)
        worst = State.STALE if worst is State.CURRENT and decision.removed else worst
        return cls(
            namespace=observed.id.namespace,
            workload=observed.id.short,
            state=State.HELD if decision.hold is Hold.KEPT else worst,
            rollout=observed.rollout,
            resumed=observed.resumed,
            sources=sources,
            removed=decision.removed,
            unmanaged=unmanaged,
            notes=(*decision.warnings, *(messages.unmanaged(key, observed.id) for key in unmanaged)),
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """A report, and what would be written now.

    Attributes:
        report: The report.
        patch: The JSON Patch that rollonce would write; empty if nothing would change.
    """

    report: WorkloadReport
    patch: tuple[PatchOperation, ...]


def unmanaged_keys(inputs: DecisionInput) -> tuple[str, ...]:
    """Return the keys that look like those of rollonce, and that the workload neither wants nor manages."""
    wanted = {requirement.source.key for requirement in inputs.requirements.items}
    others = inputs.workload.template_annotations.keys() - inputs.workload.managed - wanted
    return tuple(sorted(filter(is_checksum_key, others)))


def _sources(inputs: DecisionInput, decision: WorkloadDecision) -> tuple[SourceReport, ...]:
    resolution = decision.resolution
    unreadable, gone = dict(resolution.unreadable), (*resolution.missing, *resolution.disappeared)
    found: list[SourceReport] = []
    for requirement in inputs.requirements.items:
        source, provided = requirement.source, requirement.provided is not None
        report = SourceReport(str(source), source.key, State.CURRENT, provided, requirement.optional)
        if source in unreadable:
            report = replace(report, state=State.UNREADABLE, why=unreadable[source])
        elif source in gone or source.key not in resolution.checksums:
            report = replace(report, state=State.MISSING)
        elif source in decision.changed:
            report = replace(report, state=State.STALE)
        found.append(report)
    return tuple(found)
