"""The certificate that a replica serves now, and what keeps it valid."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeAlias

from certs.pem import KeyPair
from certs.tls import ServerTls
from webhook.runtime.log import Logger
from webhook.tls.metrics import ServingMetrics

#: Creates the coroutine of a background task.
Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class CertificateHolder:
    """The certificate that a replica serves now.

    Args:
        tls: The TLS side of the server.
        metrics: Receives each new certificate.
        log: Receives each new certificate.

    Attributes:
        pair: Certificate and key; None before the first one.
    """

    def __init__(self, tls: ServerTls, metrics: ServingMetrics, log: Logger) -> None:
        self._tls = tls
        self._metrics = metrics
        self._log = log
        self.pair: KeyPair | None = None

    def load(self, pair: KeyPair) -> None:
        """Serve a pair at every handshake from now on.

        Raises:
            TlsError: OpenSSL rejects it; the one before stays.
        """
        self._tls.load(pair)
        self.pair = pair
        self._metrics.loaded(pair.leaf)
        self._log.info("certificate loaded", until=pair.leaf.not_valid_after_utc.isoformat())


class CertificateKeeper(Protocol):
    """Keeps a valid certificate in a holder; there is one for each source of certificates."""

    async def begin(self) -> None:
        """Try once to get a certificate, before the server starts.

        Raises:
            CertificateError: The program has to end, because it depends on what is missing.
        """

    def tasks(self) -> Mapping[str, Work]:
        """Return the tasks that have to run as long as the server does, by name; each is restarted after a defect."""

    async def trust_problem(self) -> str:
        """Return why the API server would not accept the certificate; empty if it would."""
