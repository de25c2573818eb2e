"""Freeze one of two servers under load: which writes fail or wait, with the probes of before and of the manifests.

python -m tests.bench frozen [--seconds 60] [--rate 20] [--timeout 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tests.controlplane import ControlPlane
from tests.e2e.objects import run
from tests.e2e.raw import RUNS_PATH, RawClient, raw_client
from tests.probes import Kubelet, Probe
from tests.rollonce import ROOT, Installation
from tests.valkey import Valkey
from webhook.errors import KubernetesError

NAMESPACE: Final = "default"
#: The probes that the manifests had before this was measured.
BEFORE: Final = (Probe("/readyz", 2, 1, 3, 40), Probe("/livez", 10, 5, 3, 40))


@dataclass(frozen=True, slots=True)
class Write:
    """One create of a run.

    Attributes:
        at: Seconds after the freeze.
        took: Seconds until the answer.
        status: The HTTP status; 0 if there was none.
    """

    at: float
    took: float
    status: int


def manifest_probes() -> tuple[Probe, Probe]:
    """Return the readiness and the liveness probe of the manifests."""
    pod = yaml.safe_load((ROOT / "deploy" / "manifests" / "serve.yaml").read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    grace = pod["terminationGracePeriodSeconds"]
    return Probe.of(container, "readinessProbe", grace=grace), Probe.of(container, "livenessProbe", grace=grace)


async def write(client: RawClient, number: int, frozen_at: float) -> Write:
    """Create a run with a name of its own."""
    started = time.monotonic()
    manifest = run(f"{started}-{number}", name=f"run-{time.time_ns()}-{number}")
    try:
        status = (await client.create(RUNS_PATH.format(NAMESPACE), manifest)).status
    except KubernetesError:
        status = 0
    return Write(started - frozen_at, time.monotonic() - started, status)


@dataclass(frozen=True, slots=True)
class Rate:
    """How writes come.

    Attributes:
        per_second: Writes a second.
        burst: How many come at the same time.
    """

    per_second: float
    burst: int


async def load(kubeconfig: Path, *, rate: Rate, seconds: float, frozen_at: float) -> list[Write]:
    """Create runs at a constant rate, however long each takes."""
    tasks = []
    async with raw_client(kubeconfig, connections=1000) as client, asyncio.TaskGroup() as group:
        for number in range(int(rate.per_second * seconds)):
            tasks.append(group.create_task(write(client, number, frozen_at)))
            if number % rate.burst == rate.burst - 1:
                await asyncio.sleep(rate.burst / rate.per_second)
    return [task.result() for task in tasks]


def set_timeout(plane: ControlPlane, seconds: int) -> None:
    """Set the timeout of every webhook."""
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        count = len(plane.get(kind, "rollonce")["webhooks"])
        patch = [
            {"op": "replace", "path": f"/webhooks/{index}/timeoutSeconds", "value": seconds} for index in range(count)
        ]
        plane.kubectl("patch", kind, "rollonce", "--type=json", "--patch", json.dumps(patch))


def measure(installation: Installation, probes: tuple[Probe, Probe], *, rate: Rate, seconds: float) -> str:
    """Freeze a server and return a line about the writes of the following seconds."""
    readiness, liveness = probes
    frozen = installation.replicas[0]
    kubelet = Kubelet(installation.replicas, installation.balancer, readiness=readiness, liveness=liveness)
    with kubelet:
        asyncio.run(load(installation.plane.kubeconfig, rate=rate, seconds=3, frozen_at=time.monotonic()))
        os.kill(frozen.process.pid, signal.SIGSTOP)
        at = time.monotonic()
        writes = asyncio.run(load(installation.plane.kubeconfig, rate=rate, seconds=seconds, frozen_at=at))
        frozen.process.wait_ready()
    failed = [one for one in writes if one.status != 201]
    last = max((one.at for one in failed), default=0.0)
    slow = sum(one.took > 1 for one in writes)
    events = ", ".join(f"{what} after {when - at:.1f} s" for when, what in kubelet.happened if when > at)
    return (
        f"{len(failed)} of {len(writes)} failed, {slow} took more than 1 s, the last that failed began after "
        f"{last:.1f} s; {events}"
    )


def main(arguments: list[str]) -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="frozen", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--burst", type=int, default=30)
    parser.add_argument("--timeout", type=int, nargs="*", default=[5])
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane.start() as plane,
        Valkey.start(Path(folder) / "valkey") as store,
        Installation.start(
            plane, Path(folder) / "servers", redis_url=store.url, replicas=2, settings=("--drain=15s",)
        ) as installation,
    ):
        for timeout in given.timeout:
            set_timeout(plane, timeout)
            for name, probes in (("before", BEFORE), ("manifests", manifest_probes())):
                print(f"{name}, timeout {timeout} s: ", end="", flush=True)
                print(
                    measure(installation, probes, rate=Rate(given.rate, given.burst), seconds=given.seconds), flush=True
                )
