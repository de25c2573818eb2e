"""Listening, and stopping without failing a call.

The API server keeps connections open and sends the next review on any of them. So a replica that stops goes on
serving for a while, tells the client on each answer to use another connection, and only then closes: first the door,
then, when nobody has anything to say any more, what is open.
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
from webhook.log import Logger
from webhook.server.gate import Gate
from webhook.server.health import Readiness
from webhook.server.http import AdmissionEndpoint
from webhook.values import Address

#: The API server closes a connection that was idle for 90 s; whoever closes second cannot cut off a request.
KEEP_ALIVE_SECONDS: Final = 120.0
BACKLOG: Final = 1024
#: Nobody waits longer for a handshake: an API server gives a whole call 30 s at most.
HANDSHAKE_SECONDS: Final = 10.0
#: How long what is still being answered may take once nothing new is accepted.
FINISH_SECONDS: Final = 10.0
#: For how long there has to be silence before connections are closed, and how long that is waited for.
QUIET_SECONDS: Final = 0.25
LONGEST_QUIET_SECONDS: Final = 3.0


class Listener:
    """A port that is being served.

    Args:
        server: The listening sockets.
        runner: The connections.
        gate: Between the two.
    """

    def __init__(self, server: asyncio.Server, runner: web.AppRunner, gate: Gate) -> None:
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
        """Connections that were accepted and have not sent anything yet."""
        return self._gate.silent

    def stop_listening(self) -> None:
        """Accept nobody any more; connections stay."""
        self._server.close()

    async def close(self) -> None:
        """Close everything; what is being answered gets `FINISH_SECONDS`."""
        self._server.close()
        self._gate.close()
        await self._runner.cleanup()


@dataclass(frozen=True, slots=True)
class TlsPort:
    """What makes a port an encrypted one.

    Attributes:
        context: The server's side.
        client_names: Of which a caller's certificate has to carry one; empty takes each that TLS took.
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
        tls: What makes the port an encrypted one.
        setting: The flag that gave the address, for the message.
        log: Told of callers that are sent away.

    Raises:
        ConfigurationError: The port cannot be had.
    """
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=FINISH_SECONDS,
    )
    await runner.setup()
    gate = Gate(_http(runner), names=tls.client_names if tls else frozenset(), log=log or structlog.get_logger())
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
    assert server is not None  # noqa: S101 - it is there after `setup`
    return server


@dataclass(frozen=True, slots=True)
class Drain:
    """How a replica leaves.

    Attributes:
        endpoint: What it serves.
        listener: Where.
        readiness: Unready from the first moment.
        seconds: How long it goes on accepting, so that nobody is sent here any more by the end.
        log: Told of each step.
    """

    endpoint: AdmissionEndpoint
    listener: Listener
    readiness: Readiness
    seconds: float
    log: Logger

    async def run(self) -> None:
        """Go on serving for the time given, accept nobody any more, and wait until nothing is in flight."""
        self.readiness.start_draining()
        self.endpoint.start_closing()
        self.log.info("Draining: still serving, and asking clients to move on.", seconds=self.seconds)
        await asyncio.sleep(self.seconds)
        self.listener.stop_listening()
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self.endpoint.idle()
        except TimeoutError:
            self.log.warning("Some reviews did not finish in time.", seconds=FINISH_SECONDS)
            return
        await self._quiet()

    async def _quiet(self) -> None:
        """Wait until whoever was let in last has been answered."""
        try:
            async with asyncio.timeout(LONGEST_QUIET_SECONDS):
                while True:
                    answered = self.endpoint.answered
                    await asyncio.sleep(QUIET_SECONDS)
                    await self.endpoint.idle()
                    if not self.listener.silent and self.endpoint.answered == answered:
                        return
        except TimeoutError:
            self.log.info("Clients still send reviews on connections that are being closed.")
