"""Whether a call to this replica would succeed: webhooks trust its certificate, and its port serves it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from certs.bundle import check_leaf
from certs.errors import CertificateError, TlsError
from certs.injector import PublishedConfiguration
from certs.pem import KeyPair

#: Shown by `/readyz` before the first certificate.
NO_CERTIFICATE: Final = "there is no certificate yet"
#: Time for a handshake with a replica.
DIAL_SECONDS: Final = 2.0


def untrusting_webhook(
    pair: KeyPair, configurations: Iterable[PublishedConfiguration], *, server_name: str, now: datetime
) -> str:
    """Return which webhook does not trust a certificate, and why; empty if all do.

    It is also empty if no configuration has a webhook of this installation: then the API server makes no calls.

    Args:
        pair: The certificate that is served.
        configurations: The webhook configurations on the API server.
        server_name: The name that the API server verifies.
        now: The time, with a time zone.
    """
    for configuration in configurations:
        for webhook in configuration.webhooks:
            try:
                check_leaf(pair.chain, webhook.bundle, server_name=server_name, now=now)
            except CertificateError as error:
                return f"{webhook.name} in {configuration.kind} {configuration.name}: {error}"
    return ""


async def port_problem(pair: KeyPair | None, host: str, port: int, *, server_name: str) -> str:
    """Return why a port does not serve a certificate; empty if it does.

    Args:
        pair: The certificate that it should serve.
        host: The address that the server listens on.
        port: The port that it listens on.
        server_name: The name of the server in the handshake.
    """
    if pair is None:
        return NO_CERTIFICATE
    try:
        served = await dial(loopback(host), port, server_name=server_name)
    except CertificateError as error:
        return str(error)
    # The certificate may have been renewed during the handshake; then the next check passes.
    return "" if served == pair.leaf.public_bytes(Encoding.DER) else "the port shows another certificate"


async def dial(host: str, port: int, *, server_name: str) -> bytes:
    """Do a TLS handshake and return the leaf that the server sent, DER.

    Nothing is verified, because callers compare it with the expected one. A server that requires a client certificate
    rejects the client only after the handshake (TLS 1.3), which is late enough.

    Raises:
        TlsError: There was no handshake within `DIAL_SECONDS`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=server_name)
    except TimeoutError:
        raise TlsError(f"no TLS handshake within {DIAL_SECONDS:g} s") from None
    except OSError as error:
        raise TlsError(f"no TLS handshake: {error.strerror or type(error).__name__}") from None
    try:
        connection = writer.get_extra_info("ssl_object")
        leaf = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLObject) else None
    finally:
        # Without the closing handshake: a server that requires a client certificate would not do it.
        writer.transport.abort()
    return leaf or b""


def loopback(host: str) -> str:
    """Return the address by which a server that listens on `host` can call itself."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
