"""Waves under random schedules, checked by everything that a watch has shown.

Contents change in haste, some of them break every workload, a Deployment is paused and resumed, controllers are killed.
`WAVE_SCHEDULES` is the number of schedules.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.controllers import Controller, WatchHistory, Workloads, annotations_of, checksum_of, pods_refused
from tests.e2e.objects import PREFIX, Object, deployment, secret
from tests.e2e.test_controller_waves import KEY, rolled

pytestmark = pytest.mark.cluster

LIMIT = 2
SETTINGS = (f"--rollout-checksums-max-concurrent={LIMIT}", "--rollout-checksums-progress-deadline=3s")
PLURALS = ("deployments", "statefulsets", "daemonsets")
#: It is paused and resumed by its author, so it can roll beyond the bound.
AUTHORS = "deployment/paused"
CHANGES = 6


def workloads() -> Iterator[Object]:
    """Yield workloads of all kinds, which take a second to become available and fail soon."""
    names = [*(("Deployment", f"web-{number}") for number in range(4)), ("Deployment", "paused")]
    for kind, name in [*names, ("StatefulSet", "store"), ("DaemonSet", "agent")]:
        made = deployment(name, kind=kind, secrets="db")
        made["spec"]["minReadySeconds"] = 1
        if kind == "Deployment":
            made["spec"]["progressDeadlineSeconds"] = 3
        if kind == "DaemonSet":
            del made["spec"]["replicas"]
        yield made


def rolls(item: Object) -> bool:
    """Return whether a workload may become available, and is not; by its status, and by what the controller records."""
    spec, status, metadata = item["spec"], item.get("status", {}), item["metadata"]
    failed = any(one.get("reason") == "ProgressDeadlineExceeded" for one in status.get("conditions", ()))
    if failed or spec.get("paused") or PREFIX + "progress" in metadata["annotations"]:
        return False
    if item["kind"] == "DaemonSet":
        desired, counts = status.get("desiredNumberScheduled", 0), ["updatedNumberScheduled", "numberAvailable"]
    else:
        desired, counts = spec["replicas"], ["replicas", "updatedReplicas", "availableReplicas"]
    observed = status.get("observedGeneration", 0) >= metadata["generation"]
    return not (observed and all(status.get(count, 0) == desired for count in counts))


@pytest.mark.parametrize("seed", range(int(os.environ.get("WAVE_SCHEDULES", "2"))))
def test_the_bound_is_kept_and_all_are_current_in_the_end(
    plane: ControlPlane, namespace: str, tmp_path: Path, seed: int
) -> None:
    """Whatever happens; and contents that break workloads reach no more of them than may roll at a time."""
    randomness = random.Random(seed)
    shop = rolled(plane, namespace, tmp_path, *workloads())
    passwords = [f"{seed}-{number}" for number in range(CHANGES)]
    bad = {checksum_of(password=password) for password in randomness.sample(passwords[:-1], 2)}
    with (
        pods_refused(plane, namespace, KEY, *sorted(bad)),
        WatchHistory(plane, namespace, tmp_path, PLURALS) as history,
    ):
        for half in (passwords[: CHANGES // 2], passwords[CHANGES // 2 :]):
            controller = Controller.start(plane, tmp_path, namespace, *SETTINGS, name=f"controller-{half[0]}")
            with controller:
                for password in half:
                    change(shop, password, randomness)
                if half[-1] == passwords[-1]:
                    finish(shop, passwords[-1])
                controller.kill()
    check(history, bad)


def change(shop: Workloads, password: str, randomness: random.Random) -> None:
    """Change the Secret, wait until some workloads have its contents, and let the author pause or resume one."""
    shop.plane.apply(secret("db", password=password), namespace=shop.namespace)
    current, wanted = checksum_of(password=password), randomness.randint(1, LIMIT)
    shop.plane.wait_for(lambda: reached(shop, current) >= wanted, what="workloads to get the contents")
    if verb := randomness.choice(["pause", "resume", ""]):
        shop.plane.kubectl("rollout", verb, AUTHORS, "-n", shop.namespace, check=False)


def finish(shop: Workloads, password: str) -> None:
    """Wait until all workloads are current and available."""
    current, all_of_them = checksum_of(password=password), sum(1 for _ in workloads())
    shop.plane.wait_for(lambda: reached(shop, current) == all_of_them, timeout=90, what="all to be current")
    shop.plane.kubectl("rollout", "resume", AUTHORS, "-n", shop.namespace, check=False)
    for kind, name in names(shop):
        shop.plane.kubectl("rollout", "status", f"{kind}/{name}", "-n", shop.namespace, "--timeout=60s")


def names(shop: Workloads) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each workload."""
    for plural in PLURALS:
        for name in shop.all(plural):
            yield plural.removesuffix("s"), name


def reached(shop: Workloads, checksum: str) -> int:
    """Return how many workloads have a checksum."""
    listed = shop.plane.kubectl("get", ",".join(PLURALS), "-n", shop.namespace, "-o", "json").stdout
    return sum(annotations_of(item).get(KEY) == checksum for item in json.loads(listed)["items"])


def check(history: WatchHistory, bad: set[str]) -> None:
    """Check what the watch has shown."""
    before: dict[str, str] = {}
    spread: dict[str, set[str]] = {checksum: set() for checksum in bad}
    for name, now in history.states():
        checksum = annotations_of(now[name]).get(KEY, "")
        if name in before and before[name] != checksum:
            rolling = [other for other, item in now.items() if other != AUTHORS and rolls(item)]
            assert len(rolling) <= LIMIT, (name, rolling)
            if checksum in bad and name != AUTHORS:
                spread[checksum].add(name)
        before[name] = checksum
    assert all(len(reached) <= LIMIT for reached in spread.values()), spread
