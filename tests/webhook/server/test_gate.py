"""Between the handshake and the first request: who is let in, who is counted, and how a server leaves."""

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
from webhook import log
from webhook.admission.deadline import Deadline
from webhook.admission.hook import Answer
from webhook.metrics import ServerMetrics
from webhook.server.health import Readiness
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Drain, Listener, TlsPort, listen
from webhook.values import Address

REQUEST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Echo:
    """A hook that waits until it may answer."""

    path = "/echo"
    name = "echo"

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()

    async def answer(self, body: bytes, _: Deadline) -> Answer:
        """Answer with the body."""
        self.asked.set()
        await self.may_answer.wait()
        return Answer(body, "u", "CREATE", "allowed", 200)


class Server:
    """A listening endpoint."""

    def __init__(self, listener: Listener, endpoint: AdmissionEndpoint, hook: Echo, logged: io.StringIO) -> None:
        self.listener = listener
        self.endpoint = endpoint
        self.hook = hook
        self.logged = logged
        self.readiness = Readiness()
        self.clients: list[Connection] = []

    def drain(self, seconds: float) -> asyncio.Task[None]:
        """Begin to drain."""
        logger = log.configure("info", "json", self.logged)
        return asyncio.create_task(Drain(self.endpoint, self.listener, self.readiness, seconds, logger).run())


@asynccontextmanager
async def serving(tls: TlsPort | None = None) -> AsyncIterator[Server]:
    """Serve the echo hook on a free port."""
    hook, logged = Echo(), io.StringIO()
    logger = log.configure("info", "json", logged)
    metrics = ServerMetrics(CollectorRegistry())
    endpoint = AdmissionEndpoint((hook,), limits=Limits(), metrics=metrics, log=logger)
    listener = await listen(endpoint.application(), Address("127.0.0.1", 0), tls=tls, setting="--listen", log=logger)
    made = Server(listener, endpoint, hook, logged)
    try:
        yield made
    finally:
        hook.may_answer.set()
        await listener.close()
        for client in made.clients:
            await client.close()


async def plain(server: Server) -> Connection:
    """A connection without TLS."""
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
    ("names", "let_in"), [(set(), True), ({"kube-apiserver"}, True), ({"x", "other"}, True), ({"x"}, False)]
)
async def test_a_name_of_the_caller_has_to_be_one_that_is_let_in(*, names: set[str], let_in: bool) -> None:
    """Whoever has none of them gets no HTTP answer at all, and the log says which names he showed."""
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
        assert received == (b"HTTP/1.1" if let_in else b"")
        assert ("kube-apiserver" in server.logged.getvalue()) is not let_in


async def test_whoever_says_nothing_is_counted_until_he_speaks_or_leaves() -> None:
    """The drain waits for those who have just been let in."""
    async with serving() as server:
        speaker, leaver = await plain(server), await plain(server)
        await until(lambda: server.listener.silent == 2)
        speaker.writer.write(REQUEST)
        assert (await speaker.reader.readline()).startswith(b"HTTP/1.1 200")
        assert server.listener.silent == 1
        await leaver.close()
        await until(lambda: server.listener.silent == 0)


async def test_whoever_says_nothing_is_closed_at_the_end() -> None:
    """A server that has ended leaves no connection open."""
    async with serving() as server:
        silent = await plain(server)
        await until(lambda: server.listener.silent == 1)
    assert await silent.reader.read() == b""


async def test_a_drain_serves_on_and_asks_to_move_on() -> None:
    """New and old connections are answered, each answer says that it is the last, and readiness is gone at once."""
    async with serving() as server:
        old = await plain(server)
        draining = server.drain(1.0)
        await until(lambda: not server.readiness.ready)
        new = await plain(server)
        for connection in (old, new):
            connection.writer.write(REQUEST)
            answer = await connection.reader.read()
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"Connection: close" in answer
        await draining


async def test_a_drain_waits_for_what_is_being_answered_and_for_who_was_let_in() -> None:
    """After the door is closed, both are still answered before the drain ends."""
    async with serving() as server:
        server.hook.may_answer.clear()
        slow, silent = await plain(server), await plain(server)
        slow.writer.write(REQUEST)
        await server.hook.asked.wait()
        draining = server.drain(0.0)
        await until(lambda: not server.readiness.ready)
        with pytest.raises(ConnectionRefusedError):
            await refused(server)
        server.hook.may_answer.set()
        assert (await slow.reader.read()).startswith(b"HTTP/1.1 200")
        assert not draining.done()
        silent.writer.write(REQUEST)
        assert (await silent.reader.read()).startswith(b"HTTP/1.1 200")
        await draining


async def refused(server: Server) -> None:
    """Connect until nobody listens any more."""
    async with asyncio.timeout(10):
        while True:
            await (await plain(server)).close()
