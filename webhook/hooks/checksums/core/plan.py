"""Whose turn it is: which of the workloads that have to change may do so now.

There is no memory but the cluster itself. Who carries the current checksum of an object and is still rolling is in
its wave; who failed with it has stopped the wave; who does not carry it yet waits for a place. So a controller that
comes new to it goes on where the last one stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from webhook.admission.patch import PatchOperation, Replace, pointer
from webhook.hooks.checksums.core.decide import Outcome
from webhook.hooks.checksums.core.keys import RESUMED, REVISION
from webhook.hooks.checksums.core.rollout import Rollout
from webhook.hooks.checksums.core.workload import Workload, WorkloadId


@dataclass(frozen=True, slots=True)
class Wave:
    """Those who take one checksum, one after the other.

    Attributes:
        namespace: Where they live.
        key: The annotation key in their pod templates.
        checksum: What they take; None if they lose the key.
    """

    namespace: str
    key: str
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Observed:
    """A workload as the controller sees it.

    Attributes:
        id: Which.
        workload: As it is stored.
        resource_version: Its `metadata.resourceVersion`.
        rollout: How far its rollout is.
        starts_pods: Whether a new pod template would replace pods now: not where it has none, or is paused.
        outcome: The decision about it.
        uid: Its `metadata.uid`.
    """

    id: WorkloadId
    workload: Workload
    resource_version: str
    rollout: Rollout
    starts_pods: bool
    outcome: Outcome
    uid: str = ""

    @property
    def waves(self) -> tuple[Wave, ...]:
        """The waves that the decision makes it join; none if no pod that runs is replaced."""
        if not self.starts_pods:
            return ()
        wanted = self.outcome.resolution.checksums
        return tuple(Wave(self.id.namespace, key, wanted.get(key)) for key in sorted(self.outcome.keys))

    def is_in(self, wave: Wave) -> bool:
        """Whether it has what the wave brings."""
        here = self.id.namespace == wave.namespace
        return here and self.workload.template_annotations.get(wave.key) == wave.checksum

    def occupies(self, wave: Wave) -> bool:
        """Whether it takes up a place in a wave."""
        return self.rollout is Rollout.ROLLING and self.is_in(wave)

    def stops(self, wave: Wave) -> bool:
        """Whether it keeps others from taking what it failed with, and nobody has said to go on."""
        return self.rollout is Rollout.FAILED and self.is_in(wave) and not self.resumed

    @property
    def resumed(self) -> bool:
        """Whether somebody has said to go on although its rollout failed."""
        annotations = self.workload.annotations
        return RESUMED in annotations and annotations[RESUMED] == annotations.get(REVISION)

    @property
    def patch(self) -> tuple[PatchOperation, ...]:
        """What is to be written: nothing if somebody else has written since (409 Conflict)."""
        precondition = Replace(pointer("metadata", "resourceVersion"), self.resource_version)
        return (precondition, *self.outcome.operations) if self.outcome.operations else ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    Attributes:
        write: Whose patches are to be written, in order.
        queued: Who waits for a place in a wave.
        stopped: Waves that stand still with somebody waiting, each with those who failed.
    """

    write: tuple[Observed, ...]
    queued: tuple[WorkloadId, ...] = ()
    stopped: Mapping[Wave, tuple[WorkloadId, ...]] = field(default_factory=dict)


def plan(observed: Iterable[Observed], max_concurrent: int) -> Plan:
    """Say whose patches are to be written now.

    Args:
        observed: All workloads of the namespaces in question that carry or want checksums. What was written has to be
            observed before the next plan is made (the answer to a PATCH shows it), or places would be given twice.
        max_concurrent: How many may roll at a time because of one object; 0 means no limit.
    """
    everyone = sorted(observed, key=lambda one: one.id)
    changing = [one for one in everyone if one.outcome.operations]
    if not max_concurrent:
        return Plan(tuple(changing))
    waves = {wave for one in changing for wave in one.waves}
    rolling = Counter({wave: sum(one.occupies(wave) for one in everyone) for wave in waves})
    failed = {wave: tuple(one.id for one in everyone if one.stops(wave)) for wave in waves}
    write: list[Observed] = []
    queued: list[WorkloadId] = []
    stopped: dict[Wave, tuple[WorkloadId, ...]] = {}
    for one in changing:
        broken = {wave: failed[wave] for wave in one.waves if failed[wave]}
        if broken or any(rolling[wave] >= max_concurrent for wave in one.waves):
            queued.append(one.id)
        else:
            write.append(one)
            rolling.update(one.waves)
        stopped |= broken
    return Plan(tuple(write), tuple(queued), stopped)
