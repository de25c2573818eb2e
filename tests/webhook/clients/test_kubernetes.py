"""The client of the API server, against a real one: answers, deadlines, and connections that break."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.balancer import Balancer
from tests.controlplane import ControlPlane
from webhook.admission.deadline import Deadline
from webhook.clients.api import MERGE_PATCH, METADATA_ONLY
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.errors import ConfigurationError, DeadlineExceededError, KubernetesError


def soon(seconds: float = 10.0) -> Deadline:
    """Make a deadline."""
    return Deadline.after(seconds, time.monotonic)


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """A client as administrator."""
    made = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="test-client")
    yield made
    await made.close()


async def test_reads_and_writes(client: KubernetesClient, plane: ControlPlane, namespace: str) -> None:
    """Create, read and patch an object; the audit log knows who it was."""
    since = plane.audit.offset()
    collection = f"/api/v1/namespaces/{namespace}/configmaps"
    made = await client.send("POST", collection, b'{"metadata":{"name":"a"},"data":{"x":"1"}}', soon())
    assert made.status == 201
    patched = await client.send("PATCH", f"{collection}/a", b'{"data":{"x":"2"}}', soon(), content_type=MERGE_PATCH)
    assert patched.ok
    read = await client.get(f"{collection}/a", soon())
    assert json.loads(read.body)["data"] == {"x": "2"}
    assert any(event.verb == "patch" for event in plane.audit.events(since=since, namespace=namespace))


async def test_an_http_error_is_an_answer(client: KubernetesClient, namespace: str) -> None:
    """What does not exist is a reply with 404, not an exception."""
    reply = await client.get(f"/api/v1/namespaces/{namespace}/secrets/none", soon())
    assert (reply.status, reply.ok) == (404, False)
    assert json.loads(reply.body)["reason"] == "NotFound"


async def test_metadata_only(client: KubernetesClient, namespace: str) -> None:
    """The server leaves out what was not asked for."""
    reply = await client.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", soon(), accept=METADATA_ONLY)
    assert json.loads(reply.body)["kind"] == "PartialObjectMetadata"


async def test_a_query_reaches_the_server(client: KubernetesClient, namespace: str) -> None:
    """A selector selects."""
    reply = await client.get(
        f"/api/v1/namespaces/{namespace}/serviceaccounts", soon(), query={"fieldSelector": "metadata.name=none"}
    )
    assert json.loads(reply.body)["items"] == []


async def test_a_service_account_is_known_by_its_token(plane: ControlPlane, namespace: str) -> None:
    """A kubeconfig with a token works, and has just that account's rights."""
    kubeconfig = plane.kubeconfig_for("default", namespace)
    client = KubernetesClient(await load_configuration(str(kubeconfig)), user_agent="test-client")
    try:
        assert (await client.get("/version", soon())).ok
        assert (await client.get(f"/api/v1/namespaces/{namespace}/secrets", soon())).status == 403
    finally:
        await client.close()


async def through(plane: ControlPlane, folder: Path, port: int) -> KubernetesClient:
    """Make a client that reaches the API server by another port."""
    text = plane.kubeconfig.read_text().replace(plane.url, f"https://127.0.0.1:{port}")
    path = folder / "kubeconfig"
    path.write_text(text)
    return KubernetesClient(await load_configuration(str(path)), user_agent="test-client")


async def test_a_refused_connection_is_told(plane: ControlPlane, tmp_path: Path) -> None:
    """Nobody listens: the error says so, and no library's exception gets out."""
    with Balancer() as nobody:
        port = nobody.port
    client = await through(plane, tmp_path, port)
    try:
        with pytest.raises(KubernetesError, match="cannot be reached"):
            await client.get("/version", soon())
    finally:
        await client.close()


async def test_a_connection_cut_while_idle_is_replaced(plane: ControlPlane, tmp_path: Path) -> None:
    """A read on a connection that was closed under it is asked once more, on another."""
    upstream = urlsplit(plane.url).port
    assert upstream is not None
    with Balancer([upstream]) as balancer:
        client = await through(plane, tmp_path, balancer.port)
        try:
            for _ in range(3):
                assert (await client.get("/version", soon())).ok
                balancer.cut()
        finally:
            await client.close()


async def test_silence_ends_with_the_deadline(plane: ControlPlane, tmp_path: Path) -> None:
    """A server that accepts and never answers costs no more than the time given."""
    upstream = urlsplit(plane.url).port
    assert upstream is not None
    with Balancer([upstream]) as balancer:
        client = await through(plane, tmp_path, balancer.port)
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
async def test_an_unusable_kubeconfig_is_told(tmp_path: Path, content: str | None) -> None:
    """Absent, empty, or something else: the message names the file and the flag."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"kubeconfig.*--kubeconfig"):
        await load_configuration(str(path))
