"""How far the rollout of a workload is, as `kubectl rollout status` sees it.

Source: https://github.com/kubernetes/kubectl/blob/master/pkg/polymorphichelpers/rollout_status.go
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from webhook.hooks.checksums.core.workload import DEPLOYMENT, Metadata, WorkloadObject, WorkloadSpec

_PROGRESS_DEADLINE_EXCEEDED: Final = "ProgressDeadlineExceeded"
_ON_DELETE: Final = "OnDelete"


class Rollout(Enum):
    """Where a workload stands.

    Done is when all pods are of the current template and available; failed is when the workload's own controller has
    given up waiting for that.
    """

    DONE = "done"
    ROLLING = "rolling"
    FAILED = "failed"


class StoredMetadata(Metadata, frozen=True, rename="camel"):
    """`metadata` of what is stored already."""

    uid: str = ""
    resource_version: str = ""
    generation: int = 0


class RollingUpdate(msgspec.Struct, frozen=True):
    """`rollingUpdate` of a StatefulSet; pods with a smaller ordinal than the partition stay as they are."""

    partition: int | None = None


class UpdateStrategy(msgspec.Struct, frozen=True, rename="camel"):
    """`updateStrategy` of a StatefulSet or DaemonSet."""

    type: str | None = None
    rolling_update: RollingUpdate | None = None


class StoredSpec(WorkloadSpec, frozen=True, rename="camel"):
    """`spec` with what decides when a rollout is done."""

    replicas: int | None = None
    update_strategy: UpdateStrategy | None = None


class Condition(msgspec.Struct, frozen=True):
    """One of `status.conditions`."""

    type: str = ""
    status: str = ""
    reason: str = ""


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """`status` of all three kinds; each fills in its own fields."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] | None = None
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0


class StoredWorkload(WorkloadObject, frozen=True):
    """A workload with its status."""

    metadata: StoredMetadata | None = None
    spec: StoredSpec | None = None
    status: Status | None = None


def rollout_of(kind: str, stored: StoredWorkload) -> Rollout:
    """Tell how far a rollout is.

    Args:
        kind: `Deployment`, `StatefulSet` or `DaemonSet`.
        stored: The workload.
    """
    metadata, spec, status = (
        stored.metadata or StoredMetadata(),
        stored.spec or StoredSpec(),
        stored.status or Status(),
    )
    if status.observed_generation < metadata.generation:
        return Rollout.ROLLING
    if kind == DEPLOYMENT:
        return _of_deployment(spec, status)
    strategy = spec.update_strategy or UpdateStrategy()
    if strategy.type == _ON_DELETE:
        # Its pods are replaced when somebody deletes them: there is nothing to wait for.
        return Rollout.DONE
    if kind == "DaemonSet":
        wanted, updated, available = (
            status.desired_number_scheduled,
            status.updated_number_scheduled,
            status.number_available,
        )
    else:
        wanted, available = _replicas(spec), status.available_replicas
        partition = (strategy.rolling_update.partition if strategy.rolling_update else None) or 0
        updated = status.updated_replicas + min(partition, wanted)
    return Rollout.DONE if updated >= wanted and available >= wanted else Rollout.ROLLING


def _of_deployment(spec: StoredSpec, status: Status) -> Rollout:
    if any(
        condition.type == "Progressing" and condition.reason == _PROGRESS_DEADLINE_EXCEEDED
        for condition in status.conditions or ()
    ):
        return Rollout.FAILED
    wanted, updated = _replicas(spec), status.updated_replicas
    done = updated >= wanted and status.replicas <= updated and status.available_replicas >= updated
    return Rollout.DONE if done else Rollout.ROLLING


def _replicas(spec: StoredSpec) -> int:
    return 1 if spec.replicas is None else spec.replicas
