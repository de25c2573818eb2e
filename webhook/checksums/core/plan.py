"""Which of the workloads that have to change may be written now, if only a few may roll at a time.

Nothing is remembered outside of the cluster. A workload with the current checksum of an object that is still rolling is
part of the object's wave; one whose rollout failed with it has stopped the wave; one without it waits for a place. So a
new controller continues where the last one stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from webhook.checksums.core.decide import WorkloadDecision
from webhook.checksums.core.keys import RESUMED, REVISION
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.rollout import Rollout
from webhook.checksums.core.workload import Workload


@dataclass(frozen=True, slots=True)
class Wave:
    """The workloads of a namespace that get one checksum, a few at a time.

    Attributes:
        namespace: Their namespace.
        key: The annotation key in their pod templates.
        checksum: The checksum that they get; None if the key is removed.
    """

    namespace: str
    key: str
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Observed:
    """A stored workload, with the decision about it.

    Attributes:
        id: Its identity.
        workload: The workload as it is stored.
        resource_version: Its `metadata.resourceVersion`.
        rollout: The progress of its rollout.
        replaces_pods: Whether a new pod template would replace pods now.
        decision: The decision about it.
        uid: Its `metadata.uid`.
    """

    id: WorkloadId
    workload: Workload
    resource_version: str
    rollout: Rollout
    replaces_pods: bool
    decision: WorkloadDecision
    uid: str = ""

    @classmethod
    def of(cls, workload_id: WorkloadId, stored: StoredWorkload, decision: WorkloadDecision) -> Observed:
        """Return what a stored workload and the decision about it amount to."""
        kind = workload_id.kind
        return cls(
            id=workload_id,
            workload=Workload.of_stored(kind, stored),
            resource_version=stored.metadata.resource_version,
            rollout=kind.rollout(stored),
            replaces_pods=kind.replaces_pods(stored),
            decision=decision,
            uid=stored.metadata.uid,
        )

    @property
    def waves(self) -> tuple[Wave, ...]:
        """The waves that the decision makes it join; none if no running pod is replaced."""
        if not self.replaces_pods:
            return ()
        checksums = self.decision.resolution.checksums
        return tuple(Wave(self.id.namespace, key, checksums.get(key)) for key in sorted(self.decision.keys))

    def is_in(self, wave: Wave) -> bool:
        """Return whether it has the checksum of the wave."""
        same_namespace = self.id.namespace == wave.namespace
        return same_namespace and self.workload.template_annotations.get(wave.key) == wave.checksum

    def occupies(self, wave: Wave) -> bool:
        """Return whether it takes up a place in a wave."""
        return self.rollout is Rollout.ROLLING and self.is_in(wave)

    def stops(self, wave: Wave) -> bool:
        """Return whether its failed rollout stops a wave, because no user has resumed the wave."""
        return self.rollout is Rollout.FAILED and self.is_in(wave) and not self.resumed

    @property
    def resumed(self) -> bool:
        """Whether a user has resumed the waves that its failed rollout would stop."""
        annotations = self.workload.annotations
        return RESUMED in annotations and annotations[RESUMED] == annotations.get(REVISION)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    Attributes:
        write: The workloads whose patches are to be written, in order.
        queued: The workloads that wait for a place in a wave.
        stopped: Waves that are stopped while workloads wait, each with the workloads whose rollouts failed.
    """

    write: tuple[Observed, ...]
    queued: tuple[WorkloadId, ...] = ()
    stopped: Mapping[Wave, tuple[WorkloadId, ...]] = field(default_factory=dict)


def plan(observed: Iterable[Observed], max_concurrent: int) -> Plan:
    """Return which patches are to be written now.

    Args:
        observed: All workloads of the namespaces in question that have or require checksums. What was written must be
            observed before the next plan is made (the reply to a patch shows it), or places would be given out twice.
        max_concurrent: How many may roll at a time because of one object; 0 means no limit.
    """
    workloads = sorted(observed, key=lambda workload: workload.id)
    changing = [workload for workload in workloads if workload.decision.operations]
    if not max_concurrent:
        return Plan(tuple(changing))
    waves = {wave for workload in changing for wave in workload.waves}
    rolling = Counter({wave: sum(workload.occupies(wave) for workload in workloads) for wave in waves})
    failed = {wave: tuple(workload.id for workload in workloads if workload.stops(wave)) for wave in waves}
    write: list[Observed] = []
    queued: list[WorkloadId] = []
    stopped: dict[Wave, tuple[WorkloadId, ...]] = {}
    for workload in changing:
        broken = {wave: failed[wave] for wave in workload.waves if failed[wave]}
        if broken or any(rolling[wave] >= max_concurrent for wave in workload.waves):
            queued.append(workload.id)
        else:
            write.append(workload)
            rolling.update(workload.waves)
        stopped |= broken
    return Plan(tuple(write), tuple(queued), stopped)
