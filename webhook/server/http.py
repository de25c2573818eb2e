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
from webhook.server.bodies import BODY_SECONDS, OVERHEAD_BYTES, RETRY_AFTER, Allocation, Memory
from webhook.server.protocol import caller_of
from webhook.server.shares import Group, Shares

#: A review holds the object and its old version, of 3 MiB each at most, and some fields around them.
BODY_LIMIT: Final = 7 * 1024 * 1024
#: Twice as much must fit into the memory limit besides what the program itself and idle connections need.
MEMORY_LIMIT: Final = 32 * 1024 * 1024
#: The timeout where the API server sends none.
#: Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#timeouts
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
MAX_TIMEOUT_SECONDS: Final = 30.0
#: Time kept for sending the response: a tenth of the timeout, at most a quarter of a second.
RESERVE_SHARE: Final = 0.1
RESERVE_SECONDS: Final = 0.25
#: The longest timeout that is parsed; the API server sends `5s` or `10s`.
_TIMEOUT_LENGTH: Final = 32
#: A response of at most this length is written at once.
_BUFFERED_BYTES: Final = 32 * 1024
#: How much of a path is logged.
_PATH_LENGTH: Final = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the server.

    Attributes:
        in_flight: Reviews of one caller that are processed at a time. Further ones get 429, which is better than a
            timeout. All callers together may have twice as many.
        body: The most bytes of one body.
        memory: The most bytes of all requests of one caller; all callers together may have twice as much.
    """

    in_flight: int = 512
    body: int = BODY_LIMIT
    memory: int = MEMORY_LIMIT


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
        self._metrics = metrics
        self._log = log
        self._memory = Memory(largest=limits.body, capacity=limits.memory)
        self._places = Shares(limits.in_flight)
        self._seconds = {webhook.name: metrics.seconds.labels(webhook.name) for webhook in self._webhooks}
        self._counters: dict[tuple[str, str, str, int], Counter] = {}
        self._open = 0
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
    def _place(self, group: Group) -> Iterator[None]:
        if not self._places.fits(group):
            raise RequestError(429, "Too many reviews are being worked on.", RETRY_AFTER)
        self._places.take(group)
        self._metrics.in_flight.inc()
        try:
            yield
        finally:
            self._places.give(group)
            self._metrics.in_flight.dec()

    def _serve(self, webhook: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            deadline = _deadline_of(request)
            if request.content_type != "application/json":
                raise RequestError(415, "The Content-Type of a review is application/json.")
            with self._memory.request(Group(caller_of(request), webhook.name)) as allocation:
                answer = await self._exchange(webhook, request, allocation, deadline)
                response = web.Response(body=answer.body, content_type="application/json")
                if self._closing or answer.code == HTTPStatus.SERVICE_UNAVAILABLE:
                    # Another replica may reach what this one cannot; the API server would reuse this very connection.
                    response.force_close()
                await _write(request, response, size=len(answer.body))
                return response

        return serve

    async def _exchange(
        self, webhook: Endpoint, request: web.Request, allocation: Allocation, deadline: Deadline
    ) -> Answer:
        """Read the whole body and let the webhook answer it.

        Raises:
            RequestError: There is no answer.
        """
        started: float | None = None
        try:
            # One timer for both: a timer costs as much as decoding a review.
            async with asyncio.timeout(min(deadline.remaining(), BODY_SECONDS)) as timer:
                review = webhook.decode(await allocation.read(request))
                if review.size is not None:
                    allocation.keep(OVERHEAD_BYTES + review.size)
                with self._place(Group(caller_of(request), webhook.name, review.namespace)):
                    timer.reschedule(asyncio.get_running_loop().time() + deadline.remaining())
                    started = time.perf_counter()
                    answer = await review.answer(deadline)
        except MalformedReviewError as error:
            raise RequestError(400, str(error)) from None
        except RecursionError:
            raise RequestError(400, "The review is nested too deeply.") from None
        except (DeadlineExceededError, TimeoutError):
            if started is None:
                raise RequestError(408, "The body did not arrive in time.") from None
            raise RequestError(504, "The time for this review is over.") from None
        except DependencyError as error:
            raise RequestError(503, str(error), RETRY_AFTER) from None
        self._count(webhook, answer, time.perf_counter() - started)
        return answer

    def _count(self, webhook: Endpoint, answer: Answer, seconds: float) -> None:
        kind = (webhook.name, answer.operation, answer.outcome, answer.code)
        if (counter := self._counters.get(kind)) is None:
            counter = self._metrics.requests.labels(*kind)
            self._counters[kind] = counter
        counter.inc()
        self._seconds[webhook.name].observe(seconds)

    def _refuse(self, request: web.Request, error: RequestError) -> web.Response:
        self._metrics.refused.labels(str(error.status)).inc()
        self._log.warning(
            "request refused",
            path=request.path[:_PATH_LENGTH],
            method=request.method[:_PATH_LENGTH],
            status=error.status,
            problem=error.message,
        )
        return web.Response(status=error.status, text=error.message + "\n", headers=dict(error.headers))


async def _write(request: web.Request, response: web.Response, *, size: int) -> None:
    """Write a response while its memory counts; a client that does not read it loses its connection.

    Raises:
        ConnectionResetError: The client has not read it in time.
    """
    # A short one fits into the buffers of the connection, and a timer for each would be dear.
    try:
        async with asyncio.timeout(BODY_SECONDS if size > _BUFFERED_BYTES else None):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("The response was not read.") from None


def _deadline_of(request: web.Request) -> Deadline:
    """Return the deadline from `?timeout=`, a Go duration that the API server sends with each call."""
    given = request.query.get("timeout", "")
    if len(given) > _TIMEOUT_LENGTH:
        # Digits take more than linear time to become a number.
        raise RequestError(400, f"timeout: it is longer than {_TIMEOUT_LENGTH} characters.")
    try:
        seconds = _granted(given)
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
