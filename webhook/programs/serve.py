"""`rollonce serve`: the admission server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from webhook.feature import Feature, Process
from webhook.runtime import options
from webhook.runtime.metrics import ServerMetrics
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Drain, listen
from webhook.tls.serving import start_serving_certificate


@asynccontextmanager
async def serve(process: Process, features: Sequence[Feature[Any]]) -> AsyncIterator[None]:
    """Serve the webhooks of all features; on exit, drain.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    settings = process.settings
    webhooks = [endpoint for feature in features for endpoint in await feature.endpoints(process)]
    endpoint = AdmissionEndpoint(
        webhooks,
        limits=Limits(in_flight=settings[options.IN_FLIGHT]),
        metrics=ServerMetrics(process.registry),
        log=process.log,
    )
    certificate = await start_serving_certificate(process)
    listener = await listen(
        endpoint.application(),
        settings[options.LISTEN],
        tls=certificate.port,
        setting=options.LISTEN.flag,
        log=process.log,
    )
    process.stack.push_async_callback(listener.close)
    certificate.wait_until_usable(process, listener.host, listener.port)
    process.log.info("serving", address=str(listener), webhooks=[webhook.name for webhook in webhooks])
    yield
    await Drain(endpoint, listener, process.readiness, settings[options.DRAIN], process.clock, process.log).run()
