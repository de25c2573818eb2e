"""Checksums written by the controller during faults: no change is lost, and there is no unnecessary rollout."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.options import Component
from tests.e2e.controllers import Controller, Workloads
from tests.e2e.objects import Object, config_map, deployment, secret

pytestmark = pytest.mark.cluster

KEY = "checksum/configmap.app"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane whose API server the tests kill."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        yield running


def new_namespace(plane: ControlPlane, name: str) -> Workloads:
    """Create a namespace."""
    plane.kubectl("create", "namespace", name)
    return Workloads(plane, name)


def deployments(count: int, **opt_in: str) -> list[Object]:
    """Return Deployments without pods; the tests count their generations."""
    return [deployment(f"web-{number:02}", replicas=0, **opt_in) for number in range(count)]


def test_fifty_workloads_with_one_config_map(cluster: ControlPlane, tmp_path: Path) -> None:
    """Each change reaches all workloads, by one read and one write of each workload."""
    shop = new_namespace(cluster, "fifty")
    cluster.apply([config_map("app", color="0"), *deployments(50, configmaps="app")], namespace=shop.namespace)
    with Controller.start(cluster, tmp_path, shop.namespace) as controller:
        for color in range(1, 5):
            cluster.apply(config_map("app", color=str(color)), namespace=shop.namespace)
            shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
            controller.is_idle()
        written = controller.metric("rollonce_rollout_patches_total", outcome="written")
        assert controller.metric("rollonce_checksum_reads_total") <= 10
    generations = shop.generations()
    assert sum(generations.values()) == 50 + written
    assert set(generations.values()) <= {5, 6}


def test_ten_writers_of_fifty_config_maps(cluster: ControlPlane, tmp_path: Path) -> None:
    """The final checksums are current, and each generation has a changed checksum."""
    shop = new_namespace(cluster, "writers")
    pairs = [(f"app-{number}", f"web-{number:02}") for number in range(50)]
    objects = [config_map(name, value="0") for name, _ in pairs]
    objects += [deployment(web, replicas=0, configmaps=name) for name, web in pairs]
    cluster.apply(objects, namespace=shop.namespace)
    randomness = random.Random(4)
    changes = [[(randomness.choice(pairs)[0], str(randomness.random())) for _ in range(12)] for _ in range(10)]

    def write(own_changes: list[tuple[str, str]]) -> None:
        for name, value in own_changes:
            cluster.kubectl(
                *("patch", "configmap", name, "-n", shop.namespace, "--type=merge"),
                *("-p", f'{{"data":{{"value":"{value}"}}}}'),
            )

    with Controller.start(cluster, tmp_path, shop.namespace) as controller:
        with ThreadPoolExecutor(10) as writers:
            list(writers.map(write, changes))
        controller.is_idle()
        written = controller.metric("rollonce_rollout_patches_total", outcome="written")
    annotations = {name: item["spec"]["template"]["metadata"]["annotations"] for name, item in shop.all().items()}
    for name, web in randomness.sample(pairs, 10):
        assert annotations[web] == {f"checksum/configmap.{name}": shop.current("configmap", name)}
    before = shop.generations()
    assert sum(before.values()) == 50 + written
    with Controller.start(cluster, tmp_path, shop.namespace, "--controller-lease=another", name="again") as controller:
        cluster.wait_for(
            lambda: controller.metric("rollonce_checksum_reads_total") >= 50, what="all objects to be read"
        )
        controller.is_idle()
        assert controller.metric("rollonce_rollout_patches_total") == 0
    assert shop.generations() == before


def test_a_controller_killed_before_its_patch_is_replaced(cluster: ControlPlane, tmp_path: Path) -> None:
    """A controller that can read and not write is killed, and the next controller writes the checksums."""
    shop = new_namespace(cluster, "killed")
    namespace = shop.namespace
    cluster.apply([config_map("app", color="0"), *deployments(3, configmaps="app")], namespace=namespace)
    cluster.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    cluster.kubectl(
        "create", "rolebinding", "r", "--clusterrole=view", f"--serviceaccount={namespace}:reader", "-n", namespace
    )
    cluster.kubectl(
        *("create", "role", "r", "--verb=get,list,watch,create,update", "-n", namespace),
        *("--resource=secrets", "--resource=leases.coordination.k8s.io"),
    )
    cluster.kubectl("create", "rolebinding", "s", "--role=r", f"--serviceaccount={namespace}:reader", "-n", namespace)
    reader = Controller.start(
        cluster, tmp_path, namespace, kubeconfig=cluster.kubeconfig_for("reader", namespace), name="reader"
    )
    cluster.wait_for(lambda: reader.metric("rollonce_rollout_patches_total", outcome="refused") >= 3)
    reader.kill()
    assert set(shop.generations().values()) == {1}
    with Controller.start(cluster, tmp_path, namespace):
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
    assert set(shop.generations().values()) == {2}


def test_two_leaders_write_each_change_once(cluster: ControlPlane, tmp_path: Path) -> None:
    """If two controllers lead at the same time, each change is one generation: the later patch is a conflict."""
    shop = new_namespace(cluster, "two")
    cluster.apply([config_map("app", color="0"), *deployments(20, configmaps="app")], namespace=shop.namespace)
    with (
        Controller.start(cluster, tmp_path, shop.namespace, "--controller-lease=first", name="first") as first,
        Controller.start(cluster, tmp_path, shop.namespace, "--controller-lease=second", name="second") as second,
    ):
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        for color in ("1", "2"):
            cluster.apply(config_map("app", color=color), namespace=shop.namespace)
            shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        first.is_idle()
        second.is_idle()
    assert set(shop.generations().values()) == {4}


def test_a_killed_api_server_delays_rollouts(cluster: ControlPlane, tmp_path: Path) -> None:
    """After a restart of the API server during a wave, each workload has been written once."""
    shop = new_namespace(cluster, "outage")
    cluster.apply([config_map("app", color="0"), *deployments(30, configmaps="app")], namespace=shop.namespace)
    with Controller.start(cluster, tmp_path, shop.namespace) as controller:
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        cluster.apply(config_map("app", color="1"), namespace=shop.namespace)
        cluster.wait_for(lambda: controller.metric("rollonce_rollout_patches_total", outcome="written") > 30)
        cluster.restart(Component.APISERVER)
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
    assert set(shop.generations().values()) == {3}


def test_changes_beyond_the_watch_history_are_found(cluster: ControlPlane, tmp_path: Path) -> None:
    """After 410 Gone, a new list finds changed, deleted and created objects."""
    shop = new_namespace(cluster, "history")
    objects = [config_map("app", color="0"), secret("gone", a="b"), deployment("web", replicas=0, configmaps="app")]
    cluster.apply([*objects, deployment("late", replicas=0, configmaps="app")], namespace=shop.namespace)
    with Controller.start(cluster, tmp_path, shop.namespace) as controller:
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        controller.replica.process.freeze()
        cluster.apply(config_map("app", color="1"), namespace=shop.namespace)
        cluster.kubectl("delete", "deployment", "late", "-n", shop.namespace)
        cluster.apply(deployment("new", replicas=0, configmaps="app"), namespace=shop.namespace)
        cluster.compact()
        cluster.restart(Component.APISERVER)
        controller.replica.process.thaw()
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        assert controller.metric("rollonce_watch_failures_total", reason="gone") > 0
    assert shop.generations() == {"web": 3, "new": 2}
