"""The server's TLS context; its certificate can change while connections stay open.

Each pair gets its own context, which the SNI callback chooses at each handshake; OpenSSL calls it even if the client
names no server. A pair must not be loaded into a context that is in use: if the key does not match, the context fails
every handshake from then on, and if an ECDSA pair follows an RSA one, it offers both.
"""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from certs.bundle import Bundle
from certs.errors import TlsError
from certs.pem import KeyPair

PeerSocket = ssl.SSLObject | ssl.SSLSocket


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The requirements for clients.

    Attributes:
        minimum: The oldest TLS version: TLS 1.3, or 1.2 for an old API server.
        client_authorities: Each client needs a certificate that chains to these; None if clients need none. They
            cannot change while the server runs, because a resumed session is not verified again.
    """

    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    client_authorities: Bundle | None = None


class ServerTls:
    """The TLS side of a server, with the pair that is served.

    Until the first pair is loaded, every handshake ends with an alert.

    Args:
        options: The requirements for clients.

    Attributes:
        context: The context with which the server listens; it stays the same when pairs change.
    """

    def __init__(self, options: TlsOptions | None = None) -> None:
        self._options = options or TlsOptions()
        self._serving: ssl.SSLContext | None = None
        self.context = self._new_context()
        # Session tickets belong to this context, so sessions can be resumed after a change of the pair.
        self.context.sni_callback = self._choose

    def load(self, pair: KeyPair) -> None:
        """Serve a pair at every handshake that begins from now on; open connections stay as they are.

        Raises:
            TlsError: OpenSSL rejects the pair; the one before stays.
        """
        context = self._new_context()
        with _as_file(pair.chain_pem + pair.key_pem) as path:
            try:
                context.load_cert_chain(path)
            except (ssl.SSLError, OSError) as error:
                # The path is a temporary one: only the reason helps.
                detail = error.reason if isinstance(error, ssl.SSLError) else error.strerror
                raise TlsError(f"OpenSSL rejects the certificate and key: {detail}") from None
        self._serving = context

    def _choose(self, connection: PeerSocket, _name: str | None, _context: ssl.SSLContext) -> int | None:
        if self._serving is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._serving
        return None

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._options.minimum
        context.set_alpn_protocols(["http/1.1"])
        if self._options.client_authorities:
            if not self._options.client_authorities.certificates:
                raise TlsError("client certificates are required, but no CA is given to verify them")
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self._options.client_authorities.pem.decode())
        return context


def peer_names(connection: PeerSocket) -> frozenset[str]:
    """Return the names in a verified client certificate: common names, DNS names and URIs.

    Args:
        connection: The `ssl_object` of a transport (`transport.get_extra_info("ssl_object")`).

    Returns:
        Empty if the client sent no certificate.
    """
    certificate = connection.getpeercert() or {}
    names = {value for kind, value in _pairs(certificate.get("subjectAltName")) if kind in ("DNS", "URI")}
    for part in _parts(certificate.get("subject")):
        names |= {value for kind, value in _pairs(part) if kind == "commonName"}
    return frozenset(names)


def _parts(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    # The documented shape of the result of `ssl.SSLSocket.getpeercert` is not in its type.
    for item in _parts(value):
        if isinstance(item, tuple) and len(item) == 2:
            yield str(item[0]), str(item[1])


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Provide content as a file of mode 0600, because OpenSSL loads keys from files only.

    On Linux the file is in memory; elsewhere it is a temporary file that is removed afterwards.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor, path = _memory_file(stack)
        except (AttributeError, OSError):
            descriptor, path = _temporary_file(stack)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield path


def _memory_file(stack: contextlib.ExitStack) -> tuple[int, str]:
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    os.fchmod(descriptor, 0o600)
    path = f"/proc/self/fd/{descriptor}"
    os.stat(path)  # noqa: PTH116 - a path of /proc, absent where /proc is not mounted
    return descriptor, path


def _temporary_file(stack: contextlib.ExitStack) -> tuple[int, str]:
    descriptor, path = tempfile.mkstemp()
    stack.callback(os.unlink, path)
    stack.callback(os.close, descriptor)
    return descriptor, path
