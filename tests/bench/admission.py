"""The rate and latency of reviews: `python -m tests.bench admission [SECONDS]`.

One server process, called directly over TLS by keep-alive connections of this process, with a real API server and a
real Valkey behind it. CPU seconds are those of the server process, as reported by the operating system.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.load import generate, request
from tests.controlplane import ControlPlane
from tests.e2e.objects import config_map, deployment, run, secret
from tests.rollonce import Installation, Replica
from tests.valkey import Valkey

_CONNECTIONS = (1, 16)
_ONE_BATCH = 20_000


def review(kind: str, group: str, obj: dict[str, Any], *, old: dict[str, Any] | None = None) -> bytes:
    """Return a review as the API server sends it."""
    document = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": {"group": group, "version": "v1", "kind": kind},
            "operation": "UPDATE" if old else "CREATE",
            "name": obj["metadata"].get("name", ""),
            "namespace": "default",
            "object": obj,
            "oldObject": old,
            "dryRun": False,
            "userInfo": {"username": "writer", "groups": ["system:authenticated"]},
        },
    }
    return json.dumps(document).encode()


def large_deployment(*, secrets: str, configmaps: str = "") -> dict[str, Any]:
    """Return a Deployment of about 10 KB, so that a review with its old version has about 20 KB."""
    made = deployment(secrets=secrets, configmaps=configmaps)
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(110)]
    made["metadata"]["uid"] = str(uuid.uuid4())
    return made


def unchanged(_: int) -> list[bytes]:
    """Return an update of a Deployment without opt-in: the cost of HTTP, TLS, decoding and deciding."""
    made = large_deployment(secrets="")
    return [request("/mutate/deployments", review("Deployment", "apps", made, old=made))]


def with_reads(_: int) -> list[bytes]:
    """Return an update of a Deployment with a Secret and a ConfigMap: the same, with two live reads."""
    made = large_deployment(secrets="database", configmaps="settings")
    return [request("/mutate/deployments", review("Deployment", "apps", made, old=made))]


def new_runs(connection: int) -> list[bytes]:
    """Return creates of runs, each of another delivery: each makes a reservation in Redis."""
    requests = []
    for number in range(_ONE_BATCH):
        made = run(f"{connection}-{uuid.uuid4()}", name=f"run-{connection}-{number}")
        made["metadata"] |= {"uid": str(uuid.uuid4()), "namespace": "default"}
        requests.append(
            request("/validate/orchestrationruns", review("OrchestrationRun", "orchestration.proompteng.ai", made))
        )
    return requests


SCENARIOS: dict[str, Callable[[int], list[bytes]]] = {
    "Deployment, nothing to read (21 KB)": unchanged,
    "Deployment, two live reads (21 KB)": with_reads,
    "OrchestrationRun, new delivery": new_runs,
}


def main(arguments: list[str]) -> int:
    """Measure each scenario and print a table."""
    seconds = float(arguments[0]) if arguments else 5.0
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane.start() as plane,
        Valkey.start(Path(folder) / "valkey") as store,
        Installation.start(plane, Path(folder) / "servers", redis_url=store.url, register=False) as installation,
    ):
        plane.apply([secret("database", password="x"), config_map("settings", a="b")], namespace="default")
        replica = installation.replicas[0]
        plane.wait_for(lambda: replica.metric("rollonce_dedupe_unsynced_buckets") == 0, what="the store to be synced")
        print(
            f"{'scenario':40} {'connections':>11} {'requests/s':>11} {'per CPU s':>10}"
            f" {'p50 ms':>8} {'p99 ms':>8} failed"
        )
        for name, make in SCENARIOS.items():
            for connections in _CONNECTIONS:
                requests = [make(connection) for connection in range(connections)]
                print(f"{name:40} {connections:11} {_measure(requests, installation, seconds)}")
        print(f"resident memory of the server: {_resident(replica) / 1e6:.0f} MB")
    return 0


def _measure(requests: list[list[bytes]], installation: Installation, seconds: float) -> str:
    replica = installation.replicas[0]
    before = replica.metric("process_cpu_seconds_total")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(generate(replica.port, installation.trust, requests, seconds=seconds))
    cpu = replica.metric("process_cpu_seconds_total") - before
    return (
        f"{load.rate:11.0f} {len(load.latencies) / cpu:10.0f}"
        f" {load.quantile(0.5):8.2f} {load.quantile(0.99):8.2f} {load.failed}"
    )


def _resident(replica: Replica) -> float:
    return replica.metric("process_resident_memory_bytes")
