"""The TLS side of the admission server: its options, its certificate, and when it can be called."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from certs.bundle import Bundle, parse_bundle
from certs.errors import CertificateError
from certs.tls import ServerTls, TlsOptions
from webhook.errors import ConfigurationError
from webhook.feature import Process
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Retry
from webhook.runtime.options import required_file
from webhook.runtime.readiness import release_when
from webhook.runtime.settings import Settings
from webhook.server.runner import TlsPort
from webhook.tls.holder import CertificateHolder, CertificateKeeper
from webhook.tls.metrics import ServingMetrics
from webhook.tls.provided import from_files, from_secret
from webhook.tls.readiness import port_problem
from webhook.tls.self_managed import SelfManagedCertificate
from webhook.tls.settings import TLS_CERTIFICATE, TLS_CLIENT_CA, TLS_CLIENT_NAMES, TLS_KEY, TLS_MINIMUM_VERSION
from webhook.tls.sources import CertificateSource, ProvidedFiles, ProvidedSecret, SelfManaged, certificate_source

#: The server name in the handshake with the own port if the name of the Service is unknown.
_OWN_NAME: Final = "localhost"
#: Delays between two checks of readiness.
_CHECK_BACKOFF: Final = Backoff(first=0.2, limit=5.0)


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """The certificate of the admission server, which is kept valid in the background.

    Attributes:
        port: The TLS side of the port.
        holder: The certificate that is served now.
        keeper: Keeps it valid.
        server_name: The name of the server in a handshake.
    """

    port: TlsPort
    holder: CertificateHolder
    keeper: CertificateKeeper
    server_name: str

    def wait_until_usable(self, process: Process, host: str, port: int) -> None:
        """Be unready until the API server would accept the certificate, and the port serves it.

        Args:
            process: The program; the checks run in its background.
            host: The address that the server listens on.
            port: The port that it listens on.
        """

        async def check_port() -> str:
            return await port_problem(self.holder.pair, host, port, server_name=self.server_name)

        _wait_for(process, "the certificate", self.keeper.trust_problem)
        _wait_for(process, "our own port", check_port)


async def start_serving_certificate(process: Process) -> ServingCertificate:
    """Load the first certificate if there is one, and start to keep it valid in the background.

    Raises:
        ConfigurationError: A setting of TLS or certificates cannot work, or a required file cannot be used.
    """
    settings = process.settings
    tls = new_tls(settings, process.clock.now())
    source = certificate_source(settings)
    metrics = ServingMetrics(process.registry, process.clock)
    holder = CertificateHolder(tls, metrics, process.log)
    keeper = _keeper(process, source, holder, metrics)
    try:
        await keeper.begin()
    except CertificateError as error:
        raise ConfigurationError(f"{TLS_CERTIFICATE.flag}, {TLS_KEY.flag}: {error}.") from None
    for name, work in keeper.tasks().items():
        process.background.start(name, work)
    client_names = settings[TLS_CLIENT_NAMES]
    port = TlsPort(tls.context, frozenset(client_names))
    server_name = _OWN_NAME if isinstance(source, ProvidedFiles) else source.server_name
    return ServingCertificate(port, holder, keeper, server_name)


def new_tls(settings: Settings, now: datetime) -> ServerTls:
    """Return the TLS side of the server, without a certificate yet.

    Raises:
        ConfigurationError: A setting of TLS cannot work.
    """
    try:
        return ServerTls(_tls_options(settings, now))
    except CertificateError as error:
        raise ConfigurationError(f"{settings.source(TLS_CLIENT_CA)}: {error}.") from None


def _wait_for(process: Process, name: str, check: Callable[[], Awaitable[str]]) -> None:
    """Be unready until a check has passed once; it returns what is wrong, or an empty string."""
    handle = process.readiness.wait_for(name)
    process.background.start(name, lambda: release_when(handle, check, Retry(process.clock, _CHECK_BACKOFF)))


def _keeper(
    process: Process, source: CertificateSource, holder: CertificateHolder, metrics: ServingMetrics
) -> CertificateKeeper:
    api, clock, log = process.api, process.clock, process.log
    match source:
        case SelfManaged():
            watches = process.watch_context(1)
            return SelfManagedCertificate(api, watches, source, holder, metrics=metrics, clock=clock, log=log)
        case ProvidedFiles():
            return from_files(source, holder, metrics=metrics, clock=clock, log=log)
        case ProvidedSecret():
            return from_secret(source, api, holder, metrics=metrics, clock=clock, log=log)


def _tls_options(settings: Settings, now: datetime) -> TlsOptions:
    oldest = ssl.TLSVersion.TLSv1_2 if settings[TLS_MINIMUM_VERSION] == "1.2" else ssl.TLSVersion.TLSv1_3
    return TlsOptions(minimum=oldest, client_authorities=_client_authorities(settings, now))


def _client_authorities(settings: Settings, now: datetime) -> Bundle | None:
    if settings[TLS_CLIENT_CA] is None:
        if settings[TLS_CLIENT_NAMES]:
            raise ConfigurationError(
                f"{settings.source(TLS_CLIENT_NAMES)}: names can only be checked in certificates that are verified; "
                f"give their CA by {TLS_CLIENT_CA.flag}."
            )
        return None
    return parse_bundle(required_file(settings, TLS_CLIENT_CA), what="the clients' CA").valid_at(now)
