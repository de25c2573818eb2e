"""New connections: check the client's certificate, and wait for the first bytes before HTTP takes over."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from certs.tls import peer_names
from webhook.runtime.log import Logger
from webhook.server.sources import Slot, Sources

#: A connection that has sent nothing for this long is closed.
SILENCE_SECONDS: Final = 30.0


class ConnectionGate:
    """Create the protocol of each connection: first one that waits for bytes, then HTTP.

    Args:
        http: Creates the protocol that serves a connection.
        sources: The open connections.
        names: The client's certificate must carry one of these names; empty accepts every client that TLS accepted.
        log: Receives clients that are rejected.
    """

    def __init__(
        self, http: Callable[[Slot], asyncio.Protocol], sources: Sources, *, names: frozenset[str], log: Logger
    ) -> None:
        self._http = http
        self._sources = sources
        self._names = names
        self._log = log
        self._waiting: set[asyncio.Transport] = set()

    def __call__(self, slot: Slot) -> asyncio.Protocol:
        """Create the protocol of one connection."""
        return _SilentConnection(self, slot)

    @property
    def silent(self) -> int:
        """How many connections were accepted and have not sent anything yet."""
        return len(self._waiting)

    def add(self, transport: asyncio.Transport) -> None:
        """Add a connection that has not sent anything yet."""
        self._waiting.add(transport)

    def remove(self, transport: asyncio.Transport) -> None:
        """Remove a connection that has sent something or is closed."""
        self._waiting.discard(transport)

    def close(self) -> None:
        """Close the connections that have not sent anything."""
        for transport in tuple(self._waiting):
            transport.abort()

    def admits(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether the client's certificate carries one of the names."""
        if not self._names:
            return True
        connection = transport.get_extra_info("ssl_object")
        names = peer_names(connection) if isinstance(connection, ssl.SSLObject) else frozenset[str]()
        if names & self._names:
            return True
        self._log.warning("client rejected: its certificate has other names", names=sorted(names))
        return False

    def lost(self, slot: Slot) -> None:
        """Forget a connection that was closed before it sent anything."""
        self._sources.remove(slot)

    def hand_over(self, transport: asyncio.Transport, slot: Slot, data: bytes) -> None:
        """Let HTTP serve a connection, beginning with its first bytes."""
        protocol = self._http(slot)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)


class _SilentConnection(asyncio.Protocol):
    """Wait for the first bytes of a connection."""

    def __init__(self, gate: ConnectionGate, slot: Slot) -> None:
        self._gate = gate
        self._slot = slot
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._gate.admits(transport):
            # Without an HTTP response: for a stranger the TLS connection just fails.
            cast("asyncio.Transport", transport).abort()
            return
        # A server's protocol always gets a Transport, though uvloop's class is not derived from it.
        self._transport = cast("asyncio.Transport", transport)
        self._slot.abort = self._transport.abort
        self._gate.add(self._transport)
        self._timer = asyncio.get_running_loop().call_later(SILENCE_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if transport := self._leave():
            self._gate.hand_over(transport, self._slot, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._leave()
        self._gate.lost(self._slot)

    def _leave(self) -> asyncio.Transport | None:
        transport, self._transport = self._transport, None
        if transport:
            self._gate.remove(transport)
        if self._timer:
            self._timer.cancel()
        return transport
