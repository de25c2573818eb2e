"""Rolling a limited number of workloads at a time: which of them roll and wait, and the effect of a failure."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.controllers import Controller, WatchHistory, Workloads, annotations_of, checksum_of, pods_refused
from tests.e2e.objects import Object, deployment, secret

pytestmark = pytest.mark.cluster

KEY = "checksum/secret.db"


def slow(name: str) -> Object:
    """Return a Deployment whose rollout takes at least a second."""
    made = deployment(name, secrets="db")
    made["spec"]["minReadySeconds"] = 1
    return made


def impatient(name: str) -> Object:
    """Return a Deployment whose rollout soon counts as failed if it makes no progress."""
    made = deployment(name, secrets="db")
    made["spec"]["progressDeadlineSeconds"] = 1
    return made


def rolling(shop: Workloads, current: str) -> list[str]:
    """Return the workloads that have the current checksum and are not available with it yet."""
    found = []
    for name, item in shop.all().items():
        status = item["status"]
        done = (
            status.get("observedGeneration", 0) >= item["metadata"]["generation"]
            and status.get("updatedReplicas", 0) == status.get("availableReplicas", 0) == status.get("replicas", 0) == 1
        )
        if annotations_of(item).get(KEY) == current and not done:
            found.append(name)
    return found


def test_two_roll_at_a_time_also_after_a_restart(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """At most two of five workloads roll at a time, although the controller is killed during the wave."""
    shop = Workloads(plane, namespace)
    plane.apply([secret("db", password="one"), *map(slow, "abcde")], namespace=namespace)
    with Controller.start(plane, tmp_path, namespace, name="before") as first:
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        plane.kubectl("rollout", "status", "deployment/a", "-n", namespace, "--timeout=30s")
        first.kill()
    before = shop.revisions()
    plane.kubectl("wait", "--for=condition=Available", "deployment", "--all", "-n", namespace, "--timeout=30s")
    limit = "--rollout-checksums-max-concurrent=2"
    controller = Controller.start(plane, tmp_path, namespace, limit, name="one")
    plane.apply(secret("db", password="two"), namespace=namespace)
    current = shop.current("secret", "db")
    most, restarted = 0, False
    deadline = time.monotonic() + 60
    while [*shop.checksums(KEY).values()] != [current] * 5:
        assert time.monotonic() < deadline
        now = len(rolling(shop, current))
        most = max(most, now)
        if now and not restarted:
            restarted = True
            controller.kill()
            controller = Controller.start(plane, tmp_path, namespace, limit, name="two", wait=False)
    with controller:
        controller.is_idle()
    assert restarted
    assert 1 <= most <= 2
    assert shop.revisions() == {name: revision + 1 for name, revision in before.items()}


def rolled(plane: ControlPlane, namespace: str, folder: Path, *workloads: Object) -> Workloads:
    """Create workloads and the Secret `db`, and wait until a controller has written checksums and all are available."""
    shop = Workloads(plane, namespace)
    plane.apply([secret("db", password="one"), *workloads], namespace=namespace)
    with Controller.start(plane, folder, namespace, name="before") as controller:
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        controller.is_idle()
    plane.kubectl("delete", "lease", "--all", "-n", namespace)
    for workload in workloads:
        name = f"{workload['kind']}/{workload['metadata']['name']}"
        plane.kubectl("rollout", "status", name, "-n", namespace, "--timeout=30s")
    return shop


def is_rolling(item: Object) -> bool:
    """Return whether a Deployment is not available with its present pod template, by its status alone."""
    spec, status = item["spec"], item.get("status", {})
    observed = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return not spec.get("paused") and not (observed and counts == [spec["replicas"]] * 3)


def test_hasty_changes_keep_the_bound(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """At most two workloads roll at a time, whatever contents they roll with, although the contents change again."""
    shop = rolled(plane, namespace, tmp_path, *map(slow, "abcdef"))
    current, most = "", 0
    with (
        Controller.start(plane, tmp_path, namespace, "--rollout-checksums-max-concurrent=2") as controller,
        WatchHistory(plane, namespace, tmp_path) as history,
    ):
        for number in range(4):
            plane.apply(secret("db", password=f"hasty-{number}"), namespace=namespace)
            current = shop.current("secret", "db")
            plane.wait_for(lambda: current in shop.checksums(KEY).values(), what="a workload to roll")  # noqa: B023
        shop.wait_for_checksums(KEY, current)
        controller.is_idle()
        for _, workloads in history.states():
            most = max(most, sum(map(is_rolling, workloads.values())))
    assert 1 <= most <= 2


def test_a_failed_rollout_stops_the_wave(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """No other workload rolls and an Event says so, until the failed rollout recovers."""
    shop = rolled(plane, namespace, tmp_path, impatient("a"), impatient("b"))
    old = shop.current("secret", "db")
    with Controller.start(plane, tmp_path, namespace, "--rollout-checksums-max-concurrent=1") as controller:
        with pods_refused(plane, namespace, KEY, checksum_of(password="two")):
            plane.apply(secret("db", password="two"), namespace=namespace)
            current = shop.current("secret", "db")
            plane.wait_for(lambda: controller.metric("rollonce_rollout_stopped", namespace=namespace) == 1)
            assert shop.checksums(KEY) == {"a": current, "b": old}
            plane.wait_for(lambda: "RolloutStopped" in reasons(plane, namespace, "a"), what="the Event")
        shop.wait_for_checksums(KEY, current)
        plane.wait_for(lambda: controller.metric("rollonce_rollout_stopped", namespace=namespace) == 0)


def reasons(plane: ControlPlane, namespace: str, name: str) -> dict[str, str]:
    """Return the messages of the Events on a Deployment, by reason."""
    listed = plane.kubectl(
        "get", "events", "-n", namespace, "--field-selector", f"involvedObject.name={name}", "-o", "json"
    )
    return {item["reason"]: item["message"] for item in json.loads(listed.stdout)["items"]}
