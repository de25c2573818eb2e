"""Reading the bodies of requests, so that nobody can fill the memory or keep the others out by sending slowly.

Whoever reaches the port can open connections. A body that is still arriving therefore takes none of the places for
reviews being worked on, has a time of its own, and counts by the bytes that have really come.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from webhook.server.refusal import RETRY_AFTER, HttpError

#: A body of 7 MiB takes milliseconds inside of a cluster; who takes longer is not the API server.
BODY_SECONDS: Final = 5.0
#: What a review usually has; as much is taken from anyone, whatever others hold.
SMALL: Final = 128 * 1024


class Bodies:
    """Reads bodies, within limits for one and for all together.

    Args:
        largest: Bytes of one body.
        together: Bytes of all that are arriving; beyond that only small ones are taken.
    """

    def __init__(self, *, largest: int, together: int) -> None:
        self._largest = largest
        self._together = together
        self._held = 0

    async def read(self, request: web.Request) -> bytes:
        """Read a whole body.

        Raises:
            HttpError: It is too large, compressed, cut off, or too much together with the others.
        """
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise HttpError(415, "A review is sent without Content-Encoding.")
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                self._held += len(part)
                self._check(size)
        except (web.RequestPayloadError, ConnectionResetError):
            raise HttpError(400, "The body was cut off or badly framed.") from None
        finally:
            self._held -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check(self, size: int) -> None:
        if size > self._largest:
            raise HttpError(413, f"The body is larger than {self._largest} bytes.")
        if size > SMALL and self._held > self._together:
            raise HttpError(429, "Too many large bodies are arriving.", RETRY_AFTER)
