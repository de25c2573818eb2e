"""The health port: `/livez`, `/readyz` and `/metrics` in plain HTTP. Liveness depends on nothing else."""

from __future__ import annotations

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from webhook.runtime.readiness import Readiness


def application(readiness: Readiness, registry: CollectorRegistry) -> web.Application:
    """Return the aiohttp application of the health port."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if readiness.ready:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="".join(f"{reason}\n" for reason in readiness.reasons()))

    async def metrics(_: web.Request) -> web.Response:
        body: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no annotations
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})

    made = web.Application()
    made.router.add_get("/livez", livez)
    made.router.add_get("/readyz", readyz)
    made.router.add_get("/metrics", metrics)
    return made
