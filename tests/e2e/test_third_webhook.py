"""A third webhook is one folder and one line: it is registered, served and set like the others."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.rollonce import Installation
from tests.sidecar.feature import LABEL, OWNER
from tests.valkey import Valkey


@pytest.fixture(scope="module")
def installation(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with the third feature, registered by its own command line."""
    folder = tmp_path_factory.mktemp("sidecar")
    with (
        Valkey.start(folder / "valkey") as store,
        Installation.start(
            plane, folder, redis_url=store.url, module="tests.sidecar", settings=("--sidecar-image=proxy:2",)
        ) as running,
    ):
        yield running


def pod(name: str, **labels: str) -> str:
    """Return the manifest of a Pod with one container."""
    spec = {"containers": [{"name": "app", "image": "app:1"}]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})


@pytest.mark.cluster
def test_a_sidecar_is_injected(plane: ControlPlane, installation: Installation, namespace: str) -> None:
    """A Pod that asks for it gets a container with nested values; another Pod stays as it is."""
    plane.kubectl("create", "-n", namespace, "-f", "-", input=pod("wanted", **{LABEL: "yes"}))
    plane.kubectl("create", "-n", namespace, "-f", "-", input=pod("plain"))
    app, proxy = plane.get("pod", "wanted", namespace)["spec"]["containers"]
    assert (app["name"], proxy["name"], proxy["image"]) == ("app", "proxy", "proxy:2")
    assert proxy["env"] == [{"name": "NAMESPACE", "value": namespace}]
    assert proxy["resources"]["requests"] == {"cpu": "10m"}
    assert [one["name"] for one in plane.get("pod", "plain", namespace)["spec"]["containers"]] == ["app"]
    labels = {"webhook": "inject-sidecar", "operation": "CREATE", "outcome": "patched", "code": "200"}
    assert installation.metric("rollonce_admission_requests_total", **labels) == 1


@pytest.mark.cluster
def test_a_cluster_scoped_object_is_sent_too(plane: ControlPlane, installation: Installation) -> None:
    """The rule's scope is Cluster: a Namespace is no namespaced object."""
    created = plane.kubectl("create", "namespace", "owned-by-the-third", "--output=json")
    assert json.loads(created.stdout)["metadata"]["labels"][OWNER]
    assert "This Namespace belongs to" in created.stderr
    plane.kubectl("delete", "namespace", "owned-by-the-third", "--wait=false")
    assert installation.metric("rollonce_admission_requests_total", webhook="own-namespace") >= 1
