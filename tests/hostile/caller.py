"""A pod that calls the server by itself: raw requests over TLS, from an address of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

#: The API server of the tests calls from 127.0.0.1; Linux lets others of this network be used without setup.
ATTACKER = "127.0.0.2"
API_SERVER = "127.0.0.1"
MUTATE_DEPLOYMENTS = "/mutate/deployments"
VALIDATE_RUNS = "/validate/orchestrationruns"
_SECONDS = 30.0
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the server; the status is 0 if it closed the connection without one."""

    status: int
    body: bytes = b""

    @property
    def review(self) -> dict[str, Any]:
        """The `response` of the review."""
        document: dict[str, Any] = json.loads(self.body)["response"]
        return document


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls one port.

    Attributes:
        port: The port.
        trust: TLS of the client; None for plain text.
        source: The address that it calls from.
    """

    port: int
    trust: ssl.SSLContext | None
    source: str = ATTACKER

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        return await asyncio.open_connection(
            "127.0.0.1",
            self.port,
            ssl=self.trust,
            server_hostname="localhost" if self.trust else None,
            local_addr=(self.source, 0),
        )

    async def send(self, data: bytes) -> Response:
        """Send a request on a new connection, and return the answer."""
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await self.connect()
                try:
                    writer.write(data)
                    return await _response(reader)
                finally:
                    await _close(writer)
        except (OSError, asyncio.IncompleteReadError):
            return Response(0)

    async def send_all(self, requests: Sequence[bytes], *, at_once: int = 1000) -> list[Response]:
        """Send many requests, each on its own connection."""
        slots = asyncio.Semaphore(at_once)

        async def one(data: bytes) -> Response:
            async with slots:
                return await self.send(data)

        return await asyncio.gather(*map(one, requests))

    @asynccontextmanager
    async def holding(self, count: int, data: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
        """Open connections, send something on each, and keep them; those that the server refuses are left out."""
        opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        try:
            for first in range(0, count, _AT_ONCE):
                some = await asyncio.gather(
                    *(self.connect() for _ in range(min(_AT_ONCE, count - first))), return_exceptions=True
                )
                for one in some:
                    if not isinstance(one, BaseException):
                        one[1].write(data)
                        opened.append(one)
                # One loop turn for the server on a small machine.
                await asyncio.sleep(0)
            yield [reader for reader, _ in opened]
        finally:
            await asyncio.gather(*(_close(writer) for _, writer in opened))


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _response(reader: asyncio.StreamReader) -> Response:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.lower().splitlines() if line.startswith(b"content-length:")),
        0,
    )
    return Response(int(head.split(b" ")[1]), await reader.readexactly(length))


def post(path: str, body: bytes, *, headers: str = "", query: str = "timeout=10s") -> bytes:
    """Return a request."""
    head = (
        f"POST {path}?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def review(obj: Any, *, operation: str = "CREATE", old: Any = None, **more: Any) -> bytes:
    """Return a review of an object as the API server sends it; `more` replaces fields of the request."""
    request = {
        "uid": str(uuid4()),
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "operation": operation,
        "name": "web",
        "namespace": "default",
        "object": obj,
        "oldObject": old,
        "dryRun": False,
        "userInfo": {"username": "writer"},
        **more,
    }
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def run_review(delivery_id: Any, *, namespace: str = "default", parameters: str = "", **metadata: Any) -> bytes:
    """Return a review of the create of a run; the parameters are given as JSON."""
    name = f"run-{uuid4()}"
    kind = {"group": "orchestration.proompteng.ai", "version": "v1alpha1", "kind": "OrchestrationRun"}
    obj = {
        "metadata": {"name": name, "namespace": namespace, "uid": str(uuid4()), **metadata},
        "spec": {"orchestrationRef": {"name": "build"}, "deliveryId": delivery_id, "parameters": "@"},
    }
    made = review(obj, kind=kind, name=name, namespace=namespace)
    return made.replace(b'"@"', parameters.encode() if parameters else b"{}")
