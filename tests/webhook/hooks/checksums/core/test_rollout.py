"""How far a rollout is."""

from typing import Any

import msgspec
import pytest

from webhook.hooks.checksums.core.rollout import Rollout, StoredWorkload, rollout_of

DONE, ROLLING, FAILED = Rollout.DONE, Rollout.ROLLING, Rollout.FAILED


def rollout(kind: str, spec: dict[str, Any], generation: int = 1, **status: Any) -> Rollout:
    """The rollout of a workload whose controller has seen generation 1."""
    tree = {"metadata": {"generation": generation}, "spec": spec, "status": {"observedGeneration": 1, **status}}
    return rollout_of(kind, msgspec.convert(tree, StoredWorkload))


@pytest.mark.parametrize(
    ("replicas", "updated", "available", "expected"),
    [(3, 3, 3, DONE), (4, 3, 3, ROLLING), (3, 2, 3, ROLLING), (3, 3, 2, ROLLING)],
)
def test_a_deployment_is_done_when_all_are_new_and_available(
    replicas: int, updated: int, available: int, expected: Rollout
) -> None:
    """No old pod is left, and none is missing."""
    counts = {"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}
    assert rollout("Deployment", {"replicas": 3}, **counts) is expected


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_template_that_its_controller_has_not_seen_is_rolling(kind: str) -> None:
    """The status is of the generation before."""
    assert rollout(kind, {"replicas": 0}, generation=2) is ROLLING


def test_a_deployment_past_its_progress_deadline_has_failed() -> None:
    """As its own controller says; a newer generation gets its chance."""
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert rollout("Deployment", {}, conditions=[condition]) is FAILED
    assert rollout("Deployment", {}, generation=2, conditions=[condition]) is ROLLING
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    assert rollout("Deployment", {"replicas": 0}, conditions=[available]) is DONE


def test_without_replicas_it_is_one() -> None:
    """The default of the API."""
    assert rollout("Deployment", {}) is ROLLING
    assert rollout("Deployment", {}, replicas=1, updatedReplicas=1, availableReplicas=1) is DONE
    assert rollout("StatefulSet", {}) is ROLLING


def test_a_stateful_set_leaves_its_partition_alone() -> None:
    """Pods below the partition are not replaced, but have to be available."""
    spec = {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
    assert rollout("StatefulSet", spec, updatedReplicas=1, availableReplicas=3) is DONE
    assert rollout("StatefulSet", spec, updatedReplicas=0, availableReplicas=3) is ROLLING
    assert rollout("StatefulSet", spec, updatedReplicas=1, availableReplicas=2) is ROLLING
    spec["updateStrategy"] = {"rollingUpdate": None}
    assert rollout("StatefulSet", spec, updatedReplicas=2, availableReplicas=3) is ROLLING
    assert rollout("StatefulSet", spec, updatedReplicas=3, availableReplicas=3) is DONE


def test_a_daemon_set_is_done_on_every_node() -> None:
    """It has no replicas but nodes."""
    assert rollout("DaemonSet", {}, desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=2) is DONE
    assert rollout("DaemonSet", {}, desiredNumberScheduled=2, updatedNumberScheduled=1, numberAvailable=2) is ROLLING
    assert rollout("DaemonSet", {}, desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=1) is ROLLING


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_who_waits_for_deletions_is_done(kind: str) -> None:
    """With `OnDelete` nothing rolls by itself."""
    spec = {"updateStrategy": {"type": "OnDelete"}}
    assert rollout(kind, spec, desiredNumberScheduled=2) is DONE


def test_nothing_there_yet() -> None:
    """A workload without any status is rolling."""
    assert rollout_of("Deployment", StoredWorkload()) is ROLLING
