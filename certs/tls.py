"""The server's side of TLS, with certificates that change while connections live on.

Each pair gets a context of its own, chosen at each handshake by the SNI callback, which OpenSSL calls whether or not
the client names a server. Loading a pair into a context in use is a trap: if the key does not match, the context fails
every handshake from then on; and where an ECDSA pair follows an RSA one, it goes on offering both.
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
    """What a client must be able to do.

    Args:
        minimum: TLS 1.3, or 1.2 where an API server is old.
        client_authorities: Asks each client for a certificate that chains to these; None asks for none. They are fixed
            for the life of the server, since a resumed session is not verified again.
    """

    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    client_authorities: Bundle | None = None


class ServerTls:
    """Holds the pair being served; give `context` to the server once.

    Until the first pair is loaded every handshake ends with an alert.

    Args:
        options: What a client must be able to do.
    """

    def __init__(self, options: TlsOptions | None = None) -> None:
        self._options = options or TlsOptions()
        self._serving: ssl.SSLContext | None = None
        self.context = self._new_context()
        """What the server listens with; it stays the same when pairs change."""
        # Session tickets belong to this context, so that resumption outlives a change of the pair.
        self.context.sni_callback = self._choose

    @property
    def is_loaded(self) -> bool:
        """Whether there is a pair to serve."""
        return self._serving is not None

    def load(self, pair: KeyPair) -> None:
        """Serves this pair to every handshake that begins from now on; connections stay as they are.

        Raises:
            TlsError: OpenSSL does not take the pair; the one before stays.
        """
        context = self._new_context()
        with _as_file(pair.chain_pem + pair.key_pem) as path:
            try:
                context.load_cert_chain(path)
            except (ssl.SSLError, OSError) as error:
                # The path is of no use to anybody, and OpenSSL's reason is what counts.
                detail = error.reason if isinstance(error, ssl.SSLError) else error.strerror
                raise TlsError(f"OpenSSL does not take the certificate and key: {detail}") from None
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
                raise TlsError("client certificates are demanded, but no CA is given to verify them")
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self._options.client_authorities.pem.decode())
        return context


def peer_names(connection: PeerSocket) -> frozenset[str]:
    """The names that a verified client certificate gives: common names, DNS names and URIs.

    Args:
        connection: As `transport.get_extra_info("ssl_object")` gives it.

    Returns:
        Empty where the client showed none.
    """
    certificate = connection.getpeercert() or {}
    names = {value for kind, value in _pairs(certificate.get("subjectAltName")) if kind in ("DNS", "URI")}
    for part in _parts(certificate.get("subject")):
        names |= {value for kind, value in _pairs(part) if kind == "commonName"}
    return frozenset(names)


def _parts(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    # The shape that `ssl.SSLSocket.getpeercert` documents is not in its type.
    for item in _parts(value):
        if isinstance(item, tuple) and len(item) == 2:
            yield str(item[0]), str(item[1])


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path for OpenSSL, which loads keys from files only: in memory on Linux, mode 0600, gone at once."""
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
