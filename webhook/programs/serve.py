"""`rollonce serve`: the admission server."""

from __future__ import annotations

import ssl
import time
from typing import Final

from certs.bundle import Bundle, parse_bundle
from certs.errors import CertificateError
from certs.tls import ServerTls, TlsOptions
from webhook import options
from webhook.admission.hook import Hook
from webhook.certificates.metrics import ServingMetrics
from webhook.certificates.served import Served, now, wait_until_dialled, wait_until_trusted
from webhook.certificates.serving import certificates
from webhook.certificates.settings import ProvidedFiles
from webhook.clients.redis import RedisClient
from webhook.config import Values
from webhook.errors import ConfigurationError
from webhook.hooks import checksums, dedupe
from webhook.metrics import ServerMetrics
from webhook.programs.checksums import live_settings
from webhook.programs.deduplication import dedupe_settings
from webhook.programs.process import Process
from webhook.programs.sources import certificate_source, required_file
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Drain, Listener, TlsPort, listen

#: What our own port is asked for by ourselves where no Service name is known.
_SELF: Final = "localhost"


async def serve(process: Process) -> None:
    """Serve reviews until told to stop, then drain.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    values = process.values
    store = RedisClient(values[options.REDIS_URL])
    process.stack.push_async_callback(store.close)
    deduplication = _deduplication(process, store)
    process.wait_for("Redis", deduplication.inspector.ask)
    endpoint = AdmissionEndpoint(
        (*await _checksum_hooks(process), *deduplication.hooks),
        limits=Limits(in_flight=values[options.IN_FLIGHT]),
        metrics=ServerMetrics(process.registry),
        log=process.log,
    )
    listener = await _listen(process, endpoint)
    process.background.start("rebuild", deduplication.rebuilder.run)
    process.background.start("inspection", deduplication.inspector.run)
    process.starting.release()
    process.log.info("Serving.", address=str(listener), store=str(store.url))
    await process.stop.wait()
    await Drain(endpoint, listener, process.readiness, values[options.DRAIN], process.log).run()


async def _listen(process: Process, endpoint: AdmissionEndpoint) -> Listener:
    """Get the certificate, open the port, and wait for both in the background."""
    values, readiness, background = process.values, process.readiness, process.background
    try:
        tls = ServerTls(_tls_options(values))
    except CertificateError as error:
        raise ConfigurationError(f"{values.source(options.TLS_CLIENT_CA)}: {error}.") from None
    source = certificate_source(values)
    metrics = ServingMetrics(process.registry)
    served = Served(tls, metrics, process.log)
    kept = certificates(source, process.api, served, metrics=metrics, log=process.log)
    try:
        await kept.begin()
    except CertificateError as error:
        raise ConfigurationError(f"{options.TLS_CERTIFICATE.flag}, {options.TLS_KEY.flag}: {error}.") from None
    for number, work in enumerate(kept.work()):
        background.start(f"certificates {number}", work)
    names = values[options.TLS_CLIENT_NAMES]
    port = TlsPort(tls.context, frozenset(names))
    listener = await listen(
        endpoint.application(), values[options.LISTEN], tls=port, setting=options.LISTEN.flag, log=process.log
    )
    process.stack.push_async_callback(listener.close)
    name = _SELF if isinstance(source, ProvidedFiles) else source.server_name
    trusted, dialled = readiness.wait_for("the certificate"), readiness.wait_for("our own port")
    background.start("trust", lambda: wait_until_trusted(trusted, kept))
    background.start(
        "self-dial", lambda: wait_until_dialled(dialled, served, listener.host, listener.port, server_name=name)
    )
    return listener


async def _checksum_hooks(process: Process) -> tuple[Hook, ...]:
    settings = await live_settings(process.values, process.api, process.log)
    process.background.start("settings", settings.follow)
    return checksums.hooks(
        settings.current,
        process.api,
        clock=time.monotonic,
        log=process.log,
        metrics=checksums.ChecksumMetrics(process.registry),
    )


def _deduplication(process: Process, store: RedisClient) -> dedupe.Deduplication:
    values = process.values
    return dedupe.assemble(
        dedupe_settings(values),
        process.api,
        dedupe.Store(store),
        clock=time.time,
        monotonic=time.monotonic,
        log=process.log,
        metrics=dedupe.DedupeMetrics(process.registry),
    )


def _tls_options(values: Values) -> TlsOptions:
    oldest = ssl.TLSVersion.TLSv1_2 if values[options.TLS_MINIMUM_VERSION] == "1.2" else ssl.TLSVersion.TLSv1_3
    return TlsOptions(minimum=oldest, client_authorities=_client_authorities(values))


def _client_authorities(values: Values) -> Bundle | None:
    if values[options.TLS_CLIENT_CA] is None:
        if values[options.TLS_CLIENT_NAMES]:
            raise ConfigurationError(
                f"{values.source(options.TLS_CLIENT_NAMES)}: names are only believed of certificates that are "
                f"verified; give their CA by {options.TLS_CLIENT_CA.flag}."
            )
        return None
    pem = required_file(values, options.TLS_CLIENT_CA)
    return parse_bundle(pem, what="the clients' CA").valid_at(now())
