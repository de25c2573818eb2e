"""The composition root: the one place that knows every part and puts them together."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry

from certs.bundle import Bundle, parse_bundle
from certs.errors import CertificateError
from certs.pem import decode_pair
from certs.tls import ServerTls, TlsOptions
from webhook import log, options
from webhook.admission.deadline import Deadline
from webhook.admission.hook import Hook
from webhook.admission.registration import Registration
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.clients.redis import RedisClient
from webhook.config import Setting, Values
from webhook.errors import ConfigurationError, DependencyError
from webhook.hooks import checksums, dedupe
from webhook.hooks.checksums.registration import registrations as checksum_registrations
from webhook.hooks.dedupe.registration import REGISTRATIONS as DEDUPE_REGISTRATIONS
from webhook.log import Logger
from webhook.metrics import ServerMetrics, new_registry
from webhook.server import health
from webhook.server.health import Readiness, ReadinessHandle
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Drain, listen

USER_AGENT: Final = "rollonce"
#: How often what has not been seen yet is looked for.
PROBE_SECONDS: Final = 0.5
PROBE_LIMIT_SECONDS: Final = 2.0


def registrations(*, controller: str = "") -> tuple[Registration, ...]:
    """Return every webhook that the API server is to be told of."""
    return checksum_registrations(checksums.RESOURCES, controller=controller) + DEDUPE_REGISTRATIONS


def run_server(values: Values) -> None:
    """Run `rollonce serve` until it is told to stop.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    logger = log.configure(values[options.LOG_LEVEL], values[options.LOG_FORMAT])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(values, logger))


@dataclass(frozen=True, slots=True)
class _Signals:
    """What the process has been told by signals."""

    stop: asyncio.Event
    hurry: asyncio.Event

    @classmethod
    def listen(cls) -> _Signals:
        """Hear SIGTERM and SIGINT: the first asks to drain, the second to stop at once."""
        signals = cls(asyncio.Event(), asyncio.Event())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals._hear)
        return signals

    def _hear(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()


async def _serve(values: Values, logger: Logger) -> None:
    signals = _Signals.listen()
    registry = new_registry()
    readiness = Readiness()
    async with AsyncExitStack() as stack:
        tls = _load_tls(values)
        configuration = await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent=f"{USER_AGENT}-serve")
        stack.push_async_callback(api.close)
        store_client = RedisClient(values[options.REDIS_URL])
        stack.push_async_callback(store_client.close)
        deduplication = _deduplication(values, api, store_client, registry, logger)
        endpoint = AdmissionEndpoint(
            (*_checksum_hooks(api, registry, logger), *deduplication.hooks),
            limits=Limits(in_flight=values[options.IN_FLIGHT]),
            metrics=ServerMetrics(registry),
            log=logger,
        )
        health_listener = await listen(
            health.application(readiness, registry), values[options.HEALTH_LISTEN], setting=options.HEALTH_LISTEN.flag
        )
        stack.push_async_callback(health_listener.runner.cleanup)
        background = _start_probes(readiness, api, store_client)
        background.append(asyncio.create_task(deduplication.rebuilder.run()))
        listener = await listen(
            endpoint.application(), values[options.LISTEN], tls=tls.context, setting=options.LISTEN.flag
        )
        stack.push_async_callback(listener.runner.cleanup)
        stack.callback(_cancel, background)
        logger.info(
            "Serving.",
            address=f"{listener.host}:{listener.port}",
            health=f"{health_listener.host}:{health_listener.port}",
            kubernetes=api.host,
            store=str(store_client.url),
            process=os.getpid(),
        )
        await signals.stop.wait()
        await Drain(endpoint, readiness, values[options.DRAIN], logger).run(signals.hurry)
        logger.info("Stopped.")


def _checksum_hooks(api: KubernetesClient, registry: CollectorRegistry, logger: Logger) -> tuple[Hook, ...]:
    return checksums.hooks(
        checksums.ChecksumSettings(),
        api,
        clock=time.monotonic,
        log=logger,
        metrics=checksums.ChecksumMetrics(registry),
    )


def _deduplication(
    values: Values, api: KubernetesClient, store: RedisClient, registry: CollectorRegistry, logger: Logger
) -> dedupe.Deduplication:
    return dedupe.assemble(
        dedupe.DedupeSettings(
            retention=values[options.RETENTION],
            on_redis_down=values[options.ON_REDIS_DOWN],
            strict=values[options.STRICT],
            namespaces=values[options.DEDUPE_NAMESPACES],
        ),
        api,
        dedupe.Store(store),
        clock=time.time,
        monotonic=time.monotonic,
        log=logger,
        metrics=dedupe.DedupeMetrics(registry),
    )


def _load_tls(values: Values) -> ServerTls:
    certificate = _required_file(values, options.TLS_CERTIFICATE)
    key = _required_file(values, options.TLS_KEY)
    try:
        tls = ServerTls(
            TlsOptions(
                minimum=ssl.TLSVersion.TLSv1_2
                if values[options.TLS_MINIMUM_VERSION] == "1.2"
                else ssl.TLSVersion.TLSv1_3,
                client_authorities=_client_authorities(values),
            )
        )
        tls.load(decode_pair(certificate, key, what="the serving certificate"))
    except CertificateError as error:
        raise ConfigurationError(f"{options.TLS_CERTIFICATE.flag}, {options.TLS_KEY.flag}: {error}") from None
    return tls


def _client_authorities(values: Values) -> Bundle | None:
    if values[options.TLS_CLIENT_CA] is None:
        return None
    return parse_bundle(_required_file(values, options.TLS_CLIENT_CA), what="the clients' CA").valid_at(
        datetime.now(UTC)
    )


def _start_probes(readiness: Readiness, api: KubernetesClient, store: RedisClient) -> list[asyncio.Task[None]]:
    async def ask_api(deadline: Deadline) -> None:
        reply = await api.get("/version", deadline)
        if not reply.ok:
            raise DependencyError(f"The API server answered {reply.status}.")

    async def ask_store(deadline: Deadline) -> None:
        await store.command("PING", deadline=deadline)

    return [
        asyncio.create_task(_probe(readiness.wait_for("the API server"), ask_api)),
        asyncio.create_task(_probe(readiness.wait_for("Redis"), ask_store)),
    ]


async def _probe(handle: ReadinessHandle, ask: Callable[[Deadline], Awaitable[None]]) -> None:
    while True:
        try:
            await ask(Deadline.after(PROBE_LIMIT_SECONDS, time.monotonic))
        except DependencyError as error:
            handle.note(str(error))
            await asyncio.sleep(PROBE_SECONDS)
        else:
            handle.release()
            return


def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _required_file(values: Values, setting: Setting[Path | None]) -> bytes:
    path = values[setting]
    if path is None:
        raise ConfigurationError(f"{setting.flag} is needed: {setting.help}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{values.source(setting)}: cannot read {path}: {error.strerror}.") from None
