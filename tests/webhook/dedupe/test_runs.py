"""Quorum reads of runs from a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.controlplane import ControlPlane
from tests.rollonce import RUN_CRD
from tests.webhook.dedupe.world import Storage
from webhook.dedupe.core.identity import LABEL, DeliveryKey, label_value
from webhook.dedupe.core.run import ORCHESTRATION_RUNS, Resource
from webhook.dedupe.runs import Runs
from webhook.errors import KubernetesError
from webhook.kube.api import Reply
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime.deadline import Deadline


def soon() -> Deadline:
    """Return a deadline."""
    return Deadline.after(20, time.monotonic)


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """A connection as an administrator, to a server that has the resource."""
    plane.kubectl("apply", "-f", str(RUN_CRD))
    plane.kubectl("wait", "--for=condition=Established", "-f", str(RUN_CRD), "--timeout=30s")
    client = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="tests")
    yield client
    await client.close()


def submit(plane: ControlPlane, namespace: str, name: str, delivery_id: str, *, label: str | None = None) -> None:
    """Create a run with the label that the mutating webhook sets."""
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
    """A stored run is read with all fields; ids with the same label are kept apart; a missing run is no error."""
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
async def test_a_resource_that_is_not_served_is_an_error(namespace: str, api: KubernetesClient) -> None:
    """A 404 for the whole API does not count as a run that does not exist."""
    runs = Runs(api, Resource("nothing.example", "v1", "orchestrationruns", "OrchestrationRun"))
    with pytest.raises(KubernetesError):
        await runs.get(namespace, "one", soon())
    with pytest.raises(KubernetesError):
        await runs.of_delivery(DeliveryKey(namespace, "nightly", "d-1"), soon())


class OddStorage(Storage):
    """Storage with an object that cannot be decoded as a run."""

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """Return a list with such an object, or the object itself."""
        reply = await super().get(path, deadline, query=query, accept=accept)
        odd = b'{"metadata": {"name": "odd", "labels": 5}}'
        if reply.status == 404:
            return Reply(200, odd)
        return Reply(200, b'{"items": [%s], "metadata": {}}' % odd)


async def test_a_run_that_cannot_be_decoded_is_an_error() -> None:
    """It is not left out: its delivery could get a second run."""
    runs = Runs(OddStorage(), ORCHESTRATION_RUNS)
    with pytest.raises(KubernetesError, match="decoded"):
        await runs.get("shop", "odd", soon())
    with pytest.raises(KubernetesError, match="decoded"):
        await runs.of_delivery(DeliveryKey("shop", "nightly", "d-1"), soon())
    with pytest.raises(KubernetesError, match="decoded"):
        [page async for page in runs.listing("shop", soon)]
