"""Which of the workloads that have to change may be written now, if only a few may roll at a time.

What matters is in the cluster. A workload that depends on an object and rolls, for any reason, takes up one of the
object's places. One whose rollout failed with new contents stops these contents. One that has to change waits for a
place. So a new controller continues where the last one stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self

from webhook.checksums.core.decide import WorkloadDecision
from webhook.checksums.core.inputs import Standing
from webhook.checksums.core.keys import RESUMED, ROLLED
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.marks import RolloutMark, contents_digest, rollout_id, rollout_number
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.rollout import Rollout
from webhook.checksums.core.workload import Workload

_NO_KEYS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Places:
    """The workloads of a namespace that depend on one object; only a few of them may roll at a time.

    Attributes:
        namespace: Their namespace.
        key: The annotation key of the object.
    """

    namespace: str
    key: str


@dataclass(frozen=True, slots=True)
class Wave:
    """The workloads of a namespace that get one checksum.

    Attributes:
        places: Of the object that the checksum is of.
        checksum: The checksum that they get; None if the key is removed.
    """

    places: Places
    checksum: str | None

    @property
    def key(self) -> str:
        """The annotation key in their pod templates."""
        return self.places.key


class _Rank(IntEnum):
    """The order in which places are given out.

    A workload that rolls takes up its place already. One that failed because of its contents shows first whether the
    new contents are a repair. One that was broken before the contents can keep a place for long.
    """

    ROLLING = 0
    TO_BLAME = 1
    HEALTHY = 2
    BROKEN = 3


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
        rollout_id: Identifies its rollout among those that it has had.
        rollout_number: The number of its rollout, which the next one makes greater by one.
        left: Keys that the controller removed from its pod template, and whose removal rolls out now.
    """

    id: WorkloadId
    workload: Workload
    resource_version: str
    rollout: Rollout
    replaces_pods: bool
    decision: WorkloadDecision
    uid: str = ""
    rollout_id: str = ""
    rollout_number: int = 0
    left: frozenset[str] = _NO_KEYS

    @classmethod
    def of(
        cls,
        workload_id: WorkloadId,
        stored: StoredWorkload,
        rollout: Rollout,
        decision: WorkloadDecision,
        *,
        left: frozenset[str] = _NO_KEYS,
    ) -> Self:
        """Return what a stored workload, the progress of its rollout, and the decision about it amount to."""
        kind = workload_id.kind
        return cls(
            id=workload_id,
            workload=Workload.of_stored(kind, stored),
            resource_version=stored.metadata.resource_version,
            rollout=rollout,
            replaces_pods=kind.replaces_pods(stored),
            decision=decision,
            uid=stored.metadata.uid,
            rollout_id=rollout_id(stored),
            rollout_number=rollout_number(stored),
            left=left,
        )

    @property
    def waves(self) -> tuple[Wave, ...]:
        """The waves that the decision makes it join; none if no running pod is replaced."""
        if not self.replaces_pods:
            return ()
        checksums = self.decision.resolution.checksums
        return tuple(Wave(Places(self.id.namespace, key), checksums.get(key)) for key in sorted(self.decision.keys))

    @property
    def occupied(self) -> frozenset[Places]:
        """The places that it takes up: while it rolls, one of each object that it depends on."""
        if self.rollout is not Rollout.ROLLING:
            return frozenset()
        keys = self.workload.checksums.keys() | self.decision.keys | self.left
        return frozenset(Places(self.id.namespace, key) for key in keys)

    @property
    def stopped(self) -> frozenset[Wave]:
        """The waves that its failed rollout stops, unless a user has resumed them or it was broken before."""
        if self.rollout is not Rollout.FAILED or self.resumed or self.was_broken:
            return frozenset()
        checksums = self.workload.checksums.items()
        return frozenset(Wave(Places(self.id.namespace, key), checksum) for key, checksum in checksums)

    @property
    def resumed(self) -> bool:
        """Whether a user has resumed the waves that its failed rollout would stop."""
        return self.workload.annotations.get(RESUMED) == self.rollout_id

    @property
    def was_broken(self) -> bool:
        """Whether it was broken before it got its present contents."""
        mark = self._mark
        return mark is not None and mark.broken

    @property
    def is_to_blame(self) -> bool:
        """Whether its rollout failed because of its contents, as far as can be seen.

        The rollout that failed is the one that the contents started, and the one before had not failed.
        """
        mark = self._mark if self.rollout is Rollout.FAILED else None
        return mark is not None and not mark.broken and self.rollout_number == mark.before + 1

    @property
    def standing(self) -> Standing:
        """What it is like before new contents."""
        return Standing(self.rollout_number, broken=self._is_broken)

    @property
    def _is_broken(self) -> bool:
        """Whether its rollout has failed, and not because of its contents, or had and still may."""
        if self.rollout is Rollout.FAILED:
            return not self.is_to_blame
        # The number of a Deployment's rollout can be that of the one before, until its controller has seen the write.
        mark = self._mark if self.rollout is not Rollout.DONE else None
        return mark is not None and mark.broken and self.rollout_number <= mark.before + 1

    @property
    def _mark(self) -> RolloutMark | None:
        """The mark about its present contents."""
        mark = RolloutMark.parse(self.workload.annotations.get(ROLLED))
        return mark if mark and mark.contents == contents_digest(self.workload.checksums) else None

    @property
    def rank(self) -> _Rank:
        """When it is its turn."""
        if self.rollout is Rollout.ROLLING:
            return _Rank.ROLLING
        if self.rollout is not Rollout.FAILED:
            return _Rank.HEALTHY
        return _Rank.TO_BLAME if self.is_to_blame else _Rank.BROKEN


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
    workloads = sorted(observed, key=lambda workload: (workload.rank, workload.id))
    changing = [workload for workload in workloads if workload.decision.operations]
    if not max_concurrent:
        return Plan(tuple(changing))
    rolling: defaultdict[Places, set[WorkloadId]] = defaultdict(set)
    failed: defaultdict[Wave, list[WorkloadId]] = defaultdict(list)
    for workload in workloads:
        for places in workload.occupied:
            rolling[places].add(workload.id)
        for wave in workload.stopped:
            failed[wave].append(workload.id)
    write: list[Observed] = []
    queued: list[WorkloadId] = []
    stopped: dict[Wave, tuple[WorkloadId, ...]] = {}
    for workload in changing:
        wanted = {wave.places for wave in workload.waves}
        broken = {wave: tuple(sorted(failed[wave])) for wave in workload.waves if wave in failed}
        if broken or any(len(rolling[places] | {workload.id}) > max_concurrent for places in wanted):
            queued.append(workload.id)
        else:
            write.append(workload)
            for places in wanted:
                rolling[places].add(workload.id)
        stopped |= broken
    return Plan(tuple(write), tuple(queued), stopped)
