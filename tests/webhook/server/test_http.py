"""The HTTP server over real connections: limits, deadlines and errors."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from webhook.admission.webhook import Answer, Review
from webhook.errors import KubernetesError, MalformedReviewError
from webhook.runtime import log
from webhook.runtime.deadline import Deadline
from webhook.runtime.metrics import ServerMetrics
from webhook.runtime.parsers import Address
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Listener, listen

SECRET = "hush-hush"


class Echo:
    """A webhook that answers with the request body, or fails as the body says."""

    path = "/echo"
    name = "echo"
    namespace = ""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.called = asyncio.Event()
        self.seconds = 0.0

    def decode(self, body: bytes) -> Review:
        """Decode nothing."""
        return Review(self.namespace, None, lambda deadline: self.answer(body, deadline))

    async def answer(self, body: bytes, deadline: Deadline) -> Answer:
        """Answer or fail as the body says."""
        self.seconds = deadline.remaining()
        if body == b'"malformed"':
            raise MalformedReviewError("not a review")
        if body == b'"kubernetes"':
            raise KubernetesError("no API server")
        if body == b'"defect"':
            raise RuntimeError(SECRET)
        if body == b'"wait"':
            self.called.set()
            await self.may_answer.wait()
        if body == b'"unavailable"':
            return Answer(body, "CREATE", "denied", 503)
        return Answer(body, "CREATE", "allowed", 200)


@contextlib.asynccontextmanager
async def sending(port: int, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Send bytes, and leave the connection open."""
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
    """A listening server with the Echo webhook, and a client."""

    def __init__(self, webhook: Echo, endpoint: AdmissionEndpoint, listener: Listener, logged: io.StringIO) -> None:
        self.webhook = webhook
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
    """Serve the Echo webhook, with a limit of two reviews at a time and of bodies of 1,000 bytes."""
    logged = io.StringIO()
    webhook = Echo()
    endpoint = AdmissionEndpoint(
        (webhook,),
        limits=Limits(in_flight=2, body=1000),
        metrics=ServerMetrics(CollectorRegistry()),
        log=log.configure("info", "json", logged),
    )
    listener = await listen(endpoint.application(), Address("127.0.0.1", 0), setting="--listen")
    made = Server(webhook, endpoint, listener, logged)
    yield made
    webhook.may_answer.set()
    await made.client.close()
    await listener.close()


async def test_a_review_is_answered(server: Server) -> None:
    """The answer of the webhook is sent as JSON."""
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
async def test_errors_have_their_status(server: Server, body: bytes, status: int, text: str) -> None:
    """Errors of the caller, of a dependency and of the server have different statuses and one line of text each."""
    got, answer, _ = await server.post(body)
    assert got == status
    assert answer.startswith(text)
    assert answer.count("\n") == 1
    assert json.loads(server.logged.getvalue().splitlines()[-1])["path"] == "/echo"


async def test_a_failed_dependency_gives_503_with_retry_after(server: Server) -> None:
    """A failed dependency gives 503 with Retry-After, so that the API server repeats the call."""
    assert await server.post(b'"kubernetes"') == (503, "no API server\n", "1")


@pytest.mark.parametrize(("body", "closes"), [(b'"unavailable"', True), (b"{}", False)])
async def test_an_unavailable_answer_closes_the_connection(server: Server, body: bytes, *, closes: bool) -> None:
    """After an answer with code 503 the connection is closed, so that the next call can reach another replica."""
    headers = {"Content-Type": "application/json"}
    async with server.client.post(server.url + "/echo", data=body, headers=headers) as response:
        assert response.status == 200
        assert (response.headers.get("Connection") == "close") is closes


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_other_content_types_are_rejected(server: Server, content_type: str) -> None:
    """A content type other than JSON gives 415."""
    status, text, _ = await server.post(b"{}", content_type=content_type)
    assert status == 415
    assert "application/json" in text


async def test_parameters_of_the_content_type_are_ignored(server: Server) -> None:
    """`application/json` with a charset is accepted."""
    assert (await server.post(b"{}", content_type="application/json; charset=utf-8"))[0] == 200


async def test_other_paths_and_methods_are_rejected(server: Server) -> None:
    """An unknown path gives 404, and a method other than POST gives 405."""
    assert (await server.post(b"{}", path="/other"))[0] == 404
    async with server.client.get(server.url + "/echo") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("given", "low", "high"), [("5s", 4.0, 4.75), ("1s", 0.5, 0.9), ("", 8.0, 9.75), ("99h", 25.0, 29.75)]
)
async def test_the_deadline_comes_from_the_query(server: Server, given: str, low: float, high: float) -> None:
    """The deadline is the caller's timeout less a reserve for the answer, up to a limit of the server."""
    query = f"?timeout={given}" if given else ""
    assert (await server.post(b"{}", path=f"/echo{query}"))[0] == 200
    assert low < server.webhook.seconds <= high


async def test_an_invalid_timeout_is_rejected(server: Server) -> None:
    """A timeout that cannot be parsed gives 400."""
    assert (await server.post(b"{}", path="/echo?timeout=soon"))[0] == 400


async def test_a_slow_webhook_gives_504(server: Server) -> None:
    """If a webhook takes longer than the caller's timeout, the caller gets 504."""
    assert (await server.post(b'"wait"', path="/echo?timeout=100ms"))[0] == 504


HEAD = b"POST /echo?timeout=%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n"


async def test_a_body_that_does_not_arrive_gives_408(server: Server) -> None:
    """A client that sends its body too slowly gets 408."""
    async with sending(server.listener.port, HEAD % (b"100ms", b"Content-Length: 9") + b"{") as reader:
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")


async def test_incomplete_bodies_do_not_count_as_reviews_in_flight(server: Server) -> None:
    """Any number of connections whose bodies are incomplete does not delay other reviews."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            slow = HEAD % (b"30s", b"Content-Length: 9") + b"{"
            await stack.enter_async_context(sending(server.listener.port, slow))
        for _ in range(20):
            assert (await server.post(b"{}"))[0] == 200
        assert not server.endpoint._idle.is_set()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_compressed_body_is_rejected(server: Server, encoding: str) -> None:
    """A compressed body is rejected, because a small one could expand to a very large one."""
    async with server.client.post(
        server.url + "/echo", data=b"x", headers={"Content-Type": "application/json", "Content-Encoding": encoding}
    ) as response:
        assert response.status in {400, 415}
    assert "defect" not in server.logged.getvalue()


async def test_a_badly_framed_body_gives_400(server: Server) -> None:
    """An invalid chunk gives 400 and no traceback in the log."""
    async with sending(server.listener.port, HEAD % (b"5s", b"Transfer-Encoding: chunked") + b"zzz\r\n") as reader:
        assert b" 400 " in await reader.readline()
    assert "exception" not in server.logged.getvalue()


async def test_too_many_reviews_give_429(server: Server) -> None:
    """A review beyond the limit gets 429 with Retry-After at once, and later reviews are served."""
    waiting = [asyncio.create_task(server.post(b'"wait"')) for _ in range(2)]
    while server.endpoint._places.total < 2:
        await server.webhook.called.wait()
        await asyncio.sleep(0)
    assert await server.post(b"{}") == (429, "Too many reviews are being worked on.\n", "1")
    server.webhook.may_answer.set()
    assert [result[0] for result in await asyncio.gather(*waiting)] == [200, 200]
    assert (await server.post(b"{}"))[0] == 200


async def test_a_closing_server_answers_and_closes_connections(server: Server) -> None:
    """A replica that stops answers running and new requests, and closes their connections."""
    waiting = asyncio.create_task(server.post(b'"wait"'))
    await server.webhook.called.wait()
    server.endpoint.start_closing()
    idle = asyncio.create_task(server.endpoint.idle())
    async with server.client.post(server.url + "/echo", json={}) as response:
        assert (response.status, response.headers["Connection"]) == (200, "close")
    assert not idle.done()
    server.webhook.may_answer.set()
    assert (await waiting)[0] == 200
    await idle


async def test_the_log_contains_no_body(server: Server) -> None:
    """No body and no variable of a traceback is logged."""
    await server.post(f'"{SECRET}"'.encode(), content_type="text/plain")
    await server.post(b'"malformed"')
    await server.post(b'"defect"')
    await server.post(SECRET.encode() * 200)
    lines = [json.loads(line) for line in server.logged.getvalue().splitlines()]
    assert [line.get("status") for line in lines] == [415, 400, None, 500, 413]
    assert lines[2]["exception"][0]["exc_type"] == "RuntimeError"
    assert SECRET not in server.logged.getvalue()


async def test_a_port_in_use_is_reported(server: Server) -> None:
    """The error message has the address, the reason, and the flag that changes the address."""
    with pytest.raises(Exception, match=r"127\.0\.0\.1:\d+: .*in use.*--listen"):
        await listen(server.endpoint.application(), Address("127.0.0.1", server.listener.port), setting="--listen")
