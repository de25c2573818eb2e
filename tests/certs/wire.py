"""Real TLS on loopback: an echo server, and clients that verify strictly."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from certs.bundle import Bundle
from certs.pem import KeyPair
from certs.tls import ServerTls, _as_file, peer_names


@dataclass(frozen=True)
class Connection:
    """The client side of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def tls(self) -> ssl.SSLObject:
        """The TLS connection."""
        connection = self.writer.get_extra_info("ssl_object")
        assert isinstance(connection, ssl.SSLObject)
        return connection

    @property
    def served(self) -> bytes | None:
        """The server's leaf, DER."""
        return self.tls.getpeercert(binary_form=True)

    async def ask(self, line: bytes = b"hello") -> bytes:
        """Send a line and return the line that comes back."""
        self.writer.write(line + b"\n")
        await self.writer.drain()
        answer = await self.reader.readline()
        if not answer:
            raise ConnectionResetError("the server closed the connection")
        return answer.rstrip(b"\n")

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def echo_server(tls: ServerTls) -> AsyncIterator[int]:
    """Start a server on a free port; it answers each line with the line and the client's names."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names = peer_names(writer.get_extra_info("ssl_object"))
        while line := await reader.readline():
            writer.write(b" ".join([line.rstrip(b"\n"), *sorted(name.encode() for name in names)]) + b"\n")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls.context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def client_context(bundle: Bundle, *, shown: KeyPair | None = None) -> ssl.SSLContext:
    """Return the context of a client that verifies as strictly as OpenSSL can."""
    context = ssl.create_default_context(cadata=bundle.pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if shown:
        with _as_file(shown.chain_pem + shown.key_pem) as path:
            context.load_cert_chain(path)
    return context


async def connect(port: int, context: ssl.SSLContext, *, server_name: str = "localhost") -> Connection:
    """Connect and do the handshake."""
    return Connection(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_name))
