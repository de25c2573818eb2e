"""What the API server connects to instead of a Service: a proxy for its calls into the cluster network."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.balancer import Balancer
from tests.controlplane.kubeconfig import write_private


class ServiceProxy(Balancer):
    """Accept `CONNECT` on a unix socket for any address, and forward the connection to one of `ports`.

    The API server's reference of EgressSelectorConfiguration describes the protocol. It has no TCP without TLS: with an
    http:// URL, the API server 1.35 ends by a nil pointer.

    Args:
        folder: Folder of the socket and of the configuration.

    Attributes:
        configuration: The file for `--egress-selector-config-file`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        socket = str(folder / "egress.sock")
        self._tunnels = self._call(asyncio.start_unix_server(self._tunnel, socket, backlog=1024))
        connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": socket}}}
        document = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": connection}],
        }
        self.configuration = write_private(folder / "egress.json", json.dumps(document))

    async def _close(self) -> None:
        self._tunnels.close()
        await super()._close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._accept(reader, writer)
