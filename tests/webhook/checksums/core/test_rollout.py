"""The progress of rollouts."""

from typing import Any

import msgspec
import pytest

from webhook.checksums.core.kinds import DAEMON_SET, DEPLOYMENT, KINDS, STATEFUL_SET, WorkloadKind
from webhook.checksums.core.rollout import Rollout

DONE, ROLLING, PAUSED, FAILED = Rollout.DONE, Rollout.ROLLING, Rollout.PAUSED, Rollout.FAILED


def rollout(kind: WorkloadKind, spec: dict[str, Any], generation: int = 1, **status: Any) -> Rollout:
    """Return the progress of a workload whose controller has observed generation 1."""
    tree = {
        "metadata": {"name": "shop", "generation": generation},
        "spec": spec,
        "status": {"observedGeneration": 1} | status,
    }
    return kind.rollout(msgspec.convert(tree, kind.stored_type))


@pytest.mark.parametrize(
    ("replicas", "updated", "available", "expected"),
    [(3, 3, 3, DONE), (4, 3, 3, ROLLING), (3, 2, 3, ROLLING), (3, 3, 2, ROLLING)],
)
def test_a_deployment_is_done_when_all_are_new_and_available(
    replicas: int, updated: int, available: int, expected: Rollout
) -> None:
    """No old pod exists, and none is missing."""
    counts = {"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}
    assert rollout(DEPLOYMENT, {"replicas": 3}, **counts) is expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_generation_that_was_not_observed_is_rolling(kind: WorkloadKind) -> None:
    """The status is that of the generation before."""
    assert rollout(kind, {"replicas": 0}, generation=2) is ROLLING


def test_a_deployment_past_its_progress_deadline_has_failed() -> None:
    """As the Deployment controller reports; a newer generation has not failed yet."""
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert rollout(DEPLOYMENT, {}, conditions=[condition]) is FAILED
    assert rollout(DEPLOYMENT, {}, generation=2, conditions=[condition]) is ROLLING
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    assert rollout(DEPLOYMENT, {"replicas": 0}, conditions=[available]) is DONE


def test_a_paused_deployment_does_not_roll() -> None:
    """Nothing is replaced until it is resumed, and a deadline that passed before is not about its present template."""
    counts = {"replicas": 1, "updatedReplicas": 0, "availableReplicas": 1}
    paused = {"replicas": 1, "paused": True}
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert rollout(DEPLOYMENT, paused, **counts) is PAUSED
    assert rollout(DEPLOYMENT, paused, generation=2, **counts) is PAUSED
    assert rollout(DEPLOYMENT, paused, **counts, conditions=[condition]) is PAUSED
    assert rollout(DEPLOYMENT, paused, **(counts | {"updatedReplicas": 1}), conditions=[condition]) is FAILED
    assert rollout(DEPLOYMENT, paused, **(counts | {"updatedReplicas": 1})) is DONE


def test_without_replicas_it_is_one() -> None:
    """The default value of the API."""
    assert rollout(DEPLOYMENT, {}) is ROLLING
    assert rollout(DEPLOYMENT, {}, replicas=1, updatedReplicas=1, availableReplicas=1) is DONE
    assert rollout(STATEFUL_SET, {}) is ROLLING


def test_a_stateful_set_with_a_partition() -> None:
    """Pods below the partition are not replaced, but must be available."""
    spec = {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
    assert rollout(STATEFUL_SET, spec, updatedReplicas=1, availableReplicas=3) is DONE
    assert rollout(STATEFUL_SET, spec, updatedReplicas=0, availableReplicas=3) is ROLLING
    assert rollout(STATEFUL_SET, spec, updatedReplicas=1, availableReplicas=2) is ROLLING
    spec["updateStrategy"] = {"rollingUpdate": None}
    assert rollout(STATEFUL_SET, spec, updatedReplicas=2, availableReplicas=3) is ROLLING
    assert rollout(STATEFUL_SET, spec, updatedReplicas=3, availableReplicas=3) is DONE


def test_a_daemon_set_is_done_on_every_node() -> None:
    """It has a pod per node instead of replicas."""
    assert rollout(DAEMON_SET, {}, desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=2) is DONE
    assert rollout(DAEMON_SET, {}, desiredNumberScheduled=2, updatedNumberScheduled=1, numberAvailable=2) is ROLLING
    assert rollout(DAEMON_SET, {}, desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=1) is ROLLING


@pytest.mark.parametrize("kind", [STATEFUL_SET, DAEMON_SET])
def test_with_on_delete_it_is_done(kind: WorkloadKind) -> None:
    """No pod is replaced until a user deletes it."""
    spec = {"updateStrategy": {"type": "OnDelete"}}
    assert rollout(kind, spec, desiredNumberScheduled=2) is DONE


def test_without_a_status_it_is_rolling() -> None:
    """Its controller has not observed it yet."""
    assert DEPLOYMENT.rollout(msgspec.convert({"metadata": {"name": "shop"}}, DEPLOYMENT.stored_type)) is ROLLING


def test_an_observed_generation_can_be_text() -> None:
    """Some custom resources store it so."""
    counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    assert rollout(DEPLOYMENT, {}, generation=2, observedGeneration="2", **counts) is DONE
    assert rollout(DEPLOYMENT, {}, generation=2, observedGeneration="1", **counts) is ROLLING
    assert rollout(DEPLOYMENT, {}, generation=2, observedGeneration="?", **counts) is ROLLING


def test_whether_pods_would_be_replaced() -> None:
    """Not without pods, nor while rollouts are paused."""

    def replaces_pods(kind: WorkloadKind, **tree: Any) -> bool:
        return kind.replaces_pods(msgspec.convert({"metadata": {"name": "shop"}, **tree}, kind.stored_type))

    assert replaces_pods(DEPLOYMENT)
    assert not replaces_pods(DEPLOYMENT, spec={"paused": True})
    assert not replaces_pods(DEPLOYMENT, spec={"replicas": 0})
    assert not replaces_pods(STATEFUL_SET, spec={"replicas": 0})
    assert not replaces_pods(DAEMON_SET)
    assert replaces_pods(DAEMON_SET, status={"desiredNumberScheduled": 1})
