"""A program that terminates TLS in front of a server on loopback: `tls_front.py PORT BACKEND_PORT CERTIFICATE KEY`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys

_CHUNK_BYTES = 65_536


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward data until the sender closes; then close the other side too."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def _serve(port: int, backend: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            backend_reader, backend_writer = await asyncio.open_connection("127.0.0.1", backend)
        except OSError:  # the server is down, so close the connection
            writer.close()
            return
        await asyncio.gather(_forward(reader, backend_writer), _forward(backend_reader, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    _port, _backend, _certificate, _key = sys.argv[1:]
    asyncio.run(_serve(int(_port), int(_backend), _certificate, _key))
