"""Connections, and a network that can stop, for tests of the controller's foundations."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane, ManagedProcess
from webhook.clients.api import KubernetesApi
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.controller.core.lease import LeaseTiming
from webhook.controller.election import Elector
from webhook.controller.metrics import ElectionMetrics

Connect = Callable[[Path], Awaitable[KubernetesClient]]

ROOT = Path(__file__).resolve().parents[3]
PROXY = """
import signal, sys
from tests.balancer import Balancer
with Balancer([int(sys.argv[1])]) as balancer:
    print(balancer.port, flush=True)
    signal.pause()
"""


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects to what a kubeconfig names; the connections are closed afterwards."""
    clients: list[KubernetesClient] = []

    async def open_client(kubeconfig: Path) -> KubernetesClient:
        client = KubernetesClient(await load_configuration(str(kubeconfig)), user_agent="rollonce-test")
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        await client.close()


@pytest.fixture
async def api(plane: ControlPlane, connect: Connect) -> KubernetesClient:
    """An administrator's connection to the shared control plane."""
    return await connect(plane.kubeconfig)


class Network:
    """A way to an API server that can be frozen: connections stay open and nothing comes through.

    Attributes:
        process: The proxy, to be frozen, thawed, killed and started.
        kubeconfig: Leads through it.
    """

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        log = folder / "network.log"
        port = urlsplit(plane.url).port
        self.process = ManagedProcess(
            "network",
            [sys.executable, "-c", PROXY, str(port)],
            log=log,
            cwd=ROOT,
            ready=lambda: "\n" in log.read_text(),
        ).start()
        config = json.loads(plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{log.read_text().strip()}"
        self.kubeconfig = folder / "network.kubeconfig"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(config))


@pytest.fixture
def network(plane: ControlPlane, tmp_path: Path) -> Iterator[Network]:
    """A way to the shared control plane that can be frozen."""
    made = Network(plane, tmp_path)
    yield made
    made.process.kill()


def new_elector(api: KubernetesApi, namespace: str, identity: str, timing: LeaseTiming) -> Elector:
    """An elector for the Lease `controller`."""
    return Elector(
        api,
        namespace=namespace,
        name="controller",
        identity=identity,
        timing=timing,
        clock=time.monotonic,
        wall_clock=lambda: datetime.now(UTC),
        chance=random.random,
        log=structlog.get_logger(),
        metrics=ElectionMetrics(CollectorRegistry()),
    )
