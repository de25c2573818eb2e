"""`rollonce serve`: the admission server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from webhook.feature import Feature, Process
from webhook.programs.registered import Render, start_comparing
from webhook.runtime import options
from webhook.runtime.metrics import ServerMetrics
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import Drain, listen
from webhook.tls.serving import start_serving_certificate


@asynccontextmanager
async def serve(process: Process, features: Sequence[Feature[Any]], render: Render) -> AsyncIterator[None]:
    """Serve the webhooks of all features; on exit, drain.

    Args:
        process: The program.
        features: Each serves its webhooks.
        render: Returns the webhook configurations as they should be.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    settings = process.settings
    webhooks = [endpoint for feature in features for endpoint in await feature.endpoints(process)]
    metrics = ServerMetrics(process.registry)
    endpoint = AdmissionEndpoint(
        webhooks,
        limits=Limits(in_flight=settings[options.IN_FLIGHT]),
        metrics=metrics,
        log=process.log,
    )
    certificate = await start_serving_certificate(process)
    listener = await listen(
        endpoint.application(),
        process.ports[options.LISTEN.name],
        tls=certificate.port,
        log=process.log,
        closed=lambda why: metrics.closed.labels(why.value).inc(),
    )
    process.stack.push_async_callback(listener.close)
    certificate.wait_until_usable(process, listener.host, listener.port)
    start_comparing(process, render)
    process.log.info("serving", address=str(listener), webhooks=[webhook.name for webhook in webhooks])
    yield
    await Drain(endpoint, listener, process.readiness, settings[options.DRAIN], process.clock, process.log).run()
