"""Records survive the kill of any component."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.commands import Result
from tests.e2e.objects import RUNS, Object, config_map, deployment, run, runs, template_annotations
from tests.e2e.raw import RUNS_PATH, body, raw_client
from tests.rollonce import Installation
from tests.valkey import Valkey


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane for the servers of this module only."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def fragile(plane: ControlPlane, valkey: Valkey, tmp_path: Path) -> Iterator[Installation]:
    """Start a server and a store that the tests kill."""
    with Installation.start(plane, tmp_path / "servers", redis_url=valkey.url) as running:
        yield running


def create(plane: ControlPlane, namespace: str, manifest: Object) -> Result:
    """Run `kubectl create`."""
    return plane.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest), check=False)


def test_a_record_survives_sigkill_of_the_store(
    plane: ControlPlane, namespace: str, fragile: Installation, valkey: Valkey
) -> None:
    """The record of a deleted run exists only in Redis, and exists after a kill and a restart."""
    assert create(plane, namespace, run("d", name="first")).returncode == 0
    plane.kubectl("delete", RUNS, "first", "-n", namespace)
    valkey.kill()
    valkey.restart()
    refused = create(plane, namespace, run("d", name="second"))
    assert "(AlreadyExists)" in refused.stderr
    assert "first" in refused.stderr
    assert fragile.replicas[0].process.running


def test_a_record_survives_sigkill_of_the_server(plane: ControlPlane, namespace: str, fragile: Installation) -> None:
    """The server has no state of its own: after a kill and a restart the delivery is a duplicate."""
    assert create(plane, namespace, run("d", name="first")).returncode == 0
    plane.kubectl("delete", RUNS, "first", "-n", namespace)
    fragile.replicas[0].process.kill()
    fragile.replicas[0].process.restart()
    refused = create(plane, namespace, run("d", name="second"))
    assert "(AlreadyExists)" in refused.stderr
    assert "first" in refused.stderr


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_without_a_store_a_named_create_gets_503(
    plane: ControlPlane, namespace: str, fragile: Installation, valkey: Valkey, fault: str
) -> None:
    """The client gets 503 with a retry time from the webhook, and not an error of the webhook call."""
    if fault == "killed":
        valkey.kill()
    else:
        valkey.freeze()
    async with raw_client(plane.kubeconfig) as client:
        reply = await client.create(RUNS_PATH.format(namespace), run("d", name="first"))
        assert (reply.status, body(reply)["reason"]) == (503, "ServiceUnavailable")
        assert reply.retry_after
        assert body(reply)["details"]["retryAfterSeconds"] == reply.retry_after
        assert "denied the request" in body(reply)["message"]
        assert fragile.replicas[0].health("/readyz")[0] == 200
    assert runs(plane, namespace) == []


def test_without_a_store_a_generated_name_is_created_once(
    plane: ControlPlane, namespace: str, fragile: Installation, valkey: Valkey
) -> None:
    """The storage of the API server refuses the same generated name, also while Redis is down."""
    # A server that has not read the records yet admits nothing without them.
    plane.wait_for(lambda: fragile.replicas[0].metric("rollonce_dedupe_recall_complete") == 1, what="the records")
    valkey.kill()
    assert create(plane, namespace, run("d", prefix="build-")).returncode == 0
    refused = create(plane, namespace, run("d", prefix="build-"))
    assert "(AlreadyExists)" in refused.stderr
    assert len(runs(plane, namespace)) == 1
    assert fragile.replicas[0].process.running


def test_a_deployment_can_be_written_without_a_server(
    plane: ControlPlane, namespace: str, fragile: Installation
) -> None:
    """Without a server, Deployments are written, and the refusal of a run with a deliveryId names the webhook."""
    fragile.replicas[0].process.kill()
    plane.apply(
        [config_map("settings", color="blue"), deployment("plain"), deployment(configmaps="settings")],
        namespace=namespace,
    )
    assert template_annotations(plane, namespace) == {}
    refused = create(plane, namespace, run("d", name="first"))
    assert "rollonce.proompteng.ai" in refused.stderr
    assert runs(plane, namespace) == []
