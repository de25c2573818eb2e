"""How fast one change reaches many: `python -m tests.bench fanout [--deployments 100,500] [--unrelated 0,200]`.

One ConfigMap, so many Deployments that depend on it, and so many megabytes of unrelated Secrets in the namespace, put
there by client-side `kubectl apply`. Times are the API server's own, from its audit log: from the answer to the write
of the ConfigMap to the answer to each patch. They include the settle time.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from tests.controlplane import ControlPlane
from tests.controlplane.audit import AuditEvent, AuditLog
from tests.e2e.controllers import Controller, Workloads
from tests.e2e.objects import Object, config_map, deployment

NAMESPACE = "fanout"
KEY = "checksum/configmap.app"
_SECRET_BYTES = 100_000
_BATCH = 50
_CHANGES = 3


def unrelated(megabytes: int) -> Iterator[list[Object]]:
    """Make Secrets of 100 kB, a batch at a time."""
    count = megabytes * 1_000_000 // _SECRET_BYTES
    for start in range(0, count, _BATCH):
        yield [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": f"unrelated-{number}"},
                "data": {"blob": base64.b64encode(os.urandom(_SECRET_BYTES * 3 // 4)).decode()},
            }
            for number in range(start, min(start + _BATCH, count))
        ]


def memory(pid: int) -> dict[str, float]:
    """Return the resident memory of a process now and at most, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(deployments: int, megabytes: int, replicas: int) -> None:
    """Measure one size on a control plane of its own."""
    with tempfile.TemporaryDirectory() as text, ControlPlane.start(Path(text) / "plane") as plane:
        plane.kubectl("create", "namespace", NAMESPACE)
        for batch in unrelated(megabytes):
            plane.apply(batch, namespace=NAMESPACE)
        objects = [deployment(f"web-{number:03}", replicas=replicas, configmaps="app") for number in range(deployments)]
        plane.apply([config_map("app", color="0"), *objects], namespace=NAMESPACE)
        shop = Workloads(plane, NAMESPACE)
        with Controller.start(
            plane,
            Path(text) / "controller",
            NAMESPACE,
            "--rollout-checksums-access=cluster",
            "--log-level=warning",
            wait=False,
        ) as controller:
            pid = controller.replica.process.pid
            shop.wait_for_checksums(KEY, shop.current("configmap", "app"), timeout=120)
            if replicas:
                plane.kubectl(
                    "wait", "--for=condition=Available", "deployment", "--all", "-n", NAMESPACE, "--timeout=300s"
                )
            for change in range(1, _CHANGES + 1):
                controller.is_idle()
                since, used = plane.audit.offset(), cpu_seconds(pid)
                plane.apply(config_map("app", color=str(change)), namespace=NAMESPACE)
                # Asking the API server would be a part of what is measured.
                plane.wait_for(partial(all_patched, plane.audit, since, deployments), timeout=300, what="the patches")
                report(deployments, megabytes, list(plane.audit.events(since=since)))
                print(f"    processor time of the controller: {cpu_seconds(pid) - used:.2f} s", flush=True)
            held = memory(pid)
            print(f"    memory: {held['VmRSS']:.1f} MB, at most {held['VmHWM']:.1f} MB", flush=True)


def all_patched(audit: AuditLog, since: int, count: int) -> bool:
    """Whether so many Deployments have been patched by us."""
    return sum(map(is_patch, audit.events(since=since, verb="patch", resource="deployments"))) >= count


def is_patch(event: AuditEvent) -> bool:
    """Whether it is a patch by us that was stored."""
    ours = event.user_agent.startswith("rollonce-controller") and event.object_ref.resource == "deployments"
    return ours and event.verb == "patch" and event.response_status.code == 200


def report(deployments: int, megabytes: int, events: list[AuditEvent]) -> None:
    """Print what one change took."""
    (changed,) = [
        moment(event) for event in events if event.verb == "patch" and event.object_ref.resource == "configmaps"
    ]
    ours = [event for event in events if event.user_agent.startswith("rollonce-controller") and event.verb != "watch"]
    patches = sorted(moment(event) - changed for event in ours if is_patch(event))
    requests = Counter(f"{event.verb} {event.object_ref.resource}" for event in ours)
    print(
        f"{deployments} Deployments, {megabytes} MB of Secrets: first patch after {patches[0]:.3f} s, "
        f"median {statistics.median(patches):.3f} s, last {patches[-1]:.3f} s; {len(patches)} patches; "
        f"{json.dumps(dict(requests))}",
        flush=True,
    )


def moment(event: AuditEvent) -> float:
    """Return when a request was answered, in seconds."""
    return datetime.fromisoformat(event.stage_timestamp).timestamp()


def main(arguments: list[str]) -> int:
    """Measure all sizes asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench fanout")
    parser.add_argument("--deployments", default="100,500", help="how many, separated by commas")
    parser.add_argument("--unrelated", default="0,200", help="megabytes of unrelated Secrets, separated by commas")
    parser.add_argument("--replicas", type=int, default=0, help="pods of each Deployment")
    given = parser.parse_args(arguments)
    for megabytes in map(int, given.unrelated.split(",")):
        for deployments in map(int, given.deployments.split(",")):
            measure(deployments, megabytes, given.replicas)
    return 0
