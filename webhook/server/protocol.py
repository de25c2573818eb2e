"""The HTTP side of a connection: aiohttp's protocol with limits for what arrives before a request is complete."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import StreamReader, http_parser, web
from aiohttp.typedefs import Handler

from webhook.errors import RejectedError
from webhook.server import heap
from webhook.server.sources import Refusal, Slot, Sources

#: Time from the first byte of a request to the end of its header.
HEADER_SECONDS: Final = 10.0
#: The API server sends some hundred bytes; a token is about a kilobyte.
HEADER_BYTES: Final = 16 * 1024
_LINE_BYTES: Final = 4096
_FIELD_BYTES: Final = 8190
_FIELDS: Final = 64
#: The API server closes a connection that was idle for 90 s; the side that closes second cannot cut off a request.
KEEP_ALIVE_SECONDS: Final = 120.0
_SWEEP_SECONDS: Final = 0.5
#: The memory of so many closed connections is worth some milliseconds.
_MANY_CLOSED: Final = 128
#: How long the rest of a body is read after it was refused, so that its sender gets to read why.
_LINGERING_SECONDS: Final = 2.0


def require_c_parser() -> None:
    """Refuse to serve with the parser in Python: it takes 20 times as long, and is another parser than the tested one.

    Raises:
        RejectedError: aiohttp has no compiled parser here.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RejectedError(
            "aiohttp has no compiled HTTP parser here, and rollonce does not serve without it. Install aiohttp from a "
            "wheel for this platform, and unset AIOHTTP_NO_EXTENSIONS."
        )


class HttpConnections:
    """Create the protocols of connections, and close those whose header does not arrive.

    Args:
        server: aiohttp's server.
        sources: The open connections.
    """

    def __init__(self, server: web.Server, sources: Sources) -> None:
        self._server = server
        self._sources = sources
        self._loop = asyncio.get_running_loop()
        #: Connections whose header is incomplete, by when it began; oldest first.
        self._headers: dict[_HttpConnection, float] = {}
        self._closed = 0
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def __call__(self, slot: Slot) -> asyncio.Protocol:
        """Create the protocol of a connection."""
        return _HttpConnection(self, slot, self._server, self._loop)

    def close(self) -> None:
        """Stop to look after headers."""
        self._sweeper.cancel()

    def header_began(self, connection: _HttpConnection) -> None:
        """Note the first byte of a request."""
        self._headers.setdefault(connection, self._loop.time())

    def header_ended(self, connection: _HttpConnection) -> None:
        """Note that the header is complete, or that the connection is closed."""
        self._headers.pop(connection, None)

    def begin(self, slot: Slot) -> None:
        """Note that a request is being answered."""
        self._sources.begin(slot)

    def end(self, slot: Slot) -> None:
        """Note that a request was answered."""
        self._sources.end(slot)

    def remove(self, connection: _HttpConnection, slot: Slot) -> None:
        """Forget a closed connection."""
        self._headers.pop(connection, None)
        self._sources.remove(slot)
        self._closed += 1

    def reject(self, slot: Slot, why: Refusal) -> None:
        """Close a connection because of what it sent, or did not send."""
        self._sources.close(slot, why)

    def _sweep(self) -> None:
        oldest = self._loop.time() - HEADER_SECONDS
        for connection, began in tuple(self._headers.items()):
            if began > oldest:
                break
            del self._headers[connection]
            connection.reject(Refusal.HEADER)
        if self._closed >= _MANY_CLOSED:
            self._closed = 0
            heap.give_back()
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)


class _HttpConnection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_connections", "_content", "_header_bytes", "_in_request", "_slot")

    def __init__(
        self, connections: HttpConnections, slot: Slot, server: web.Server, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # None turns it off, which the annotation does not say
            max_line_size=_LINE_BYTES,
            max_field_size=_FIELD_BYTES,
            max_headers=_FIELDS,
            # A small body could expand to a very large one, at the cost of much time.
            auto_decompress=False,
            lingering_time=_LINGERING_SECONDS,
        )
        self._connections = connections
        self._slot = slot
        self._header_bytes = 0
        #: Whether a header was complete and its request has not been answered.
        self._in_request = False
        #: The body of the latest request; its rest can arrive after its answer.
        self._content: StreamReader | None = None

    def data_received(self, data: bytes) -> None:
        request = self._current_request
        # aiohttp calls it with nothing to go on with what it has received before.
        if data and request is not None and request.content.is_eof():
            # The API server never sends a request before it has the answer to the one before.
            self.reject(Refusal.PIPELINED)
            return
        parsed = self._request_count
        super().data_received(data)
        if self._request_count != parsed:
            self._header_bytes = 0
            self._in_request = True
            self._connections.header_ended(self)
        elif data and not self._in_request and (self._content is None or self._content.is_eof()):
            self._header_bytes += len(data)
            self._connections.header_began(self)
            if self._header_bytes > HEADER_BYTES:
                self.reject(Refusal.HEADER)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.remove(self, self._slot)
        idle = self._task_handler if self._current_request is None else None
        super().connection_lost(exc)
        self._content = None
        if idle is not None:
            # It would keep the connection's buffers for as long as it waits for the rest of a body.
            idle.cancel()

    def reject(self, why: Refusal) -> None:
        """Close the connection without an answer."""
        self._connections.reject(self._slot, why)

    def begin(self, content: StreamReader) -> None:
        """Note that a request is being answered, and where its body arrives."""
        self._content = content
        self._connections.begin(self._slot)

    def end(self) -> None:
        """Note that a request was answered."""
        self._in_request = bool(self._messages)
        self._connections.end(self._slot)

    @property
    def source(self) -> str:
        """Where the connection comes from."""
        return self._slot.source


@web.middleware
async def note_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note on its connection that a request is being answered, so that it is not closed as an idle one."""
    connection = request.protocol
    if not isinstance(connection, _HttpConnection):
        return await handler(request)
    connection.begin(request.content)
    try:
        return await handler(request)
    finally:
        connection.end()


def caller_of(request: web.Request) -> str:
    """Return the source of a request."""
    return request.protocol.source if isinstance(request.protocol, _HttpConnection) else ""
