"""Quorum reads of runs from a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from webhook.admission.deadline import Deadline
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.errors import KubernetesError
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.label import LABEL, label_value
from webhook.hooks.dedupe.core.resource import ORCHESTRATION_RUNS, Resource
from webhook.hooks.dedupe.runs import Runs

CRD = Path(__file__).parents[3] / "e2e" / "crd.yaml"


def soon() -> Deadline:
    """A deadline."""
    return Deadline.after(20, time.monotonic)


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """A connection as an administrator, to a server that knows runs."""
    plane.kubectl("apply", "-f", str(CRD))
    plane.kubectl("wait", "--for=condition=Established", "-f", str(CRD), "--timeout=30s")
    client = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="tests")
    yield client
    await client.close()


def submit(plane: ControlPlane, namespace: str, name: str, delivery_id: str, *, label: str | None = None) -> None:
    """Create a run, as if the mutating webhook had been there."""
    manifest = {
        "apiVersion": "orchestration.proompteng.ai/v1alpha1",
        "kind": "OrchestrationRun",
        "metadata": {"name": name, "labels": {LABEL: label or label_value(delivery_id)}},
        "spec": {"orchestrationRef": {"name": "nightly"}, "deliveryId": delivery_id, "parameters": {"a": "1"}},
    }
    plane.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest))


@pytest.mark.cluster
async def test_runs_are_found_by_name_and_by_delivery(
    plane: ControlPlane, namespace: str, api: KubernetesClient
) -> None:
    """A stored run is read with all that is needed; ids that share a label are kept apart; no run is no error."""
    submit(plane, namespace, "one", "d-1")
    submit(plane, namespace, "spaced", " d-1", label="d-1")
    runs = Runs(api, ORCHESTRATION_RUNS)
    run = await runs.get(namespace, "one", soon())
    assert run is not None
    assert run.key() == DeliveryKey(namespace, "nightly", "d-1")
    assert run.uid
    assert abs(run.created_at - time.time()) < 3600
    assert json.loads(run.parameters) == {"a": "1"}
    assert await runs.get(namespace, "none", soon()) is None
    for delivery_id, names in (("d-1", ["one"]), (" d-1", ["spaced"]), ("d-2", [])):
        found = await runs.of_delivery(DeliveryKey(namespace, "nightly", delivery_id), soon())
        assert [run.name for run in found] == names


@pytest.mark.cluster
async def test_a_kind_that_is_not_served_is_an_error(namespace: str, api: KubernetesClient) -> None:
    """A 404 for the whole API is not taken for a run that does not exist."""
    runs = Runs(api, Resource("nothing.example", "v1", "orchestrationruns", "OrchestrationRun"))
    with pytest.raises(KubernetesError):
        await runs.get(namespace, "one", soon())
    with pytest.raises(KubernetesError):
        await runs.of_delivery(DeliveryKey(namespace, "nightly", "d-1"), soon())
