"""The client of the API server, against a real one: answers, deadlines, and broken connections."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.balancer import Balancer
from tests.controlplane import ControlPlane
from webhook.errors import ConfigurationError, DeadlineExceededError, KubernetesError
from webhook.kube.api import MERGE_PATCH, METADATA_ONLY
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime.deadline import Deadline


def soon(seconds: float = 10.0) -> Deadline:
    """Return a deadline in some seconds."""
    return Deadline.after(seconds, time.monotonic)


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """Connect as an administrator."""
    made = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="test-client")
    yield made
    await made.close()


async def test_objects_are_created_patched_and_read(
    client: KubernetesClient, plane: ControlPlane, namespace: str
) -> None:
    """An object is created, patched and read, and the audit log has the requests."""
    since = plane.audit.offset()
    collection = f"/api/v1/namespaces/{namespace}/configmaps"
    made = await client.send("POST", collection, b'{"metadata":{"name":"a"},"data":{"x":"1"}}', soon())
    assert made.status == 201
    patched = await client.send("PATCH", f"{collection}/a", b'{"data":{"x":"2"}}', soon(), content_type=MERGE_PATCH)
    assert patched.ok
    read = await client.get(f"{collection}/a", soon())
    assert json.loads(read.body)["data"] == {"x": "2"}
    assert any(event.verb == "patch" for event in plane.audit.events(since=since, namespace=namespace))


async def test_an_error_status_is_a_reply(client: KubernetesClient, namespace: str) -> None:
    """A missing object gives a reply with 404 and no exception."""
    reply = await client.get(f"/api/v1/namespaces/{namespace}/secrets/none", soon())
    assert (reply.status, reply.ok) == (404, False)
    assert json.loads(reply.body)["reason"] == "NotFound"


async def test_metadata_only(client: KubernetesClient, namespace: str) -> None:
    """With `METADATA_ONLY` the server sends PartialObjectMetadata."""
    reply = await client.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", soon(), accept=METADATA_ONLY)
    assert json.loads(reply.body)["kind"] == "PartialObjectMetadata"


async def test_the_query_is_sent(client: KubernetesClient, namespace: str) -> None:
    """A field selector in the query filters the list."""
    reply = await client.get(
        f"/api/v1/namespaces/{namespace}/serviceaccounts", soon(), query={"fieldSelector": "metadata.name=none"}
    )
    assert json.loads(reply.body)["items"] == []


async def test_a_token_authenticates_a_service_account(plane: ControlPlane, namespace: str) -> None:
    """A kubeconfig with a token has exactly the rights of its ServiceAccount."""
    kubeconfig = plane.kubeconfig_for("default", namespace)
    client = KubernetesClient(await load_configuration(str(kubeconfig)), user_agent="test-client")
    try:
        assert (await client.get("/version", soon())).ok
        assert (await client.get(f"/api/v1/namespaces/{namespace}/secrets", soon())).status == 403
    finally:
        await client.close()


async def client_for_port(plane: ControlPlane, folder: Path, port: int) -> KubernetesClient:
    """Connect to the API server through another port."""
    text = plane.kubeconfig.read_text().replace(plane.url, f"https://127.0.0.1:{port}")
    path = folder / "kubeconfig"
    path.write_text(text)
    return KubernetesClient(await load_configuration(str(path)), user_agent="test-client")


async def test_a_refused_connection_is_a_kubernetes_error(plane: ControlPlane, tmp_path: Path) -> None:
    """If no process listens, KubernetesError says that the API server cannot be reached."""
    with Balancer() as stopped:
        port = stopped.port
    client = await client_for_port(plane, tmp_path, port)
    try:
        with pytest.raises(KubernetesError, match="cannot be reached"):
            await client.get("/version", soon())
    finally:
        await client.close()


async def test_a_connection_closed_while_idle_is_replaced(plane: ControlPlane, tmp_path: Path) -> None:
    """A read on a connection that the server has closed is repeated on another one."""
    upstream = urlsplit(plane.url).port
    assert upstream is not None
    with Balancer([upstream]) as balancer:
        client = await client_for_port(plane, tmp_path, balancer.port)
        try:
            for _ in range(3):
                assert (await client.get("/version", soon())).ok
                balancer.cut()
        finally:
            await client.close()


async def test_a_silent_server_is_limited_by_the_deadline(plane: ControlPlane, tmp_path: Path) -> None:
    """If the server accepts and does not answer, the call fails at the deadline."""
    upstream = urlsplit(plane.url).port
    assert upstream is not None
    with Balancer([upstream]) as balancer:
        client = await client_for_port(plane, tmp_path, balancer.port)
        try:
            assert (await client.get("/version", soon())).ok
            balancer.freeze()
            with pytest.raises(KubernetesError, match="did not answer GET /version within"):
                await client.get("/version", soon(0.3))
            with pytest.raises(DeadlineExceededError):
                await client.get("/version", soon(0))
        finally:
            await client.close()


@pytest.mark.parametrize("content", [None, "", "rubbish", "{}", "apiVersion: v1\nkind: Config\nclusters: 7\n"])
async def test_an_unusable_kubeconfig_is_rejected(tmp_path: Path, content: str | None) -> None:
    """If the kubeconfig is absent, empty or invalid, the message names the file and the flag."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"kubeconfig.*--kubeconfig"):
        await load_configuration(str(path))


def connections_to(port: int) -> int:
    """Return how many established connections to a port on loopback there are, counted at the side that opened them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


async def test_a_watch_that_is_broken_off_is_closed_at_once(plane: ControlPlane, tmp_path: Path) -> None:
    """The server takes no part in the end of the connection; its socket does not wait for that."""
    upstream = urlsplit(plane.url).port
    assert upstream is not None
    with Balancer([upstream]) as balancer:
        client = await client_for_port(plane, tmp_path, balancer.port)
        query = {"watch": "true", "timeoutSeconds": "60"}
        async with client.watch("/api/v1/namespaces", query=query, accept="application/json", silence=60) as lines:
            assert await anext(lines)
            assert connections_to(balancer.port) == 1
            balancer.freeze()
        await client.close()
        assert connections_to(balancer.port) == 0
