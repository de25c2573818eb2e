"""Connections: which clients are accepted, how silent connections are counted, and how a server drains."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from certs.bundle import bundle_of
from certs.tls import ServerTls, TlsOptions
from tests.certs.samples import LOCAL, authority, foreign, pair
from tests.certs.wire import Connection, client_context, connect
from webhook.admission.webhook import Answer, Review
from webhook.runtime import log
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.metrics import ServerMetrics
from webhook.runtime.parsers import Address
from webhook.runtime.readiness import Readiness
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Drain, Listener, TlsPort, listen

REQUEST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Echo:
    """A webhook that answers when the test allows it."""

    path = "/echo"
    name = "echo"
    namespace = ""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.called = asyncio.Event()

    def decode(self, body: bytes) -> Review:
        """Decode nothing."""
        return Review(self.namespace, None, lambda deadline: self.answer(body, deadline))

    async def answer(self, body: bytes, _: Deadline) -> Answer:
        """Answer with the body."""
        self.called.set()
        await self.may_answer.wait()
        return Answer(body, "CREATE", "allowed", 200)


class Server:
    """A listening server with the Echo webhook."""

    def __init__(self, listener: Listener, endpoint: AdmissionEndpoint, webhook: Echo, logged: io.StringIO) -> None:
        self.listener = listener
        self.endpoint = endpoint
        self.webhook = webhook
        self.logged = logged
        self.readiness = Readiness()
        self.clients: list[Connection] = []

    def drain(self, seconds: float) -> asyncio.Task[None]:
        """Start to drain."""
        logger = log.configure("info", "json", self.logged)
        return asyncio.create_task(Drain(self.endpoint, self.listener, self.readiness, seconds, Clock(), logger).run())


@asynccontextmanager
async def serving(tls: TlsPort | None = None) -> AsyncIterator[Server]:
    """Serve the Echo webhook on a free port."""
    webhook, logged = Echo(), io.StringIO()
    logger = log.configure("info", "json", logged)
    metrics = ServerMetrics(CollectorRegistry())
    endpoint = AdmissionEndpoint((webhook,), limits=Limits(), metrics=metrics, log=logger)
    listener = await listen(endpoint.application(), Address("127.0.0.1", 0), tls=tls, setting="--listen", log=logger)
    made = Server(listener, endpoint, webhook, logged)
    try:
        yield made
    finally:
        webhook.may_answer.set()
        await listener.close()
        for client in made.clients:
            await client.close()


async def connect_plain(server: Server) -> Connection:
    """Open a connection without TLS."""
    made = Connection(*await asyncio.open_connection("127.0.0.1", server.listener.port))
    server.clients.append(made)
    return made


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is state of the server, without an event
            await asyncio.sleep(0.01)


CA = authority(now=datetime.now(UTC))
CALLERS = foreign(now=datetime.now(UTC), dns_names=("kube-apiserver", "other"), ca=True)


@pytest.mark.parametrize(
    ("names", "accepted"), [(set(), True), ({"kube-apiserver"}, True), ({"x", "other"}, True), ({"x"}, False)]
)
async def test_a_client_certificate_needs_an_accepted_name(*, names: set[str], accepted: bool) -> None:
    """A client whose certificate has no accepted name gets no HTTP answer, and the log has its names."""
    bundle = bundle_of(CALLERS.chain)
    tls = ServerTls(TlsOptions(client_authorities=bundle))
    local = authority(names=LOCAL, now=datetime.now(UTC))
    tls.load(pair(local, names=LOCAL, now=datetime.now(UTC)))
    async with serving(TlsPort(tls.context, frozenset(names))) as server:
        connection = await connect(server.listener.port, client_context(bundle_of((local.certificate,)), shown=CALLERS))
        received = b""
        try:
            connection.writer.write(REQUEST)
            received = await connection.reader.read(8)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            await connection.close()
        assert received == (b"HTTP/1.1" if accepted else b"")
        assert ("kube-apiserver" in server.logged.getvalue()) is not accepted


async def test_silent_connections_are_counted() -> None:
    """A connection without a request counts as silent until it sends one or is closed."""
    async with serving() as server:
        active, closed = await connect_plain(server), await connect_plain(server)
        await until(lambda: server.listener.silent == 2)
        active.writer.write(REQUEST)
        assert (await active.reader.readline()).startswith(b"HTTP/1.1 200")
        assert server.listener.silent == 1
        await closed.close()
        await until(lambda: server.listener.silent == 0)


async def test_silent_connections_are_closed_at_the_end() -> None:
    """A server that has ended leaves no connection open."""
    async with serving() as server:
        silent = await connect_plain(server)
        await until(lambda: server.listener.silent == 1)
    assert await silent.reader.read() == b""


async def test_a_draining_server_answers_and_closes_connections() -> None:
    """During a drain old and new connections are answered with `Connection: close`, and the server is not ready."""
    async with serving() as server:
        old = await connect_plain(server)
        draining = server.drain(1.0)
        await until(lambda: not server.readiness.ready)
        new = await connect_plain(server)
        for connection in (old, new):
            connection.writer.write(REQUEST)
            answer = await connection.reader.read()
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"Connection: close" in answer
        await draining


async def test_a_drain_waits_for_requests_and_silent_connections() -> None:
    """After the listener is closed, running requests and accepted connections are answered before the drain ends."""
    async with serving() as server:
        server.webhook.may_answer.clear()
        slow, silent = await connect_plain(server), await connect_plain(server)
        slow.writer.write(REQUEST)
        await server.webhook.called.wait()
        draining = server.drain(0.0)
        await until(lambda: not server.readiness.ready)
        with pytest.raises(ConnectionRefusedError):
            await until_refused(server)
        server.webhook.may_answer.set()
        assert (await slow.reader.read()).startswith(b"HTTP/1.1 200")
        assert not draining.done()
        silent.writer.write(REQUEST)
        assert (await silent.reader.read()).startswith(b"HTTP/1.1 200")
        await draining


async def until_refused(server: Server) -> None:
    """Open connections until the port refuses them."""
    async with asyncio.timeout(10):
        while True:
            await (await connect_plain(server)).close()
