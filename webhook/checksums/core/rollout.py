"""The progress of rollouts, by the rules of `kubectl rollout status`: one function per kind of workload.

Source: https://github.com/kubernetes/kubectl/blob/master/pkg/polymorphichelpers/rollout_status.go
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from webhook.checksums.core.objects import StoredSpec, StoredWorkload, UpdateStrategy

_PROGRESS_DEADLINE_EXCEEDED: Final = "ProgressDeadlineExceeded"
_ON_DELETE: Final = "OnDelete"


class Rollout(Enum):
    """The progress of a workload's rollout.

    Attributes:
        DONE: All pods are of the current template and available.
        ROLLING: They are not yet.
        PAUSED: They are not, and no pod is replaced until a user resumes the rollout.
        FAILED: The workload's own controller has given up waiting for that, or it has made no progress for too long.
    """

    DONE = "done"
    ROLLING = "rolling"
    PAUSED = "paused"
    FAILED = "failed"


def no_rollout(_: StoredWorkload) -> Rollout:
    """Return `DONE`: for kinds that replace no running pods when the template changes, such as a CronJob."""
    return Rollout.DONE


def deployment_rollout(stored: StoredWorkload) -> Rollout:
    """Return the progress of a Deployment, or of a kind whose status has the same fields."""
    status, paused = stored.status, stored.spec.paused is True
    unfinished = Rollout.PAUSED if paused else Rollout.ROLLING
    if not _is_observed(stored):
        return unfinished
    timed_out = any(
        condition.type == "Progressing" and condition.reason == _PROGRESS_DEADLINE_EXCEEDED
        for condition in status.conditions or ()
    )
    desired, updated = _replicas(stored.spec), status.updated_replicas
    # While it is paused, the condition stays; without an updated pod it is that of an earlier template.
    if timed_out and (updated or not paused):
        return Rollout.FAILED
    done = updated >= desired and status.replicas <= updated and status.available_replicas >= updated
    return Rollout.DONE if done else unfinished


def stateful_set_rollout(stored: StoredWorkload) -> Rollout:
    """Return the progress of a StatefulSet; pods below its partition are not replaced, but must be available."""
    strategy = stored.spec.update_strategy or UpdateStrategy()
    partition = (strategy.rolling_update.partition if strategy.rolling_update else None) or 0
    desired = _replicas(stored.spec)
    updated = stored.status.updated_replicas + min(partition, desired)
    return _progress(stored, desired, updated=updated, available=stored.status.available_replicas)


def daemon_set_rollout(stored: StoredWorkload) -> Rollout:
    """Return the progress of a DaemonSet, which has a pod per node."""
    status = stored.status
    return _progress(
        stored,
        status.desired_number_scheduled,
        updated=status.updated_number_scheduled,
        available=status.number_available,
    )


def replaces_no_pods(_: StoredWorkload) -> bool:
    """Return False: for kinds that replace no running pods when the template changes."""
    return False


def replaces_replicas(stored: StoredWorkload) -> bool:
    """Return whether a new template would replace pods now: not without replicas, nor while rollouts are paused."""
    return stored.spec.paused is not True and stored.spec.replicas != 0


def replaces_scheduled_pods(stored: StoredWorkload) -> bool:
    """Return whether a new template of a DaemonSet would replace pods now: not where no node is to run one."""
    return stored.status.desired_number_scheduled > 0


def _progress(stored: StoredWorkload, desired: int, *, updated: int, available: int) -> Rollout:
    if not _is_observed(stored):
        return Rollout.ROLLING
    if (stored.spec.update_strategy or UpdateStrategy()).type == _ON_DELETE:
        # Pods are replaced when a user deletes them: there is nothing to wait for.
        return Rollout.DONE
    return Rollout.DONE if updated >= desired and available >= desired else Rollout.ROLLING


def _is_observed(stored: StoredWorkload) -> bool:
    """Return whether the status is of the present generation."""
    observed = stored.status.observed_generation
    if isinstance(observed, str):
        observed = int(observed) if observed.isdecimal() else 0
    return observed >= stored.metadata.generation


def _replicas(spec: StoredSpec) -> int:
    return 1 if spec.replicas is None else spec.replicas
