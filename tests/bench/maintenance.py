"""Planned maintenance: restart each part under load, and see which clients fail and how long they wait.

python -m tests.bench maintenance [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.controlplane import Component, ControlPlane
from tests.e2e.objects import Object, deployment, run, secret
from tests.e2e.raw import DEPLOYMENTS_PATH, RUNS_PATH, RawClient, body, raw_client
from tests.e2e.submitting import wait_until_synced
from tests.rollonce import Installation
from tests.valkey import Valkey
from webhook.errors import KubernetesError

NAMESPACE: Final = "default"
#: As kubectl: after 429 and 503 it waits as told, ten times; nothing else is repeated.
_ATTEMPTS: Final = 11
_RETRIED: Final = {429, 503}
_PERIOD_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one client fared.

    Attributes:
        status: The last HTTP status; 0 if the API server could not be reached.
        seconds: From the first request to the last answer.
    """

    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Client:
    """A kind of client.

    Attributes:
        name: For the table.
        path: Where it creates objects.
        manifest: Returns what the client with a number creates.
        expected: The status that is right.
    """

    name: str
    path: str
    manifest: Callable[[str], Object]
    expected: int


CLIENTS: Final = (
    Client("prefix", RUNS_PATH, lambda tag: run(f"p-{tag}", prefix="build-"), 201),
    Client("name", RUNS_PATH, lambda tag: run(f"n-{tag}", name=f"run-{tag}"), 201),
    Client("duplicate", RUNS_PATH, lambda tag: run("seed", name=f"again-{tag}"), 409),
    Client("Deployment", DEPLOYMENTS_PATH, lambda tag: deployment(f"web-{tag}", replicas=0, secrets="database"), 201),
)


async def create(raw: RawClient, client: Client, tag: str) -> Outcome:
    """Create an object as kubectl does, and wait for the API server itself while it is being restarted."""
    started, status = time.monotonic(), 0
    for _ in range(_ATTEMPTS):
        try:
            reply = await raw.create(client.path.format(NAMESPACE), client.manifest(tag))
        except KubernetesError:
            status = 0
            await asyncio.sleep(1)
            continue
        status = reply.status
        if status not in _RETRIED:
            break
        await asyncio.sleep(float(body(reply).get("details", {}).get("retryAfterSeconds", 1)))
    return Outcome(status, time.monotonic() - started)


async def load(
    plane: ControlPlane, part: str, seconds: float, maintain: Callable[[], None]
) -> dict[str, list[Outcome]]:
    """Create objects of each kind at a steady rate, and do the maintenance meanwhile."""
    tasks: dict[str, list[asyncio.Task[Outcome]]] = {client.name: [] for client in CLIENTS}
    async with raw_client(plane.kubeconfig, connections=2000) as raw, asyncio.TaskGroup() as group:
        work = asyncio.create_task(asyncio.to_thread(maintain))
        started, number = time.monotonic(), 0
        while time.monotonic() - started < seconds or not work.done():
            for client in CLIENTS:
                tag = f"{part}-{number}".replace(",", "").replace(" ", "-").lower()
                tasks[client.name].append(group.create_task(create(raw, client, tag)))
            number += 1
            await asyncio.sleep(_PERIOD_SECONDS)
        await work
    return {name: [task.result() for task in some] for name, some in tasks.items()}


def pause_valkey(store: Valkey, seconds: float) -> Callable[[], None]:
    """Return what stops Valkey and starts it again after some seconds."""

    def maintain() -> None:
        time.sleep(2)
        store.kill()
        time.sleep(seconds)
        store.restart()

    return maintain


def replace_servers(installation: Installation) -> Callable[[], None]:
    """Return what restarts the servers one after the other, as a rolling update does."""

    def maintain() -> None:
        time.sleep(2)
        ports = installation.balancer.ports
        for replica in installation.replicas:
            installation.balancer.ports = tuple(port for port in ports if port != replica.port)
            replica.process.terminate(timeout=40)
            replica.process.restart()
            replica.process.wait_ready()
            installation.balancer.ports = ports

    return maintain


def restart_apiserver(plane: ControlPlane) -> Callable[[], None]:
    """Return what restarts the API server."""

    def maintain() -> None:
        time.sleep(2)
        plane.restart(Component.APISERVER)

    return maintain


def row(part: str, outcomes: dict[str, list[Outcome]]) -> str:
    """Return a line of the table: clients that failed of all, and the longest and the median wait."""
    cells = []
    for client in CLIENTS:
        some = outcomes[client.name]
        failed = [one for one in some if one.status != client.expected]
        waits = sorted(one.seconds for one in some)
        codes = "".join(f" {code}" for code in sorted({one.status for one in failed}))
        cells.append(f"{len(failed)} of {len(some)}{codes}, {waits[len(waits) // 2]:.2f} s, {waits[-1]:.0f} s")
    return f"| {part} | " + " | ".join(cells) + " |"


def main(arguments: list[str]) -> None:
    """Restart each part and print the table."""
    parser = argparse.ArgumentParser(prog="maintenance", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane.start() as plane,
        Valkey.start(Path(folder) / "valkey", appendonly="always") as store,
        Installation.start(
            plane, Path(folder) / "servers", redis_url=store.url, replicas=2, settings=("--log-level=warning",)
        ) as installation,
    ):
        plane.apply(secret("database", password="x"), namespace=NAMESPACE)
        plane.kubectl("create", "-n", NAMESPACE, "-f", "-", input=json.dumps(run("seed", name="seed")))
        parts: Sequence[tuple[str, Callable[[], None]]] = (
            ("nothing", lambda: None),
            ("Redis, 3 s", pause_valkey(store, 3)),
            ("Redis, 30 s", pause_valkey(store, 30)),
            ("servers, one by one", replace_servers(installation)),
            ("API server", restart_apiserver(plane)),
        )
        print("| restarted | " + " | ".join(client.name for client in CLIENTS) + " |")
        print("|---" * (len(CLIENTS) + 1) + "|")
        for part, maintain in parts:
            wait_until_synced(plane, installation)
            print(row(part, asyncio.run(load(plane, part, given.seconds, maintain))), flush=True)
