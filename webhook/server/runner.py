"""Listen, and stop without failing a call.

The API server keeps connections open and sends the next review on any of them. So a replica that stops goes on serving
for a while and closes each connection with its next response. Then it closes the listener, and at last the idle
connections.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from webhook.errors import ConfigurationError
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger
from webhook.runtime.parsers import Address
from webhook.runtime.readiness import Readiness
from webhook.server import heap
from webhook.server.acceptor import Acceptor
from webhook.server.connections import ConnectionGate
from webhook.server.http import AdmissionEndpoint
from webhook.server.protocol import HttpConnections, note_requests, require_c_parser
from webhook.server.sources import Refusal, Sources

BACKLOG: Final = 1024
#: The receive buffer of a connection, which the kernel doubles. OpenSSL and uvloop keep buffers as large as what once
#: arrived at a time; this much is sent within a cluster in a millisecond.
RECEIVE_BYTES: Final = 16 * 1024
#: Time for the requests in flight once no new connection is accepted.
FINISH_SECONDS: Final = 10.0
#: How long it must be quiet before connections are closed, and how long to wait for that.
QUIET_SECONDS: Final = 0.25
MAX_QUIET_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections a port has. One with TLS takes 32 KB of memory, or 100 KB after a large body.

    Attributes:
        total: The most connections.
        of_one: The most connections of one address. API servers can share one, such as that of a proxy.
    """

    total: int = 896
    of_one: int = 640


#: For health checks and metrics.
FEW_CONNECTIONS: Final = ConnectionLimits(total=128, of_one=64)


class Listener:
    """A port that is being served.

    Args:
        acceptors: The listening sockets.
        address: The first one's address.
        runner: The HTTP application.
        http: The HTTP connections.
        gate: The connections that have not sent anything yet.
    """

    def __init__(
        self,
        acceptors: Sequence[Acceptor],
        address: tuple[str, int],
        runner: web.AppRunner,
        http: HttpConnections,
        gate: ConnectionGate,
    ) -> None:
        self._acceptors = tuple(acceptors)
        self._runner = runner
        self._http = http
        self._gate = gate
        self.host, self.port = address

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def silent(self) -> int:
        """How many connections were accepted and have not sent anything yet."""
        return self._gate.silent

    def stop_listening(self) -> None:
        """Accept no new connection; existing ones stay."""
        for acceptor in self._acceptors:
            acceptor.stop()

    async def close(self) -> None:
        """Close everything; requests in flight get `FINISH_SECONDS`."""
        for acceptor in self._acceptors:
            await acceptor.close()
        self._gate.close()
        self._http.close()
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


class BoundPort:
    """A port that this process has, and on which nothing is served yet: clients that connect have to wait.

    Args:
        sockets: One for each address family.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = tuple(sockets)

    def close(self) -> None:
        """Give the port back; does nothing to sockets that are served."""
        for bound in self.sockets:
            bound.close()


def bind(address: Address, *, source: str, flag: str) -> BoundPort:
    """Take a port before anything else is started, so that a wrong address is noticed first.

    Args:
        address: The address; an empty host means every interface.
        source: Where the address comes from, for the error message.
        flag: The flag by which another can be chosen, for the error message.

    Raises:
        ConfigurationError: The port cannot be taken.
    """
    # IPv4 first: it is the one that is shown.
    hosts = (address.host,) if address.host else ("0.0.0.0", "::")  # noqa: S104 - it is what an empty host means
    bound: list[socket.socket] = []
    with ExitStack() as stack:
        try:
            for host in hosts:
                if (made := _bound(host, address.port, optional=bool(bound))) is not None:
                    bound.append(stack.enter_context(made))
        except OSError as error:
            problem = error.strerror or str(error)
            raise ConfigurationError(
                f"{source}: cannot listen on {address.host or '*'}:{address.port}: {problem}. "
                f"Choose another address by {flag}."
            ) from None
        stack.pop_all()
    return BoundPort(bound)


def _bound(host: str, port: int, *, optional: bool) -> socket.socket | None:
    """Return a bound socket; None if it is optional and the machine does not have the address family."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if optional:
            return None
        raise
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted connections inherit it, if it is set before they are.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        made.bind((host, port))
        # Two sockets can be bound to one address as long as neither listens.
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if optional and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return None
        raise
    return made


async def listen(
    application: web.Application,
    where: Address | BoundPort,
    *,
    tls: TlsPort | None = None,
    setting: str = "",
    log: Logger | None = None,
    limits: ConnectionLimits | None = None,
    closed: Callable[[Refusal], None] = lambda _: None,
) -> Listener:
    """Serve an application.

    Args:
        application: What to serve.
        where: A port that was bound before, or an address.
        tls: The TLS side; without it the port is plain HTTP.
        setting: The flag that gave the address, for the error message.
        log: Receives clients that are rejected.
        limits: How many connections there may be.
        closed: Called for each connection that the server closes before its time.

    Raises:
        ConfigurationError: The address cannot be bound.
        RejectedError: aiohttp is installed without its compiled parser.
    """
    require_c_parser()
    heap.map_large_blocks()
    port = bind(where, source=setting, flag=setting) if isinstance(where, Address) else where
    application.middlewares.insert(0, note_requests)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=FINISH_SECONDS)
    await runner.setup()
    most = limits or ConnectionLimits()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # Half of the files are left for other connections, and for the other port.
    total = most.total if files == resource.RLIM_INFINITY else min(most.total, files // 2)
    sources = Sources(total=total, of_one=min(most.of_one, total), closed=closed)
    assert runner.server is not None  # noqa: S101 - it exists after `setup`
    http = HttpConnections(runner.server, sources)
    gate = ConnectionGate(
        http, sources, names=tls.client_names if tls else frozenset(), log=log or structlog.get_logger()
    )
    host, number = port.sockets[0].getsockname()[:2]
    acceptors = [Acceptor(bound, gate, sources, tls=tls.context if tls else None) for bound in port.sockets]
    return Listener(acceptors, (str(host), int(number)), runner, http, gate)


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
