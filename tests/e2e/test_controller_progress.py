"""Rolling a limited number at a time past workloads that do not become available, are paused, or cannot be written."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.controllers import Controller, WatchHistory, Workloads, annotations_of, checksum_of, pods_refused
from tests.e2e.objects import PREFIX, Object, deployment, secret
from tests.e2e.test_controller_waves import KEY, impatient, is_rolling, reasons, rolled, slow
from tests.rollonce import command
from tests.webhook.checksums.cluster import serving
from webhook.checksums.settings import ChecksumSettings
from webhook.kube.client import KubernetesClient, load_configuration

pytestmark = pytest.mark.cluster

ONE = "--rollout-checksums-max-concurrent=1"
SOON = "--rollout-checksums-progress-deadline=6s"


def workload(kind: str, name: str) -> Object:
    """Return a workload of a kind without a progress deadline of its own."""
    made = deployment(name, kind=kind, secrets="db")
    if kind == "DaemonSet":
        del made["spec"]["replicas"]
    return made


def checksum_now(plane: ControlPlane, namespace: str, kind: str, name: str) -> str:
    """Return the checksum in the pod template of a workload."""
    return annotations_of(plane.get(kind, name, namespace)).get(KEY, "")


def test_paused_workloads_take_up_no_place(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """They get their checksums at once, and others roll on; resumed, they roll with them."""
    shop = rolled(plane, namespace, tmp_path, *(deployment(name, secrets="db") for name in "abcde"))
    before = shop.revisions()
    for name in "abc":
        plane.kubectl("rollout", "pause", f"deployment/{name}", "-n", namespace)
    with Controller.start(plane, tmp_path, namespace, ONE):
        plane.apply(secret("db", password="two"), namespace=namespace)
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        plane.kubectl("rollout", "status", "deployment/e", "-n", namespace, "--timeout=30s")
        plane.wait_for(lambda: "ConfigChanged" in reasons(plane, namespace, "a"), what="the Event")
    assert reasons(plane, namespace, "a")["ConfigChanged"].endswith("rolled out when it is resumed.")
    assert shop.revisions() == before | {name: before[name] + 1 for name in "de"}


@pytest.mark.parametrize("kind", ["DaemonSet", "StatefulSet"])
def test_a_rollout_without_progress_counts_as_failed(
    plane: ControlPlane, namespace: str, tmp_path: Path, kind: str
) -> None:
    """It stops the others and says so, also by a controller that came later; `resume` lets them go on."""
    rolled(plane, namespace, tmp_path, workload(kind, "a"), workload(kind, "b"))
    old, new = checksum_of(password="one"), checksum_of(password="two")
    first = Controller.start(plane, tmp_path, namespace, ONE, SOON, name="first")
    with pods_refused(plane, namespace, KEY, new):
        plane.apply(secret("db", password="two"), namespace=namespace)

        def record() -> str:
            annotations: dict[str, str] = plane.get(kind, "a", namespace)["metadata"]["annotations"]
            return annotations.get(PREFIX + "progress", "")

        since = plane.wait_for(record, what="a record of the lack of progress")
        first.kill()
        assert "RolloutStalled" not in reasons(plane, namespace, "a")
        with Controller.start(plane, tmp_path, namespace, ONE, SOON) as controller:
            plane.wait_for(lambda: "RolloutStopped" in reasons(plane, namespace, "a"), what="the stop")
            assert "RolloutStalled" in reasons(plane, namespace, "a")
            assert controller.metric("rollonce_rollout_noticed_total", what="stalled") == 1
            assert controller.metric("rollonce_rollout_stopped", namespace=namespace) == 1
            assert record() == since
            assert [checksum_now(plane, namespace, kind, name) for name in "ab"] == [new, old]
            settings = tmp_path / "settings.yaml"
            settings.write_text(json.dumps({"rolloutChecksums": {"access": "cluster", "maxConcurrent": 1}}))
            resume = ("checksums", "resume", f"{kind}/a", "-n", namespace, f"--config={settings}")
            assert "others go on" in rollonce(plane, *resume, SOON)
            plane.wait_for(lambda: checksum_now(plane, namespace, kind, "b") == new, what="the next one")


def rollonce(plane: ControlPlane, *arguments: str) -> str:
    """Run a command of rollonce as an administrator of the cluster."""
    return command(*arguments, f"--kubeconfig={plane.kubeconfig}")


def test_a_workload_that_was_broken_before_is_not_blamed(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """Its image cannot start; it fails again with new contents, also with hasty ones, and all others get them."""
    shop = rolled(plane, namespace, tmp_path, impatient("a"), *(deployment(name, secrets="db") for name in "bc"))
    nowhere = '{"spec":{"template":{"spec":{"nodeSelector":{"no":"where"}}}}}'
    plane.kubectl("patch", "deployment", "a", "-n", namespace, "-p", nowhere)
    failed = "jsonpath={.status.conditions[?(@.type=='Progressing')].reason}=ProgressDeadlineExceeded"
    plane.kubectl("wait", "deployment/a", "-n", namespace, f"--for={failed}", "--timeout=30s")
    with Controller.start(plane, tmp_path, namespace, ONE) as controller:
        for password in ("two", "three"):
            plane.apply(secret("db", password=password), namespace=namespace)
            # It gets the second contents while it rolls with the first. The others get them when it has failed again.
            shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        assert controller.metric("rollonce_rollout_noticed_total", what="stopped") == 0
    assert "RolloutStopped" not in reasons(plane, namespace, "a")


def test_removed_checksums_are_rolled_out_within_the_bound(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """When the operator's list no longer has the object, at most two workloads roll at a time."""
    settings = tmp_path / "settings.yaml"

    def choose(*secrets: str) -> None:
        file = tmp_path / "new.yaml"
        file.write_text(json.dumps({"rolloutChecksums": {"enabled": True, "secrets": [*secrets]}}))
        file.replace(settings)

    choose("db")
    listed = [slow(name) for name in "abcde"]
    for one in listed:
        del one["metadata"]["annotations"]
        one["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "db"}}]
    plane.apply([secret("db", password="one"), *listed], namespace=namespace)
    limit = "--rollout-checksums-max-concurrent=2"
    with Controller.start(plane, tmp_path, namespace, f"--config={settings}", limit) as controller:
        shop = Workloads(plane, namespace)
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        plane.kubectl("wait", "--for=condition=Available", "deployment", "--all", "-n", namespace, "--timeout=30s")
        controller.is_idle()
        with WatchHistory(plane, namespace, tmp_path) as history:
            choose()
            plane.wait_for(lambda: set(shop.checksums(KEY).values()) == {""}, what="the keys to go")
    assert 1 <= max(sum(map(is_rolling, workloads.values())) for _, workloads in history.states()) <= 2


async def test_a_write_that_is_undone_is_told_and_tried_again(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Webhooks that are sent the writes of the controller restore the old checksum: nothing has rolled out."""
    key = "checksum/secret.cache"
    shop = Workloads(plane, namespace)

    def start() -> Controller:
        plane.apply([secret("cache", password="one"), deployment(secrets="cache")], namespace=namespace)
        started = Controller.start(plane, tmp_path, namespace, ONE)
        shop.wait_for_checksums(key, shop.current("secret", "cache"))
        return started

    def change(controller: Controller) -> None:
        plane.apply(secret("cache", password="two"), namespace=namespace)
        plane.wait_for(lambda: "RolloutReverted" in reasons(plane, namespace, "web"), what="the Event")
        assert shop.checksums(key) == {"web": checksum_of(password="one")}
        assert controller.metric("rollonce_rollout_patches_total", outcome="reverted") >= 1
        assert controller.metric("rollonce_rollout_patches_total", outcome="written") == 1

    api = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="tests")
    controller = await asyncio.to_thread(start)
    with controller:
        async with serving(plane, namespace, api, tmp_path) as cluster:
            cluster.settings = ChecksumSettings(max_concurrent=1)
            await asyncio.to_thread(change, controller)
        await asyncio.to_thread(shop.wait_for_checksums, key, checksum_of(password="two"))
    await api.close()
