"""The HTTP side, over real connections: limits, deadlines and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from webhook import log
from webhook.admission.deadline import Deadline
from webhook.admission.hook import Answer
from webhook.errors import KubernetesError, MalformedReviewError
from webhook.metrics import ServerMetrics
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Listener, listen
from webhook.values import Address

SECRET = "hush-hush"


class Echo:
    """A hook of the test's own: it answers with what it was sent, or fails as it is told to."""

    path = "/echo"
    name = "echo"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.seconds = 0.0

    async def answer(self, body: bytes, deadline: Deadline) -> Answer:
        """Do what the body says."""
        self.seconds = deadline.remaining()
        if body == b'"malformed"':
            raise MalformedReviewError("not a review")
        if body == b'"kubernetes"':
            raise KubernetesError("no API server")
        if body == b'"defect"':
            raise RuntimeError(SECRET)
        if body == b'"wait"':
            self.entered.set()
            await self.gate.wait()
        if body == b'"unavailable"':
            return Answer(body, "u", "CREATE", "denied", 503)
        return Answer(body, "u", "CREATE", "allowed", 200)


@contextlib.asynccontextmanager
async def sending(port: int, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Send bytes as they are, and leave the connection open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Server:
    """A listening endpoint with its hook, and a client."""

    def __init__(self, hook: Echo, endpoint: AdmissionEndpoint, listener: Listener, logged: io.StringIO) -> None:
        self.hook = hook
        self.endpoint = endpoint
        self.listener = listener
        self.registry = CollectorRegistry()
        self.logged = logged
        self.url = f"http://127.0.0.1:{listener.port}"
        self.client = aiohttp.ClientSession()

    async def post(
        self, body: bytes, *, path: str = "/echo", content_type: str = "application/json"
    ) -> tuple[int, str, str | None]:
        """Send a body; return status, text and Retry-After."""
        async with self.client.post(self.url + path, data=body, headers={"Content-Type": content_type}) as response:
            return response.status, await response.text(), response.headers.get("Retry-After")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Serve the echo hook, at most two reviews at a time and bodies of 1,000 bytes."""
    logged = io.StringIO()
    hook = Echo()
    endpoint = AdmissionEndpoint(
        (hook,),
        limits=Limits(in_flight=2, body=1000, arriving=1500),
        metrics=ServerMetrics(CollectorRegistry()),
        log=log.configure("info", "json", logged),
    )
    listener = await listen(endpoint.application(), Address("127.0.0.1", 0), setting="--listen")
    made = Server(hook, endpoint, listener, logged)
    yield made
    hook.gate.set()
    await made.client.close()
    await listener.close()


async def test_answers_a_review(server: Server) -> None:
    """What the hook answers goes back as JSON."""
    async with server.client.post(server.url + "/echo", json={"a": 1}) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.json() == {"a": 1}


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b'"malformed"', 400, "not a review\n"),
        (b'"kubernetes"', 503, "no API server\n"),
        (b'"defect"', 500, "Internal error; the log of rollonce says more.\n"),
        (b"x" * 1001, 413, "The body is larger than 1000 bytes."),
    ],
)
async def test_what_goes_wrong_has_its_status(server: Server, body: bytes, status: int, text: str) -> None:
    """A fault of the caller, of a dependency and of ours differ, and each is one line without a traceback."""
    got, answer, _ = await server.post(body)
    assert got == status
    assert answer.startswith(text)
    assert answer.count("\n") == 1
    assert json.loads(server.logged.getvalue().splitlines()[-1])["path"] == "/echo"


async def test_a_dependency_that_fails_asks_for_a_retry(server: Server) -> None:
    """The API server calls again, with the same uid, where a 503 says when."""
    assert await server.post(b'"kubernetes"') == (503, "no API server\n", "1")


@pytest.mark.parametrize(("body", "closes"), [(b'"unavailable"', True), (b"{}", False)])
async def test_who_cannot_tell_sends_the_client_elsewhere(server: Server, body: bytes, *, closes: bool) -> None:
    """What this replica cannot reach another may: the connection ends, so that the next call can go there."""
    headers = {"Content-Type": "application/json"}
    async with server.client.post(server.url + "/echo", data=body, headers=headers) as response:
        assert response.status == 200
        assert (response.headers.get("Connection") == "close") is closes


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_content_type_is_refused(server: Server, content_type: str) -> None:
    """Only JSON is a review."""
    status, text, _ = await server.post(b"{}", content_type=content_type)
    assert status == 415
    assert "application/json" in text


async def test_a_charset_is_no_other_content_type(server: Server) -> None:
    """Parameters of the type do not count."""
    assert (await server.post(b"{}", content_type="application/json; charset=utf-8"))[0] == 200


async def test_another_path_or_method_is_refused(server: Server) -> None:
    """There is nothing but the hooks, and they take POST."""
    assert (await server.post(b"{}", path="/other"))[0] == 404
    async with server.client.get(server.url + "/echo") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("given", "low", "high"), [("5s", 4.0, 4.75), ("1s", 0.5, 0.9), ("", 8.0, 9.75), ("99h", 25.0, 29.75)]
)
async def test_the_deadline_comes_from_the_query(server: Server, given: str, low: float, high: float) -> None:
    """The caller's time, less what the answer needs for its way back, and never more than the server grants anyone."""
    query = f"?timeout={given}" if given else ""
    assert (await server.post(b"{}", path=f"/echo{query}"))[0] == 200
    assert low < server.hook.seconds <= high


async def test_a_wrong_timeout_is_refused(server: Server) -> None:
    """A deadline that cannot be read is not guessed."""
    assert (await server.post(b"{}", path="/echo?timeout=soon"))[0] == 400


async def test_a_hook_that_takes_too_long_is_cut_off(server: Server) -> None:
    """The caller gets an answer within its time, whatever the hook waits for."""
    assert (await server.post(b'"wait"', path="/echo?timeout=100ms"))[0] == 504


HEAD = b"POST /echo?timeout=%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n"


async def test_a_body_that_does_not_arrive_is_given_up(server: Server) -> None:
    """A client that sends its body too slowly is told so, as its own fault and not as ours."""
    async with sending(server.listener.port, HEAD % (b"100ms", b"Content-Length: 9") + b"{") as reader:
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")


async def test_slow_senders_keep_nobody_out(server: Server) -> None:
    """Bodies that are still arriving take no place of a review, however many there are."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            slow = HEAD % (b"30s", b"Content-Length: 9") + b"{"
            await stack.enter_async_context(sending(server.listener.port, slow))
        for _ in range(20):
            assert (await server.post(b"{}"))[0] == 200
        assert not server.endpoint._idle.is_set()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_compressed_body_is_refused(server: Server, encoding: str) -> None:
    """Nobody has to send one, and a small one could become a very large one."""
    async with server.client.post(
        server.url + "/echo", data=b"x", headers={"Content-Type": "application/json", "Content-Encoding": encoding}
    ) as response:
        assert response.status in {400, 415}
    assert "defect" not in server.logged.getvalue()


async def test_a_badly_framed_body_is_the_clients_fault(server: Server) -> None:
    """Chunks that are none get a 400, and the log a line instead of a traceback."""
    async with sending(server.listener.port, HEAD % (b"5s", b"Transfer-Encoding: chunked") + b"zzz\r\n") as reader:
        assert b" 400 " in await reader.readline()
    assert "exception" not in server.logged.getvalue()


async def test_overload_is_told_at_once(server: Server) -> None:
    """With as many reviews in work as are allowed, the next one is told to come again, and later ones are served."""
    waiting = [asyncio.create_task(server.post(b'"wait"')) for _ in range(2)]
    while server.endpoint._in_flight < 2:
        await server.hook.entered.wait()
        await asyncio.sleep(0)
    assert await server.post(b"{}") == (429, "Too many reviews are being worked on.\n", "1")
    server.hook.gate.set()
    assert [result[0] for result in await asyncio.gather(*waiting)] == [200, 200]
    assert (await server.post(b"{}"))[0] == 200


async def test_closing_finishes_and_asks_to_move_on(server: Server) -> None:
    """A replica that leaves still answers, and tells the client to use another connection."""
    waiting = asyncio.create_task(server.post(b'"wait"'))
    await server.hook.entered.wait()
    server.endpoint.start_closing()
    idle = asyncio.create_task(server.endpoint.idle())
    async with server.client.post(server.url + "/echo", json={}) as response:
        assert (response.status, response.headers["Connection"]) == (200, "close")
    assert not idle.done()
    server.hook.gate.set()
    assert (await waiting)[0] == 200
    await idle


async def test_the_log_holds_no_body(server: Server) -> None:
    """Nothing that a client sent, and no variable of a traceback, is logged."""
    await server.post(f'"{SECRET}"'.encode(), content_type="text/plain")
    await server.post(b'"malformed"')
    await server.post(b'"defect"')
    await server.post(SECRET.encode() * 200)
    lines = [json.loads(line) for line in server.logged.getvalue().splitlines()]
    assert [line.get("status") for line in lines] == [415, 400, None, 500, 413]
    assert lines[2]["exception"][0]["exc_type"] == "RuntimeError"
    assert SECRET not in server.logged.getvalue()


async def test_a_port_in_use_is_told(server: Server) -> None:
    """The message names the address, the reason and the flag that changes it."""
    with pytest.raises(Exception, match=r"127\.0\.0\.1:\d+: .*in use.*--listen"):
        await listen(server.endpoint.application(), Address("127.0.0.1", server.listener.port), setting="--listen")
