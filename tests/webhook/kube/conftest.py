"""Connections to API servers, and a network that can be frozen."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane, ManagedProcess
from webhook.kube.api import KubernetesApi
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.core.lease import LeaseTiming
from webhook.kube.election import Elector
from webhook.kube.metrics import ElectionMetrics
from webhook.runtime.clock import Clock

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
    """Return a function that connects to the API server of a kubeconfig; the connections are closed afterwards."""
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
    """Connect to the shared control plane as an administrator."""
    return await connect(plane.kubeconfig)


class Network:
    """A proxy to an API server that can be frozen: connections stay open and transfer nothing.

    Attributes:
        process: The proxy, which a test can freeze, thaw, kill and start.
        kubeconfig: Kubeconfig of an administrator that connects through the proxy.
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
    """Start a proxy to the shared control plane that can be frozen."""
    made = Network(plane, tmp_path)
    yield made
    made.process.kill()


def new_elector(api: KubernetesApi, namespace: str, identity: str, timing: LeaseTiming) -> Elector:
    """Return an elector for the Lease `controller`."""
    return Elector(
        api,
        namespace=namespace,
        name="controller",
        identity=identity,
        timing=timing,
        clock=Clock(),
        log=structlog.get_logger(),
        metrics=ElectionMetrics(CollectorRegistry()),
    )
