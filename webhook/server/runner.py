"""Listen, and stop without failing a call.

The API server keeps connections open and sends the next review on any of them. So a replica that stops goes on serving
for a while and closes each connection with its next response. Then it closes the listener, and at last the idle
connections.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from webhook.errors import ConfigurationError
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger
from webhook.runtime.parsers import Address
from webhook.runtime.readiness import Readiness
from webhook.server.connections import ConnectionGate
from webhook.server.http import AdmissionEndpoint

#: The API server closes a connection that was idle for 90 s; the side that closes second cannot cut off a request.
KEEP_ALIVE_SECONDS: Final = 120.0
BACKLOG: Final = 1024
#: Time for a TLS handshake; the API server gives a whole call 30 s at most.
HANDSHAKE_SECONDS: Final = 10.0
#: Time for the requests in flight once no new connection is accepted.
FINISH_SECONDS: Final = 10.0
#: How long it must be quiet before connections are closed, and how long to wait for that.
QUIET_SECONDS: Final = 0.25
MAX_QUIET_SECONDS: Final = 3.0


class Listener:
    """A port that is being served.

    Args:
        server: The listening sockets.
        runner: The HTTP connections.
        gate: The connections that have not sent anything yet.
    """

    def __init__(self, server: asyncio.Server, runner: web.AppRunner, gate: ConnectionGate) -> None:
        self._server = server
        self._runner = runner
        self._gate = gate
        host, port = server.sockets[0].getsockname()[:2]
        self.host = str(host)
        self.port = int(port)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def silent(self) -> int:
        """How many connections were accepted and have not sent anything yet."""
        return self._gate.silent

    def stop_listening(self) -> None:
        """Accept no new connection; existing ones stay."""
        self._server.close()

    async def close(self) -> None:
        """Close everything; requests in flight get `FINISH_SECONDS`."""
        self._server.close()
        self._gate.close()
        await self._runner.cleanup()


@dataclass(frozen=True, slots=True)
class TlsPort:
    """The TLS side of a port.

    Attributes:
        context: The server's context.
        client_names: A client's certificate must carry one of these; empty accepts each that TLS accepted.
    """

    context: ssl.SSLContext
    client_names: frozenset[str] = frozenset()


async def listen(
    application: web.Application,
    address: Address,
    *,
    tls: TlsPort | None = None,
    setting: str,
    log: Logger | None = None,
) -> Listener:
    """Serve an application.

    Args:
        application: What to serve.
        address: Where.
        tls: The TLS side; without it the port is plain HTTP.
        setting: The flag that gave the address, for the error message.
        log: Receives clients that are rejected.

    Raises:
        ConfigurationError: The port cannot be opened.
    """
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=FINISH_SECONDS,
    )
    await runner.setup()
    gate = ConnectionGate(
        _http(runner), names=tls.client_names if tls else frozenset(), log=log or structlog.get_logger()
    )
    try:
        server = await asyncio.get_running_loop().create_server(
            gate,
            address.host or None,
            address.port,
            ssl=tls.context if tls else None,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            backlog=BACKLOG,
            reuse_address=True,
        )
    except OSError as error:
        await runner.cleanup()
        problem = error.strerror or str(error)
        raise ConfigurationError(
            f"Cannot listen on {address.host or '*'}:{address.port}: {problem}. Choose another address by {setting}."
        ) from None
    return Listener(server, runner, gate)


def _http(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    server = runner.server
    assert server is not None  # noqa: S101 - it exists after `setup`
    return server


@dataclass(frozen=True, slots=True)
class Drain:
    """The shutdown of a replica.

    Attributes:
        endpoint: Answers requests.
        listener: Accepts connections.
        readiness: Unready from the start of the shutdown.
        seconds: How long connections are accepted further, until no client is sent here any more.
        clock: Sleep.
        log: Receives each step.
    """

    endpoint: AdmissionEndpoint
    listener: Listener
    readiness: Readiness
    seconds: float
    clock: Clock
    log: Logger

    async def run(self) -> None:
        """Go on serving for the time given, then close the listener, and wait until no request is in flight."""
        self.readiness.start_draining()
        self.endpoint.start_closing()
        self.log.info("draining", seconds=self.seconds)
        await self.clock.sleep(self.seconds)
        self.listener.stop_listening()
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self.endpoint.idle()
        except TimeoutError:
            self.log.warning("some reviews did not finish in time", seconds=FINISH_SECONDS)
            return
        await self._quiet()

    async def _quiet(self) -> None:
        """Wait until the clients that connected last have been answered."""
        try:
            async with asyncio.timeout(MAX_QUIET_SECONDS):
                while True:
                    answered = self.endpoint.answered
                    await self.clock.sleep(QUIET_SECONDS)
                    await self.endpoint.idle()
                    if not self.listener.silent and self.endpoint.answered == answered:
                        return
        except TimeoutError:
            self.log.info("clients still send reviews on connections that are being closed")
