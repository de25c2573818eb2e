"""From an HTTP request to a webhook and back: limits, deadline and error statuses.

A denial of the object under review is an HTTP 200 whose body says so. The error statuses here are for requests that are
not reviews (4xx) or cannot be answered now (429, 503, 504). For the API server they mean that the call failed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from prometheus_client import Counter

from webhook.admission.webhook import Answer, Endpoint
from webhook.errors import DeadlineExceededError, DependencyError, MalformedReviewError, RequestError
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger
from webhook.runtime.metrics import ServerMetrics
from webhook.runtime.parsers import duration_seconds
from webhook.server.bodies import BODY_SECONDS, RETRY_AFTER, Bodies

#: A review holds the object and its old version, of 3 MiB each at most, and some fields around them.
BODY_LIMIT: Final = 7 * 1024 * 1024
#: This must fit into the memory limit besides what the program itself needs.
ARRIVING_LIMIT: Final = 64 * 1024 * 1024
#: The timeout where the API server sends none.
#: Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#timeouts
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
MAX_TIMEOUT_SECONDS: Final = 30.0
#: Time kept for sending the response: a tenth of the timeout, at most a quarter of a second.
RESERVE_SHARE: Final = 0.1
RESERVE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the server.

    Attributes:
        in_flight: Reviews that are processed at a time. Further ones get 429, which is better than a timeout.
        body: The most bytes of one body.
        arriving: The most bytes of all bodies that are arriving.
    """

    in_flight: int = 512
    body: int = BODY_LIMIT
    arriving: int = ARRIVING_LIMIT


class AdmissionEndpoint:
    """Serve the webhooks.

    Args:
        webhooks: Each is served at its path.
        limits: Limits of the server.
        metrics: Counters.
        log: Receives requests that were not answered with a review.
    """

    def __init__(self, webhooks: Iterable[Endpoint], *, limits: Limits, metrics: ServerMetrics, log: Logger) -> None:
        self._webhooks = tuple(webhooks)
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self._bodies = Bodies(largest=limits.body, together=limits.arriving)
        self._open = 0
        self._in_flight = 0
        self.answered = 0
        """Requests that got a response of any kind."""
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(middlewares=[self._guard])
        for webhook in self._webhooks:
            application.router.add_post(webhook.path, self._serve(webhook))
        return application

    def start_closing(self) -> None:
        """Let each response from now on close its connection; every request is still answered."""
        self._closing = True

    async def idle(self) -> None:
        """Wait until no request is open."""
        await self._idle.wait()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self._open += 1
        self._idle.clear()
        try:
            response = await self._respond(request, handler)
        finally:
            self._open -= 1
            self.answered += 1
            if not self._open:
                self._idle.set()
        if self._closing:
            response.force_close()
        return response

    async def _respond(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestError as error:
            return self._refuse(request, error)
        except web.HTTPException as error:
            return self._refuse(request, RequestError(error.status, _explain(error), _allow(error)))
        except (ConnectionResetError, asyncio.IncompleteReadError):
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: no traceback may reach the client
            self._log.error("review failed by a defect", path=request.path, exc_info=error)
            return self._refuse(request, RequestError(500, "Internal error; the log of rollonce says more."))

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._in_flight >= self._limits.in_flight:
            raise RequestError(429, "Too many reviews are being worked on.", RETRY_AFTER)
        self._in_flight += 1
        self._metrics.in_flight.inc()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.dec()

    def _serve(self, webhook: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
        seconds = self._metrics.seconds.labels(webhook.name)
        counters: dict[tuple[str, str, int], Counter] = {}

        async def serve(request: web.Request) -> web.Response:
            deadline = _deadline_of(request)
            if request.content_type != "application/json":
                raise RequestError(415, "The Content-Type of a review is application/json.")
            answer, took = await self._exchange(webhook, request, deadline)
            seconds.observe(took)
            kind = (answer.operation, answer.outcome, answer.code)
            if (counter := counters.get(kind)) is None:
                counter = self._metrics.requests.labels(webhook.name, *kind)
                counters[kind] = counter
            counter.inc()
            response = web.Response(body=answer.body, content_type="application/json")
            if answer.code == HTTPStatus.SERVICE_UNAVAILABLE:
                # Another replica may reach what this one cannot; the API server would reuse this very connection.
                response.force_close()
            return response

        return serve

    async def _exchange(self, webhook: Endpoint, request: web.Request, deadline: Deadline) -> tuple[Answer, float]:
        """Read the whole body and let the webhook answer it.

        Returns:
            The answer, and the seconds that the webhook took.

        Raises:
            RequestError: There is no answer.
        """
        started: float | None = None
        try:
            # One timer for both: a timer costs as much as decoding a review.
            async with asyncio.timeout(min(deadline.remaining(), BODY_SECONDS)) as timer:
                body = await self._bodies.read(request)
                with self._place():
                    timer.reschedule(asyncio.get_running_loop().time() + deadline.remaining())
                    started = time.perf_counter()
                    answer = await webhook.answer(body, deadline)
                    return answer, time.perf_counter() - started
        except MalformedReviewError as error:
            raise RequestError(400, str(error)) from None
        except (DeadlineExceededError, TimeoutError):
            if started is None:
                raise RequestError(408, "The body did not arrive in time.") from None
            raise RequestError(504, "The time for this review is over.") from None
        except DependencyError as error:
            raise RequestError(503, str(error), RETRY_AFTER) from None

    def _refuse(self, request: web.Request, error: RequestError) -> web.Response:
        self._metrics.refused.labels(str(error.status)).inc()
        self._log.warning(
            "request refused",
            path=request.path,
            method=request.method,
            status=error.status,
            problem=error.message,
        )
        return web.Response(status=error.status, text=error.message + "\n", headers=dict(error.headers))


def _deadline_of(request: web.Request) -> Deadline:
    """Return the deadline from `?timeout=`, a Go duration that the API server sends with each call."""
    try:
        seconds = _granted(request.query.get("timeout", ""))
    except ValueError as error:
        raise RequestError(400, f"timeout: {error}") from None
    return Deadline.after(seconds, time.monotonic)


@functools.lru_cache(maxsize=64)
def _granted(timeout: str) -> float:
    """Return the seconds of a timeout that may be used; cached, since there are few different ones."""
    seconds = min(duration_seconds(timeout) if timeout else DEFAULT_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS)
    return seconds - min(seconds * RESERVE_SHARE, RESERVE_SECONDS)


def _explain(error: web.HTTPException) -> str:
    if error.status == 404:
        return "There is no webhook at this path."
    if error.status == 405:
        return "A review is sent by POST."
    return error.reason


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {str(hdrs.ALLOW): error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
