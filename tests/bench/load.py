"""A load generator: keep-alive connections over TLS, each of which sends its next request after each answer.

It sends prepared bytes and only searches for the end of the answer, so that it uses less CPU time than the server.
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
    """The result of one measurement.

    Attributes:
        seconds: Duration of the measurement.
        latencies: Latency of each request, in seconds, sorted.
        failed: Number of answers with another status than 200.
    """

    seconds: float
    latencies: tuple[float, ...]
    failed: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Return the latency that this share of the requests did not exceed, in milliseconds."""
        return 1000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def request(path: str, body: bytes) -> bytes:
    """Return a POST request with a JSON body."""
    head = (
        f"POST {path}?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, requests: list[bytes], until: float) -> None:
        self._requests = requests
        self._until = until
        self._sent = 0
        self._received = b""
        self._sent_at = 0.0
        self.latencies: list[float] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio.Transport, but have its methods.
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
        self._transport.write(self._requests[self._sent % len(self._requests)])
        self._sent += 1


async def generate(
    port: int, trust: ssl.SSLContext, requests: list[list[bytes]], *, seconds: float, host: str = "127.0.0.1"
) -> Load:
    """Send requests for some time.

    Args:
        port: Port of the server.
        trust: TLS context that verifies the server's certificate.
        requests: For each connection, the requests that it sends in turn.
        seconds: Duration.
        host: Host of the server.
    """
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    connections = []
    for of_connection in requests:
        _, connection = await loop.create_connection(
            lambda of_connection=of_connection: _Connection(of_connection, started + seconds),  # type: ignore[misc]  # mypy cannot infer it
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
