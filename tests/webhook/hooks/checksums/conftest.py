"""The checksums webhook on a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from webhook.admission.hook import Hook
from webhook.clients.api import KubernetesApi
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.hooks.checksums import ChecksumMetrics, ChecksumSettings, hooks

Connect = Callable[[Path], Awaitable[KubernetesClient]]
Settings = ChecksumSettings | Callable[[], ChecksumSettings] | None


def deployments(api: KubernetesApi, settings: Settings = None) -> Hook:
    """The webhook for Deployments."""
    return checksum_hooks(api, settings)[0]


def checksum_hooks(api: KubernetesApi, settings: Settings = None) -> tuple[Hook, ...]:
    """All three webhooks."""
    return hooks(
        settings or ChecksumSettings(),
        api,
        clock=time.monotonic,
        log=structlog.get_logger(),
        metrics=ChecksumMetrics(CollectorRegistry()),
    )


def kubeconfig_of(port: int, folder: Path) -> Path:
    """A kubeconfig of whatever listens on a port, without TLS."""
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
    """Connects to what a kubeconfig names; the connections are closed afterwards."""
    clients: list[KubernetesClient] = []

    async def connect(kubeconfig: Path) -> KubernetesClient:
        client = KubernetesClient(await load_configuration(str(kubeconfig)), user_agent="tests")
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture
async def api(plane: ControlPlane, connect: Connect) -> KubernetesApi:
    """The API server, as an administrator."""
    return await connect(plane.kubeconfig)
