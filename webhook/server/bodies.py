"""The memory of requests: read bodies within limits, and account for each until its answer is written.

Any pod can open connections to the port. Whatever it sends, the memory that requests hold together has a bound, and no
caller gets so much of it that nothing is left for the others. A body that is still arriving has a time limit of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web

from webhook.admission.review import decoded_size
from webhook.errors import RequestError
from webhook.server.shares import Group, Shares

#: With 429 and 503 the API server calls again, with the same uid, if the response has this header.
RETRY_AFTER: Final = MappingProxyType({str(hdrs.RETRY_AFTER): "1"})
#: A body of 7 MiB takes milliseconds within a cluster; a slower caller is not the API server.
BODY_SECONDS: Final = 5.0
#: What a request costs beside its body: the task, the headers, and the buffers of its connection. Measured.
OVERHEAD_BYTES: Final = 64 * 1024


class Memory:
    """The memory of the requests that are open.

    Args:
        largest: The most bytes of one body.
        capacity: The most bytes of all requests of one caller; all callers may hold twice as much.
    """

    def __init__(self, *, largest: int, capacity: int) -> None:
        self._largest = largest
        self._shares = Shares(capacity)

    @property
    def held(self) -> int:
        """The bytes of all open requests, as they are accounted for."""
        return self._shares.total

    @contextmanager
    def request(self, group: Group) -> Iterator[Allocation]:
        """Account for a request for as long as the block runs.

        Raises:
            RequestError: There is no memory for one more request.
        """
        allocation = Allocation(self._shares, group, self._largest)
        try:
            allocation.grow(OVERHEAD_BYTES)
            yield allocation
        finally:
            allocation.keep(0)


class Allocation:
    """What one request holds.

    Args:
        shares: The memory.
        group: Who has sent the request.
        largest: The most bytes of a body.
    """

    def __init__(self, shares: Shares, group: Group, largest: int) -> None:
        self._shares = shares
        self._group = group
        self._largest = largest
        self._size = 0

    def grow(self, size: int) -> None:
        """Take some bytes more.

        Raises:
            RequestError: There are none left, or it can never be as many.
        """
        if not self._shares.fits(self._group, size):
            if self._size + size > self._shares.largest():
                raise RequestError(413, "The review has too many parts for its size in memory.")
            raise RequestError(429, "Too many large reviews are being worked on.", RETRY_AFTER)
        self._shares.take(self._group, size)
        self._size += size

    def keep(self, size: int) -> None:
        """Give back everything but so many bytes."""
        if size < self._size:
            self._shares.give(self._group, self._size - size)
            self._size = size

    async def read(self, request: web.Request) -> bytes:
        """Read a whole body, and account for what it can become when it is decoded.

        Raises:
            RequestError: It is too large, compressed, cut off, or too much together with the others.
        """
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise RequestError(415, "A review is sent without Content-Encoding.")
        # All at once, where the length is known: of many large bodies that share what is left, none would fit.
        granted = request.content_length or 0
        if granted > self._largest:
            raise self._too_large()
        self.grow(granted)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.content.iter_any():
                size += len(part)
                if size > self._largest:
                    raise self._too_large()
                if size > granted:
                    self.grow(size - granted)
                    granted = size
                parts.append(part)
        except (web.RequestPayloadError, ConnectionResetError):
            raise RequestError(400, "The body was cut off or badly framed.") from None
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.grow(decoded_size(body))
        return body

    def _too_large(self) -> RequestError:
        return RequestError(413, f"The body is larger than {self._largest} bytes.")
