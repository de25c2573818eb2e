"""Requests to the API server use the HTTP proxy of the environment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.controlplane.kubeconfig import plain_kubeconfig
from webhook.errors import KubernetesError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime.deadline import Deadline


@pytest.mark.parametrize(("no_proxy", "requested"), [("", "GET http://127.0.0.1:9/version"), ("127.0.0.1", "")])
async def test_the_proxy_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: str, requested: str
) -> None:
    """The proxy is used, except for the hosts of `no_proxy`."""
    lines: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).decode().partition(" HTTP/")[0])
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("no_proxy", no_proxy)
    # No process listens on the discard port.
    client = KubernetesClient(await load_configuration(str(plain_kubeconfig(9, tmp_path))), user_agent="test")
    try:
        reply = await client.get("/version", Deadline.after(5, asyncio.get_running_loop().time))
        assert reply.status == 204
    except KubernetesError:
        assert no_proxy
    finally:
        await client.close()
        server.close()
    assert lines == ([requested] if requested else [])
