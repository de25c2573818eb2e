"""A load generator: so many keep-alive connections over TLS, each sending its next request when it has its answer.

It writes prepared bytes and looks only for the end of the answer, so that it costs less than what it measures.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of the generator saw.

    Attributes:
        seconds: How long it took.
        latencies: Of each request, in seconds, sorted.
        failed: Answers with another status than 200.
    """

    seconds: float
    latencies: tuple[float, ...]
    failed: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """The latency that this share of the requests did not exceed, in milliseconds."""
        return 1000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def request(path: str, body: bytes) -> bytes:
    """Write a POST of JSON."""
    head = (
        f"POST {path}?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, requests: list[bytes], until: float) -> None:
        self._requests = requests
        self._until = until
        self._turn = 0
        self._received = b""
        self._sent_at = 0.0
        self.latencies: list[float] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance, only by what they can.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(_HEAD_END)
        if not separator:
            return
        lowered = head.lower()
        start = lowered.index(_LENGTH) + len(_LENGTH)
        length = int(lowered[start:].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        self.failed += not head.startswith(b"HTTP/1.1 200")
        self._received = b""
        if now >= self._until:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[self._turn % len(self._requests)])
        self._turn += 1


async def generate(
    port: int, trust: ssl.SSLContext, requests: list[list[bytes]], *, seconds: float, host: str = "127.0.0.1"
) -> Load:
    """Send requests for some time.

    Args:
        port: Of the server.
        trust: What its certificate is verified by.
        requests: For each connection the requests that it sends, in turn.
        seconds: For how long.
        host: Of the server.
    """
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    connections = []
    for own in requests:
        _, connection = await loop.create_connection(
            lambda own=own: _Connection(own, started + seconds),  # type: ignore[misc]  # mypy cannot infer it
            host,
            port,
            ssl=trust,
            server_hostname="localhost",
        )
        connections.append(connection)
    await asyncio.gather(*(connection.done for connection in connections))
    took = time.perf_counter() - started
    latencies = tuple(sorted(latency for connection in connections for latency in connection.latencies))
    return Load(took, latencies, sum(connection.failed for connection in connections))
