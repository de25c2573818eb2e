"""Whether a call to this replica would succeed: its certificate is trusted, and its port speaks TLS with it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from ipaddress import ip_address
from typing import Final, Protocol

from certs.bundle import check_leaf
from certs.errors import CertificateError, TlsError
from certs.injector import PublishedConfiguration
from certs.pem import KeyPair

DIAL_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 0.2
LAST_PAUSE_SECONDS: Final = 5.0


class Handle(Protocol):
    """One thing that readiness waits for; once released it never counts again."""

    def release(self) -> None:
        """It has been seen."""

    def note(self, state: str) -> None:
        """Say how it stands, for whoever asks."""


async def wait_until(handle: Handle, problem: Callable[[], Awaitable[str]]) -> None:
    """Ask until there is no problem, then release the handle.

    Args:
        handle: Told of each problem.
        problem: Returns what is still wrong, or an empty text.
    """
    pause = FIRST_PAUSE_SECONDS
    while wrong := await problem():
        handle.note(wrong)
        await asyncio.sleep(pause)
        pause = min(LAST_PAUSE_SECONDS, pause * 1.5)
    handle.release()


def distrust(
    pair: KeyPair, configurations: Iterable[PublishedConfiguration], *, server_name: str, now: datetime
) -> str:
    """Say which webhook would not believe a certificate; empty if each would.

    Where no configuration names us nobody calls us, and there is nothing to wait for.

    Args:
        pair: What is served.
        configurations: As they stand on the API server.
        server_name: The name that the API server verifies.
        now: An aware time.
    """
    for configuration in configurations:
        for webhook in configuration.webhooks:
            try:
                check_leaf(pair.chain, webhook.bundle, server_name=server_name, now=now)
            except CertificateError as error:
                return f"{webhook.name} in {configuration.kind} {configuration.name}: {error}"
    return ""


async def dial(host: str, port: int, *, server_name: str) -> bytes:
    """Do a TLS handshake and return the leaf that was shown, DER.

    It is compared with what should be served, so nothing is verified here. A server that demands a client certificate
    says so only after the handshake (TLS 1.3), which is enough.

    Raises:
        TlsError: No handshake came about within `DIAL_SECONDS`.
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
        made = writer.get_extra_info("ssl_object")
        shown = made.getpeercert(binary_form=True) if isinstance(made, ssl.SSLObject) else None
    finally:
        # Without the closing handshake: a server that wants a certificate of us would not do it.
        writer.transport.abort()
    return shown or b""


def loopback(host: str) -> str:
    """Return the address by which a server that listens on `host` reaches itself."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
