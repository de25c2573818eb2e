"""Read request bodies within limits, so that no caller can fill the memory or keep others out by sending slowly.

Any pod can open connections to the port. A body that is still arriving takes no place among the reviews that are being
processed, has a time limit of its own, and counts by the bytes that have arrived.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web

from webhook.errors import RequestError

#: With 429 and 503 the API server calls again, with the same uid, if the response has this header.
RETRY_AFTER: Final = MappingProxyType({str(hdrs.RETRY_AFTER): "1"})
#: A body of 7 MiB takes milliseconds within a cluster; a slower caller is not the API server.
BODY_SECONDS: Final = 5.0
#: The usual size of a review; this much is accepted from every caller, whatever others hold.
SMALL_BYTES: Final = 128 * 1024


class Bodies:
    """Read bodies within a limit for each and a limit for all together.

    Args:
        largest: The most bytes of one body.
        together: The most bytes of all bodies that are arriving; above it, only small bodies are accepted.
    """

    def __init__(self, *, largest: int, together: int) -> None:
        self._largest = largest
        self._together = together
        self._held = 0

    async def read(self, request: web.Request) -> bytes:
        """Read a whole body.

        Raises:
            RequestError: It is too large, compressed, cut off, or too much together with the others.
        """
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise RequestError(415, "A review is sent without Content-Encoding.")
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                self._held += len(part)
                self._check(size)
        except (web.RequestPayloadError, ConnectionResetError):
            raise RequestError(400, "The body was cut off or badly framed.") from None
        finally:
            self._held -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check(self, size: int) -> None:
        if size > self._largest:
            raise RequestError(413, f"The body is larger than {self._largest} bytes.")
        if size > SMALL_BYTES and self._held > self._together:
            raise RequestError(429, "Too many large bodies are arriving.", RETRY_AFTER)
