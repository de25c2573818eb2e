"""Checksums written by the controller only: these tests run no admission server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.controllers import Controller, Workloads, annotations_of
from tests.e2e.objects import PREFIX, config_map, deployment, secret
from tests.e2e.test_checksums import computed_checksum

pytestmark = pytest.mark.cluster

KEY = "checksum/secret.db"


@pytest.fixture
def shop(plane: ControlPlane, namespace: str) -> Workloads:
    """Create a Secret, a ConfigMap, and a Deployment that names both."""
    objects = [secret("db", password="one"), config_map("app", color="blue")]
    plane.apply([*objects, deployment(secrets="db", configmaps="app")], namespace=namespace)
    return Workloads(plane, namespace)


@pytest.fixture
def rolled(shop: Workloads, tmp_path: Path) -> Workloads:
    """Create the same, with checksums that a controller has written; the controller has ended."""
    with Controller.start(shop.plane, tmp_path, shop.namespace, name="before"):
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
    shop.plane.kubectl("delete", "lease", "--all", "-n", shop.namespace)
    return shop


def test_a_change_of_a_secret_rolls_the_deployment(shop: Workloads, tmp_path: Path) -> None:
    """Each change causes one rollout, and `rollout status` and `rollout history` work."""
    with Controller.start(shop.plane, tmp_path, shop.namespace):
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        shop.plane.apply(secret("db", password="two"), namespace=shop.namespace)
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        shop.plane.kubectl("rollout", "status", "deployment/web", "-n", shop.namespace, "--timeout=30s")
    history = shop.plane.kubectl("rollout", "history", "deployment/web", "-n", shop.namespace).stdout
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2", "3"]


def test_changes_at_the_same_time_cause_one_rollout(rolled: Workloads, tmp_path: Path) -> None:
    """A Secret and a ConfigMap that change in one apply cause one new ReplicaSet."""
    before = rolled.revisions()["web"]
    with Controller.start(rolled.plane, tmp_path, rolled.namespace, "--rollout-checksums-settle=1s"):
        changed = [secret("db", password="two"), config_map("app", color="red")]
        rolled.plane.apply(changed, namespace=rolled.namespace)
        rolled.wait_for_checksums(KEY, rolled.current("secret", "db"))
        rolled.wait_for_checksums("checksum/configmap.app", rolled.current("configmap", "app"))
        rolled.plane.wait_for(lambda: rolled.revisions()["web"] > before, what="the new revision")
    assert rolled.revisions() == {"web": before + 1}


def test_a_restart_of_the_controller_rolls_nothing(rolled: Workloads, tmp_path: Path) -> None:
    """A controller that starts does not write workloads whose checksums are current."""
    before = rolled.all()
    with Controller.start(rolled.plane, tmp_path, rolled.namespace) as controller:
        rolled.plane.wait_for(
            lambda: controller.metric("rollonce_checksum_reads_total") >= 2, what="both objects to be read"
        )
        controller.is_idle()
        assert controller.metric("rollonce_rollout_patches_total") == 0
    assert {name: item["metadata"]["generation"] for name, item in before.items()} == rolled.generations()


def test_a_change_without_a_controller_is_found_at_its_start(rolled: Workloads, tmp_path: Path) -> None:
    """The controller compares the current states at its start, so it needs no event."""
    rolled.plane.apply(secret("db", password="two"), namespace=rolled.namespace)
    with Controller.start(rolled.plane, tmp_path, rolled.namespace):
        rolled.wait_for_checksums(KEY, rolled.current("secret", "db"))


def test_changes_of_metadata_roll_nothing(rolled: Workloads, tmp_path: Path) -> None:
    """New labels of a Secret and a ConfigMap cause reads and no patch."""
    before = rolled.generations()
    with Controller.start(rolled.plane, tmp_path, rolled.namespace) as controller:
        for number in range(5):
            rolled.plane.kubectl(
                "label", "secret/db", "configmap/app", f"a=b{number}", "--overwrite", "-n", rolled.namespace
            )
        rolled.plane.wait_for(
            lambda: controller.metric("rollonce_checksum_reads_total") >= 4, what="the objects to be read"
        )
        controller.is_idle()
        assert controller.metric("rollonce_rollout_patches_total") == 0
    assert rolled.generations() == before


def test_a_deleted_source_rolls_nothing(rolled: Workloads, tmp_path: Path) -> None:
    """A deletion keeps the checksum; a new object causes a rollout only if its contents differ."""
    plane, namespace = rolled.plane, rolled.namespace
    before = rolled.revisions()["web"]
    with Controller.start(plane, tmp_path, namespace) as controller:
        plane.kubectl("delete", "secret", "db", "-n", namespace)
        plane.wait_for(lambda: controller.metric("rollonce_rollout_noticed_total", what="disappeared") == 1)
        plane.apply(secret("db", password="one"), namespace=namespace)
        plane.wait_for(lambda: controller.metric("rollonce_checksum_reads_total", outcome="found") >= 3)
        controller.is_idle()
        assert rolled.revisions() == {"web": before}
        plane.kubectl("delete", "secret", "db", "-n", namespace)
        plane.apply(secret("db", password="other"), namespace=namespace)
        rolled.wait_for_checksums(KEY, rolled.current("secret", "db"))
        controller.is_idle()
    assert rolled.revisions() == {"web": before + 1}


def test_an_opt_out_without_a_server_is_handled_by_the_controller(rolled: Workloads, tmp_path: Path) -> None:
    """The managed keys are removed, and the key of another tool stays."""
    plane, namespace = rolled.plane, rolled.namespace
    unmanaged = '{"spec":{"template":{"metadata":{"annotations":{"checksum/config":"unmanaged"}}}}}'
    plane.kubectl("patch", "deployment", "web", "-n", namespace, "-p", unmanaged)
    plane.kubectl("annotate", "deployment", "web", f"{PREFIX}enabled=false", "-n", namespace)
    with Controller.start(plane, tmp_path, namespace):
        plane.wait_for(lambda: annotations_of(rolled.all()["web"]) == {"checksum/config": "unmanaged"})
    assert PREFIX + "managed" not in rolled.all()["web"]["metadata"]["annotations"]


def test_a_change_of_the_operator_list_needs_no_restart(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """When the settings file changes, workloads that reference a listed object are opted in or out."""
    settings = tmp_path / "settings.yaml"
    web = deployment()
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "db"}}]
    plane.apply([secret("db", password="one"), web, deployment("other")], namespace=namespace)
    shop = Workloads(plane, namespace)

    def choose(*secrets: str, enabled: bool = True) -> None:
        new_file = tmp_path / "new.yaml"
        new_file.write_text(json.dumps({"rolloutChecksums": {"enabled": enabled, "secrets": [*secrets]}}))
        new_file.replace(settings)

    choose("db", enabled=False)
    with Controller.start(plane, tmp_path, namespace, f"--config={settings}"):
        choose("db")
        shop.wait_for_checksums(KEY, shop.current("secret", "db"), ["web"])
        assert annotations_of(shop.all()["other"]) == {}
        settings.write_text("rolloutChecksums: {secrets: 7}")
        plane.apply(secret("db", password="two"), namespace=namespace)
        shop.wait_for_checksums(KEY, shop.current("secret", "db"), ["web"])
        choose("another")
        plane.wait_for(lambda: annotations_of(shop.all()["web"]) == {}, what="the key to go")


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_kinds_roll(plane: ControlPlane, namespace: str, tmp_path: Path, kind: str) -> None:
    """StatefulSets and DaemonSets are opted in by the same annotations and roll at each change."""
    workload = deployment(kind=kind, secrets="db")
    if kind == "DaemonSet":
        del workload["spec"]["replicas"]
    plane.apply([secret("db", password="one"), workload], namespace=namespace)
    shop = Workloads(plane, namespace)
    with Controller.start(plane, tmp_path, namespace):
        for password in ("two", "three"):
            plane.apply(secret("db", password=password), namespace=namespace)
            current = {"web": shop.current("secret", "db")}
            plane.wait_for(lambda current=current: shop.checksums(KEY, f"{kind.lower()}s") == current)  # type: ignore[misc]
        plane.kubectl("rollout", "status", f"{kind.lower()}/web", "-n", namespace, "--timeout=30s")


def test_keyed_checksums_are_hmacs(shop: Workloads, tmp_path: Path) -> None:
    """The key is read from a Secret; if the Secret does not have it, the controller exits with 2."""
    plane, namespace = shop.plane, shop.namespace
    plane.apply(secret("key", hmac="0123456789abcdef"), namespace=namespace)
    with Controller.start(plane, tmp_path, namespace, "--rollout-checksums-key-secret=key/hmac"):
        plane.wait_for(lambda: shop.checksums(KEY)["web"], what="a checksum")
        assert shop.checksums(KEY)["web"] != computed_checksum(plane, "secret", "db", namespace)
    refused = Controller.start(
        plane, tmp_path, namespace, "--rollout-checksums-key-secret=key/absent", name="refused", wait=False
    )
    assert refused.replica.process.wait() == 2
    assert "key/absent cannot be read" in refused.replica.process.log_tail()


def test_an_object_that_changes_all_the_time_causes_few_rollouts(rolled: Workloads, tmp_path: Path) -> None:
    """The ceiling and the back-off limit the number of rollouts, and the last checksum is current."""
    before = rolled.revisions()["web"]
    pace = ("--rollout-checksums-settle=500ms", "--rollout-checksums-backoff=2s")
    with Controller.start(rolled.plane, tmp_path, rolled.namespace, *pace) as controller:
        changes = 0
        while controller.metric("rollonce_rollout_patches_total", outcome="written") < 2:
            changes += 1
            rolled.plane.apply(secret("db", password=str(changes)), namespace=rolled.namespace)
        rolled.wait_for_checksums(KEY, rolled.current("secret", "db"))
        controller.is_idle()
    assert rolled.revisions()["web"] - before <= 3 < changes
