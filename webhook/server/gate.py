"""The moment between a handshake and the first request: who may go on, and how many have not said anything yet."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from certs.tls import peer_names
from webhook.log import Logger

#: Whoever has not sent the first byte by then will not.
SILENCE_SECONDS: Final = 30.0


class Gate:
    """Makes the protocol of each connection: first a doorkeeper, then, with the first bytes, HTTP.

    Args:
        http: Makes the protocol that serves a connection.
        names: Of which a caller's certificate has to carry one; empty lets everybody pass whom TLS has let pass.
        log: Told of whom the names keep out.
    """

    def __init__(self, http: Callable[[], asyncio.Protocol], *, names: frozenset[str], log: Logger) -> None:
        self._http = http
        self._names = names
        self._log = log
        self._waiting: set[asyncio.Transport] = set()

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of one connection."""
        return _Doorkeeper(self)

    @property
    def silent(self) -> int:
        """Connections that were accepted and have not sent anything yet."""
        return len(self._waiting)

    def enter(self, transport: asyncio.Transport) -> None:
        """Note a connection that has not sent anything yet."""
        self._waiting.add(transport)

    def leave(self, transport: asyncio.Transport) -> None:
        """Note that it has, or is gone."""
        self._waiting.discard(transport)

    def close(self) -> None:
        """Close the connections that have not sent anything."""
        for transport in tuple(self._waiting):
            transport.abort()

    def admits(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the caller's certificate carries one of the names."""
        if not self._names:
            return True
        connection = transport.get_extra_info("ssl_object")
        names = peer_names(connection) if isinstance(connection, ssl.SSLObject) else frozenset[str]()
        if names & self._names:
            return True
        self._log.warning("A caller was sent away: its certificate is for other names.", names=sorted(names))
        return False

    def pass_on(self, transport: asyncio.Transport, data: bytes) -> None:
        """Hand a connection to HTTP, with what came first."""
        protocol = self._http()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)


class _Doorkeeper(asyncio.Protocol):
    """Waits for the first bytes of a connection."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._gate.admits(transport):
            # No answer by HTTP: to a stranger this is a TLS connection that does not come about.
            cast("asyncio.Transport", transport).abort()
            return
        # What a server's protocol always gets, though uvloop's class is not derived from it.
        self._transport = cast("asyncio.Transport", transport)
        self._gate.enter(self._transport)
        self._timer = asyncio.get_running_loop().call_later(SILENCE_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if transport := self._leave():
            self._gate.pass_on(transport, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._leave()

    def _leave(self) -> asyncio.Transport | None:
        transport, self._transport = self._transport, None
        if transport:
            self._gate.leave(transport)
        if self._timer:
            self._timer.cancel()
        return transport
