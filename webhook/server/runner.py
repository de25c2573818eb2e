"""Listening, and stopping without failing a call.

The API server keeps connections open and sends the next review on any of them. So a replica that stops goes on
serving for a while, tells the client on each answer to use another connection, and only then closes.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from webhook.errors import ConfigurationError
from webhook.log import Logger
from webhook.server.health import Readiness
from webhook.server.http import AdmissionEndpoint
from webhook.values import Address

#: The API server closes a connection that was idle for 90 s; whoever closes second cannot cut off a request.
KEEP_ALIVE_SECONDS: Final = 120.0
BACKLOG: Final = 1024
#: How long what is still being answered may take once nothing new is accepted.
FINISH_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that is being served.

    Attributes:
        runner: To be cleaned up.
        host: The address that it listens on.
        port: The port, also where any free one was asked for.
    """

    runner: web.AppRunner
    host: str
    port: int


async def listen(
    application: web.Application, address: Address, *, tls: ssl.SSLContext | None = None, setting: str
) -> Listener:
    """Serve an application.

    Args:
        application: What to serve.
        address: Where.
        tls: The context of an encrypted port.
        setting: The flag that gave the address, for the message.

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
    site = web.TCPSite(runner, address.host or None, address.port, ssl_context=tls, backlog=BACKLOG, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        problem = error.strerror or str(error)
        raise ConfigurationError(
            f"Cannot listen on {address.host or '*'}:{address.port}: {problem}. Choose another address by {setting}."
        ) from None
    host, port = runner.addresses[0][:2]
    return Listener(runner, str(host), int(port))


@dataclass(frozen=True, slots=True)
class Drain:
    """How a replica leaves.

    Attributes:
        endpoint: What it serves.
        readiness: Unready from the first moment.
        seconds: How long it goes on serving, so that nobody is sent here any more by the end.
        log: Told of each step.
    """

    endpoint: AdmissionEndpoint
    readiness: Readiness
    seconds: float
    log: Logger

    async def run(self, hurry: asyncio.Event) -> None:
        """Go on serving for the time given, then finish what is in flight.

        Args:
            hurry: Set by a second signal: stop now.
        """
        self.readiness.start_draining()
        self.endpoint.start_closing()
        self.log.info("Draining: still serving, and asking clients to move on.", seconds=self.seconds)
        try:
            async with asyncio.timeout(self.seconds):
                await hurry.wait()
        except TimeoutError:
            pass
        else:
            self.log.warning("Told a second time to stop: stopping now.")
            return
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self.endpoint.idle()
        except TimeoutError:
            self.log.warning("Some reviews did not finish in time.", seconds=FINISH_SECONDS)
