"""What a replica serves right now, and what keeps it so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.serialization import Encoding

from certs.errors import CertificateError
from certs.pem import KeyPair
from certs.tls import ServerTls
from webhook.certificates.metrics import ServingMetrics
from webhook.certificates.readiness import Handle, dial, loopback, wait_until
from webhook.log import Logger

Work = Coroutine[Any, Any, None]


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Served:
    """What is served right now.

    Args:
        tls: The server's side of TLS.
        metrics: Told of each new pair.
        log: As well.
    """

    def __init__(self, tls: ServerTls, metrics: ServingMetrics, log: Logger) -> None:
        self._tls = tls
        self._metrics = metrics
        self._log = log
        self.pair: KeyPair | None = None

    def take(self, pair: KeyPair) -> None:
        """Serve a pair to every handshake from now on.

        Raises:
            TlsError: OpenSSL does not take it; the one before stays.
        """
        self._tls.load(pair)
        self.pair = pair
        self._metrics.serve(pair.leaf)
        self._log.info("Serving a new certificate.", until=pair.leaf.not_valid_after_utc.isoformat())


class Certificates(Protocol):
    """Where this replica's certificate comes from."""

    async def begin(self) -> None:
        """Look once, before anything is served.

        Raises:
            CertificateError: What was given can never work, and the program should end.
        """

    def work(self) -> tuple[Callable[[], Work], ...]:
        """Return what has to run as long as the server does; each may be begun anew after a defect."""

    async def distrusted(self) -> str:
        """Say why callers would not believe the certificate; empty if they would."""


async def wait_until_trusted(handle: Handle, kept: Certificates) -> None:
    """Release the handle once callers would believe the certificate."""
    await wait_until(handle, kept.distrusted)


async def wait_until_dialled(handle: Handle, served: Served, host: str, port: int, *, server_name: str) -> None:
    """Release the handle once our own port has shown our own certificate."""

    async def problem() -> str:
        if served.pair is None:
            return "there is no certificate yet"
        expected = served.pair.leaf.public_bytes(Encoding.DER)
        try:
            shown = await dial(loopback(host), port, server_name=server_name)
        except CertificateError as error:
            return str(error)
        # A renewal in between is no problem, but has to be looked at again.
        return "" if shown == expected else "the port shows another certificate"

    await wait_until(handle, problem)
