"""Workloads as the controller keeps them: decoded once, and only what decisions are made by."""

from __future__ import annotations

from typing import Final

import msgspec

from webhook.controller.objects import ObjectMeta
from webhook.hooks.checksums.core.decide import Outcome
from webhook.hooks.checksums.core.keys import MANAGED, PREFIX, REVISION
from webhook.hooks.checksums.core.plan import Observed
from webhook.hooks.checksums.core.podspec import PodTemplate
from webhook.hooks.checksums.core.rollout import (
    Status,
    StoredMetadata,
    StoredSpec,
    StoredWorkload,
    UpdateStrategy,
    rollout_of,
)
from webhook.hooks.checksums.core.workload import Workload, WorkloadId

#: The kinds that are rolled, by the plural names of their resources in the API group `apps`.
KINDS: Final = {"deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}
PLURALS: Final = {kind: plural for plural, kind in KINDS.items()}


class WorkloadMeta(ObjectMeta, frozen=True, rename="camel", gc=False):
    """`metadata`, with those annotations that decisions are made by.

    The others are dropped: an applied workload repeats itself in one of them.
    """

    generation: int = 0
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None

    def __post_init__(self) -> None:
        """Drop what is not needed."""
        for name in [*(self.annotations or ())]:
            if self.annotations and not name.startswith(PREFIX) and name != REVISION:
                del self.annotations[name]


class MirroredSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`spec`."""

    paused: bool | None = None
    replicas: int | None = None
    update_strategy: UpdateStrategy | None = None
    template: PodTemplate | None = None


class MirroredWorkload(msgspec.Struct, frozen=True, gc=False):
    """A Deployment, StatefulSet or DaemonSet as it is stored."""

    metadata: WorkloadMeta
    spec: MirroredSpec = MirroredSpec()
    status: Status = Status()

    @property
    def namespace(self) -> str:
        """Where it lives."""
        return self.metadata.namespace

    @property
    def managed(self) -> bool:
        """Whether its pod template carries checksums of ours."""
        return MANAGED in (self.metadata.annotations or {})

    def is_decided_otherwise_than(self, other: MirroredWorkload) -> bool:
        """Whether they differ in something that decisions are made by; a status says only how far a rollout is."""
        mine, theirs = self.metadata, other.metadata
        return (
            self.spec != other.spec
            or (mine.uid, mine.deletion_timestamp) != (theirs.uid, theirs.deletion_timestamp)
            or _without_revision(mine.annotations) != _without_revision(theirs.annotations)
        )

    def look(self, kind: str) -> Workload:
        """Look at it as decisions do."""
        return Workload.with_template(kind, self._stored, self.spec.template)

    def observe(self, one: WorkloadId, outcome: Outcome) -> Observed:
        """Make of it what plans are made of.

        Args:
            one: Which workload it is.
            outcome: What was decided about it.
        """
        return Observed(
            id=one,
            workload=self.look(one.kind),
            resource_version=self.metadata.resource_version,
            rollout=rollout_of(one.kind, self._stored),
            starts_pods=self.starts_pods(one.kind),
            outcome=outcome,
            uid=self.metadata.uid,
        )

    def starts_pods(self, kind: str) -> bool:
        """Whether a new pod template would replace pods now: not where there are none to be, or while it is paused."""
        if kind == "DaemonSet":
            return self.status.desired_number_scheduled > 0
        return self.spec.paused is not True and self.spec.replicas != 0

    @property
    def _stored(self) -> StoredWorkload:
        meta, spec = self.metadata, self.spec
        return StoredWorkload(
            metadata=StoredMetadata(
                name=meta.name,
                namespace=meta.namespace,
                annotations=meta.annotations,
                deletion_timestamp=meta.deletion_timestamp,
                uid=meta.uid,
                resource_version=meta.resource_version,
                generation=meta.generation,
            ),
            spec=StoredSpec(paused=spec.paused, replicas=spec.replicas, update_strategy=spec.update_strategy),
            status=self.status,
        )


def path_of(workload: WorkloadId) -> str:
    """Return the path of a workload at the API server."""
    return f"/apis/apps/v1/namespaces/{workload.namespace}/{PLURALS[workload.kind]}/{workload.name}"


def _without_revision(annotations: dict[str, str] | None) -> dict[str, str]:
    """Leave out what a Deployment's own controller counts by."""
    return {name: value for name, value in (annotations or {}).items() if name != REVISION}
