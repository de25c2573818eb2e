"""The checksums webhooks with a real API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.webhook.checksums.cluster import Cluster, serving
from webhook.kube.client import KubernetesClient, load_configuration

Connect = Callable[[Path], Awaitable[KubernetesClient]]


def kubeconfig_of(port: int, folder: Path) -> Path:
    """Return a kubeconfig of the server that listens on a port, without TLS."""
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "current-context": "here",
            }
        )
    )
    return path


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A function that connects to the API server of a kubeconfig; the connections are closed afterwards."""
    clients: list[KubernetesClient] = []

    async def connect(kubeconfig: Path) -> KubernetesClient:
        client = KubernetesClient(await load_configuration(str(kubeconfig)), user_agent="tests")
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture
async def api(plane: ControlPlane, connect: Connect) -> KubernetesClient:
    """The API server, as an administrator."""
    return await connect(plane.kubeconfig)


@pytest.fixture
async def cluster(plane: ControlPlane, namespace: str, api: KubernetesClient, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The webhooks, served in this process and registered for one namespace."""
    async with serving(plane, namespace, api, tmp_path) as made:
        yield made
