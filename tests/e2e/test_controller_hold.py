"""Server and controller together: holds are placed at admission and released by the controller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.kubeconfig import write_private
from tests.e2e.controllers import Controller, Workloads, annotations_of
from tests.e2e.objects import PREFIX, deployment, secret
from tests.e2e.test_controller_waves import reasons
from tests.rollonce import Installation, command
from tests.valkey import Valkey

pytestmark = pytest.mark.cluster

KEY = "checksum/secret.db"
HOLD = "--rollout-checksums-missing=hold"
LISTED = "listed"
CONFIGURATION = "mutatingwebhookconfiguration/rollonce"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane whose webhooks hold, and with an operator list for one namespace."""
    folder = tmp_path_factory.mktemp("hold")
    settings = folder / "settings.yaml"
    chosen = {"enabled": True, "secrets": ["db"], "namespaces": [LISTED]}
    settings.write_text(json.dumps({"rolloutChecksums": chosen}))
    with (
        ControlPlane.start(folder / "plane") as plane,
        Valkey.start(folder / "valkey") as store,
        Installation.start(
            plane, folder / "servers", redis_url=store.url, settings=(HOLD, f"--config={settings}")
        ) as installed,
    ):
        url = f"https://127.0.0.1:{installed.balancer.port}"
        authority = str(installed.folder / "ca.crt")
        listed = command("webhooks", "--url", url, "--ca-file", authority, "--config", str(settings))
        plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=listed)
        yield plane


def new_namespace(plane: ControlPlane, name: str) -> Workloads:
    """Create a namespace in which pods can be created."""
    plane.kubectl("create", "namespace", name)
    plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s")
    return Workloads(plane, name)


def test_a_deployment_applied_before_its_secret_makes_one_replica_set(cluster: ControlPlane, tmp_path: Path) -> None:
    """The Deployment is held, and starts once with its checksum when the Secret is created."""
    shop = new_namespace(cluster, "folder")
    (tmp_path / "apply").mkdir()
    write_private(tmp_path / "apply" / "1.json", json.dumps(deployment(secrets="db")))
    write_private(tmp_path / "apply" / "2.json", json.dumps(secret("db", password="one")))
    with Controller.start(cluster, tmp_path, shop.namespace, HOLD):
        applied = cluster.kubectl("apply", "-n", shop.namespace, "-f", tmp_path / "apply")
        assert "Kept paused" in applied.stderr
        cluster.kubectl("rollout", "status", "deployment/web", "-n", shop.namespace, "--timeout=30s")
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
    assert shop.revisions() == {"web": 1}
    assert shop.replica_sets() == {"web": 1}
    assert PREFIX + "held" not in shop.all()["web"]["metadata"]["annotations"]


def test_an_autoscaler_scales_a_held_deployment_without_starting_it(cluster: ControlPlane, tmp_path: Path) -> None:
    """The replicas that the autoscaler sets are used after the release, and no pod starts before."""
    shop = new_namespace(cluster, "scaled")
    cluster.apply(deployment(secrets="db"), namespace=shop.namespace)
    cluster.kubectl("autoscale", "deployment", "web", "--min=3", "--max=5", "-n", shop.namespace)
    cluster.wait_for(lambda: shop.all()["web"]["spec"]["replicas"] == 3, timeout=60, what="the autoscaler to act")
    assert shop.replica_sets() == {"web": 0}
    assert PREFIX + "held" in shop.all()["web"]["metadata"]["annotations"]
    with Controller.start(cluster, tmp_path, shop.namespace, HOLD):
        cluster.apply(secret("db", password="one"), namespace=shop.namespace)
        cluster.kubectl("rollout", "status", "deployment/web", "-n", shop.namespace, "--timeout=30s")
    assert shop.replica_sets() == {"web": 1}
    assert shop.all()["web"]["status"]["readyReplicas"] == 3


def test_helm_does_not_wait_for_a_held_deployment(cluster: ControlPlane, tmp_path: Path) -> None:
    """`helm --wait` does not wait for a paused Deployment and shows its Warning; after the release it waits."""
    shop = new_namespace(cluster, "helm")
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\n")
    (chart / "templates" / "web.yaml").write_text(json.dumps(deployment(secrets="db")))
    install = ("upgrade", "--install", "web", chart, "-n", shop.namespace, "--wait")
    assert "Kept paused" in cluster.helm(*install, "--timeout=30s").stderr
    assert PREFIX + "held" in shop.all()["web"]["metadata"]["annotations"]
    with Controller.start(cluster, tmp_path, shop.namespace, HOLD):
        cluster.apply(secret("db", password="one"), namespace=shop.namespace)
        cluster.kubectl("rollout", "status", "deployment/web", "-n", shop.namespace, "--timeout=30s")
    cluster.helm(*install, "--timeout=30s")
    assert shop.replica_sets() == {"web": 1}


def test_the_operator_list_applies_at_admission(cluster: ControlPlane) -> None:
    """A workload without annotations in a listed namespace is sent to the webhook."""
    shop = new_namespace(cluster, LISTED)
    cluster.apply(secret("db", password="one"), namespace=LISTED)
    web = deployment()
    del web["metadata"]["annotations"]
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "db"}}]
    cluster.apply(web, namespace=LISTED)
    assert annotations_of(shop.all()["web"]) == {KEY: shop.current("secret", "db")}


@pytest.mark.parametrize("way", ["server-side apply", "apply"])
def test_a_pause_while_no_server_runs_stays(cluster: ControlPlane, tmp_path: Path, way: str) -> None:
    """The controller sees in what is stored that the author has paused the Deployment too, and only adds checksums."""
    shop = new_namespace(cluster, way.replace(" ", "-"))
    cluster.apply([deployment(name, secrets="db") for name in ("web", "other")], namespace=shop.namespace)
    registered = json.loads(cluster.kubectl("get", CONFIGURATION, "-o", "json").stdout)
    cluster.kubectl("delete", CONFIGURATION)
    mode = ("--server-side", "--force-conflicts", "--field-manager=gitops") if way != "apply" else ()
    paused = deployment(secrets="db")
    paused["spec"]["paused"] = True
    cluster.apply(paused, *mode, namespace=shop.namespace)
    del registered["metadata"]["resourceVersion"], registered["metadata"]["uid"]
    with Controller.start(cluster, tmp_path, shop.namespace, HOLD):
        cluster.wait_for(lambda: PREFIX + "held" not in shop.all()["web"]["metadata"]["annotations"])
        cluster.apply(secret("db", password="one"), namespace=shop.namespace)
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        cluster.kubectl("rollout", "status", "deployment/other", "-n", shop.namespace, "--timeout=30s")
        assert shop.all()["web"]["spec"]["paused"] is True
        cluster.wait_for(lambda: "ConfigChanged" in reasons(cluster, shop.namespace, "web"), what="the Event")
    assert shop.replica_sets() == {"web": 0, "other": 1}
    cluster.kubectl("create", "-f", "-", input=json.dumps(registered))


def test_a_hold_is_reported_and_ends_by_opting_out(cluster: ControlPlane, tmp_path: Path) -> None:
    """An Event says which object is missing, and after an opt-out the Deployment starts."""
    shop = new_namespace(cluster, "reported")
    with Controller.start(cluster, tmp_path, shop.namespace, HOLD):
        cluster.apply(deployment(secrets="db"), namespace=shop.namespace)
        cluster.wait_for(lambda: "RolloutHeld" in reasons(cluster, shop.namespace, "web"), what="the Event")
        assert "db" in reasons(cluster, shop.namespace, "web")["RolloutHeld"]
        assert shop.revisions() == {"web": 0}
        # The server does not see this opt-out, so only the controller can release the Deployment.
        cluster.kubectl("delete", "mutatingwebhookconfiguration", "rollonce")
        cluster.kubectl("annotate", "deployment", "web", f"{PREFIX}secrets-", "-n", shop.namespace)
        cluster.kubectl("rollout", "status", "deployment/web", "-n", shop.namespace, "--timeout=30s")
    assert annotations_of(shop.all()["web"]) == {}
