"""The controller's side of checksums while things break: no change is lost, and nothing rolls for nothing."""

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
    """A control plane of its own, whose API server is killed."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        yield running


def fresh(plane: ControlPlane, name: str) -> Workloads:
    """A namespace of its own."""
    plane.kubectl("create", "namespace", name)
    return Workloads(plane, name)


def many(count: int, **opt_in: str) -> list[Object]:
    """Deployments without pods: what is counted are their generations."""
    return [deployment(f"web-{number:02}", replicas=0, **opt_in) for number in range(count)]


def test_fifty_on_one_config_map(cluster: ControlPlane, tmp_path: Path) -> None:
    """Each change reaches all of them, each by one write and one read."""
    shop = fresh(cluster, "fifty")
    cluster.apply([config_map("app", color="0"), *many(50, configmaps="app")], namespace=shop.namespace)
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


def test_ten_writers_over_fifty_pairs(cluster: ControlPlane, tmp_path: Path) -> None:
    """The final state is right, and there is no generation that changed nothing."""
    shop = fresh(cluster, "writers")
    pairs = [(f"app-{number}", f"web-{number:02}") for number in range(50)]
    objects = [config_map(name, value="0") for name, _ in pairs]
    objects += [deployment(web, replicas=0, configmaps=name) for name, web in pairs]
    cluster.apply(objects, namespace=shop.namespace)
    chance = random.Random(4)
    changes = [[(chance.choice(pairs)[0], str(chance.random())) for _ in range(12)] for _ in range(10)]

    def write(mine: list[tuple[str, str]]) -> None:
        for name, value in mine:
            cluster.kubectl(
                *("patch", "configmap", name, "-n", shop.namespace, "--type=merge"),
                *("-p", f'{{"data":{{"value":"{value}"}}}}'),
            )

    with Controller.start(cluster, tmp_path, shop.namespace) as controller:
        with ThreadPoolExecutor(10) as writers:
            list(writers.map(write, changes))
        controller.is_idle()
        written = controller.metric("rollonce_rollout_patches_total", outcome="written")
    carried = {name: item["spec"]["template"]["metadata"]["annotations"] for name, item in shop.all().items()}
    for name, web in chance.sample(pairs, 10):
        assert carried[web] == {f"checksum/configmap.{name}": shop.current("configmap", name)}
    before = shop.generations()
    assert sum(before.values()) == 50 + written
    with Controller.start(cluster, tmp_path, shop.namespace, "--controller-lease=another", name="again") as controller:
        cluster.wait_for(lambda: controller.metric("rollonce_checksum_reads_total") >= 50, what="all to be looked at")
        controller.is_idle()
        assert controller.metric("rollonce_rollout_patches_total") == 0
    assert shop.generations() == before


def test_killed_between_read_and_patch(cluster: ControlPlane, tmp_path: Path) -> None:
    """The one that could read and not write is killed; the next one finds what is to be done."""
    shop = fresh(cluster, "killed")
    namespace = shop.namespace
    cluster.apply([config_map("app", color="0"), *many(3, configmaps="app")], namespace=namespace)
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


def test_two_at_once(cluster: ControlPlane, tmp_path: Path) -> None:
    """Even if both believe that they lead, each change is one generation: one of both writes comes too late."""
    shop = fresh(cluster, "two")
    cluster.apply([config_map("app", color="0"), *many(20, configmaps="app")], namespace=shop.namespace)
    with (
        Controller.start(cluster, tmp_path, shop.namespace, "--controller-lease=one", name="one") as one,
        Controller.start(cluster, tmp_path, shop.namespace, "--controller-lease=two", name="two") as two,
    ):
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        for color in ("1", "2"):
            cluster.apply(config_map("app", color=color), namespace=shop.namespace)
            shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        one.is_idle()
        two.is_idle()
    assert set(shop.generations().values()) == {4}


def test_the_api_server_is_killed_in_the_middle(cluster: ControlPlane, tmp_path: Path) -> None:
    """All roll in the end, each once."""
    shop = fresh(cluster, "outage")
    cluster.apply([config_map("app", color="0"), *many(30, configmaps="app")], namespace=shop.namespace)
    with Controller.start(cluster, tmp_path, shop.namespace) as controller:
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
        cluster.apply(config_map("app", color="1"), namespace=shop.namespace)
        cluster.wait_for(lambda: controller.metric("rollonce_rollout_patches_total", outcome="written") > 30)
        cluster.restart(Component.APISERVER)
        shop.wait_for_checksums(KEY, shop.current("configmap", "app"))
    assert set(shop.generations().values()) == {3}


def test_cut_off_for_longer_than_the_watch_history(cluster: ControlPlane, tmp_path: Path) -> None:
    """What changed, came and went while it could not see is found by a new list after 410 Gone."""
    shop = fresh(cluster, "history")
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
