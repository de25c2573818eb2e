"""The way to the API server leads through a proxy where the environment says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.webhook.hooks.checksums.conftest import kubeconfig_of
from webhook.admission.deadline import Deadline
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.errors import KubernetesError


@pytest.mark.parametrize(("spared", "asked"), [("", "GET http://127.0.0.1:9/version"), ("127.0.0.1", "")])
async def test_the_environments_proxy_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spared: str, asked: str
) -> None:
    """Unless it also says that this host is to be spared."""
    lines: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).decode().partition(" HTTP/")[0])
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("no_proxy", spared)
    # Nobody listens on the discard port.
    client = KubernetesClient(await load_configuration(str(kubeconfig_of(9, tmp_path))), user_agent="test")
    try:
        reply = await client.get("/version", Deadline.after(5, asyncio.get_running_loop().time))
        assert reply.status == 204
    except KubernetesError:
        assert spared
    finally:
        await client.close()
        server.close()
    assert lines == ([asked] if asked else [])
