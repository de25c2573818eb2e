"""Liveness, readiness and metrics, on a port of their own.

Readiness is a set of handles: the server is ready once each has been released. What has been seen once stays seen: an
outage of Redis or of the API server must not take every replica out of the Service at the same time. Liveness depends
on nobody else.
"""

from __future__ import annotations

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest


class Readiness:
    """What the server still waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}
        self._draining = False

    def wait_for(self, what: str) -> ReadinessHandle:
        """Be unready until the handle is released.

        Args:
            what: Shown to whoever asks why the server is not ready.
        """
        self._waiting[what] = "not seen yet"
        return ReadinessHandle(self, what)

    def start_draining(self) -> None:
        """Be unready for good."""
        self._draining = True

    @property
    def ready(self) -> bool:
        """Whether new connections should come here."""
        return not self._waiting and not self._draining

    def reasons(self) -> tuple[str, ...]:
        """Say why not; empty when ready."""
        draining = ("draining: this replica is about to stop",) if self._draining else ()
        return draining + tuple(f"{what}: {state}" for what, state in self._waiting.items())

    def note(self, what: str, state: str) -> None:
        """Say how it stands with something that is waited for; nothing once it was released."""
        if what in self._waiting:
            self._waiting[what] = state

    def release(self, what: str) -> None:
        """No longer wait for it."""
        self._waiting.pop(what, None)


class ReadinessHandle:
    """One thing that readiness waits for.

    Args:
        readiness: What it belongs to.
        what: Its name there.
    """

    def __init__(self, readiness: Readiness, what: str) -> None:
        self._readiness = readiness
        self._what = what

    def release(self) -> None:
        """It has been seen; it never counts again."""
        self._readiness.release(self._what)

    def note(self, state: str) -> None:
        """Say how it stands, for whoever asks."""
        self._readiness.note(self._what, state)


def application(readiness: Readiness, registry: CollectorRegistry) -> web.Application:
    """Make the aiohttp application with `/livez`, `/readyz` and `/metrics`."""

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
