"""From an HTTP request to a hook and back: limits, the deadline, and what goes wrong.

A refusal of the object under review is an HTTP 200 that says so inside. The status codes here are for what is no
review (4xx) or cannot be answered now (429, 503, 504), and mean to the API server that the call failed.
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

from webhook.admission.deadline import Deadline
from webhook.admission.hook import Answer, Hook
from webhook.errors import DeadlineExceededError, DependencyError, MalformedReviewError
from webhook.log import Logger
from webhook.metrics import ServerMetrics
from webhook.server.bodies import BODY_SECONDS, Bodies
from webhook.server.refusal import RETRY_AFTER, HttpError
from webhook.values import duration_seconds

#: A review holds the object and its old version, of 3 MiB each at most, and what is around them.
BODY_LIMIT: Final = 7 * 1024 * 1024
#: Beside what the program itself takes, this has to fit into its memory.
ARRIVING_LIMIT: Final = 64 * 1024 * 1024
#: What the API server grants where it does not say.
#: Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#timeouts
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
LONGEST_TIMEOUT_SECONDS: Final = 30.0
#: What is kept of the time for the answer's way back: a tenth, at most a quarter of a second.
RESERVE_SHARE: Final = 0.1
RESERVE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken on at a time.

    Attributes:
        in_flight: Reviews being worked on; more are told to come again, which beats letting them time out.
        body: Bytes of a request's body.
        arriving: Bytes of all bodies that are arriving.
    """

    in_flight: int = 512
    body: int = BODY_LIMIT
    arriving: int = ARRIVING_LIMIT


class AdmissionEndpoint:
    """Serves the hooks.

    Args:
        hooks: Each is served at its path.
        limits: How much is taken on.
        metrics: Counted here.
        log: Where a request that was no review is told of.
    """

    def __init__(self, hooks: Iterable[Hook], *, limits: Limits, metrics: ServerMetrics, log: Logger) -> None:
        self._hooks = tuple(hooks)
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self._bodies = Bodies(largest=limits.body, together=limits.arriving)
        self._open = 0
        self._in_flight = 0
        self.answered = 0
        """Requests that were answered in any way."""
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    def application(self) -> web.Application:
        """Make the aiohttp application."""
        application = web.Application(middlewares=[self._guard])
        for hook in self._hooks:
            application.router.add_post(hook.path, self._serve(hook))
        return application

    def start_closing(self) -> None:
        """From now on each answer asks the client to use another connection; everything is still answered."""
        self._closing = True

    async def idle(self) -> None:
        """Wait until nothing is in flight."""
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
        except HttpError as error:
            return self._refuse(request, error)
        except web.HTTPException as error:
            return self._refuse(request, HttpError(error.status, _explain(error), _allow(error)))
        except (ConnectionResetError, asyncio.IncompleteReadError):
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: a defect must not reach the client as a traceback
            self._log.error("A review could not be answered because of a defect.", path=request.path, exc_info=error)
            return self._refuse(request, HttpError(500, "Internal error; the log of rollonce says more."))

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._in_flight >= self._limits.in_flight:
            raise HttpError(429, "Too many reviews are being worked on.", RETRY_AFTER)
        self._in_flight += 1
        self._metrics.in_flight.inc()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.dec()

    def _serve(self, hook: Hook) -> Callable[[web.Request], Awaitable[web.Response]]:
        seconds = self._metrics.seconds.labels(hook.name)
        counters: dict[tuple[str, str, int], Counter] = {}

        async def serve(request: web.Request) -> web.Response:
            deadline = _deadline_of(request)
            if request.content_type != "application/json":
                raise HttpError(415, "The Content-Type of a review is application/json.")
            answer, took = await self._exchange(hook, request, deadline)
            seconds.observe(took)
            kind = (answer.operation, answer.outcome, answer.code)
            if (counter := counters.get(kind)) is None:
                counter = self._metrics.requests.labels(hook.name, *kind)
                counters[kind] = counter
            counter.inc()
            response = web.Response(body=answer.body, content_type="application/json")
            if answer.code == HTTPStatus.SERVICE_UNAVAILABLE:
                # What this replica cannot reach another may; the API server would come back by this very connection.
                response.force_close()
            return response

        return serve

    async def _exchange(self, hook: Hook, request: web.Request, deadline: Deadline) -> tuple[Answer, float]:
        """Read the whole body and let the hook answer it.

        Returns:
            The answer, and how many seconds the hook took for it.

        Raises:
            HttpError: There is no answer; its status says whose fault that is.
        """
        started: float | None = None
        try:
            # One timer for both: a timer costs as much as decoding a review.
            async with asyncio.timeout(min(deadline.remaining(), BODY_SECONDS)) as timer:
                body = await self._bodies.read(request)
                with self._place():
                    timer.reschedule(asyncio.get_running_loop().time() + deadline.remaining())
                    started = time.perf_counter()
                    answer = await hook.answer(body, deadline)
                    return answer, time.perf_counter() - started
        except MalformedReviewError as error:
            raise HttpError(error.code, str(error)) from None
        except (DeadlineExceededError, TimeoutError):
            if started is None:
                raise HttpError(408, "The body did not arrive in time.") from None
            raise HttpError(504, "The time for this review is over.") from None
        except DependencyError as error:
            raise HttpError(error.code, str(error), RETRY_AFTER) from None

    def _refuse(self, request: web.Request, error: HttpError) -> web.Response:
        self._metrics.refused.labels(str(error.status)).inc()
        self._log.warning(
            "A request was not answered with a review.",
            path=request.path,
            method=request.method,
            status=error.status,
            problem=error.message,
        )
        return web.Response(status=error.status, text=error.message + "\n", headers=error.headers)


def _deadline_of(request: web.Request) -> Deadline:
    """Read `?timeout=`, a Go duration, which the API server sends with each call."""
    try:
        seconds = _granted(request.query.get("timeout", ""))
    except ValueError as error:
        raise HttpError(400, f"timeout: {error}") from None
    return Deadline.after(seconds, time.monotonic)


@functools.lru_cache(maxsize=64)
def _granted(timeout: str) -> float:
    """Return the seconds that we may take of a timeout; there are few different ones."""
    seconds = min(duration_seconds(timeout) if timeout else DEFAULT_TIMEOUT_SECONDS, LONGEST_TIMEOUT_SECONDS)
    return seconds - min(seconds * RESERVE_SHARE, RESERVE_SECONDS)


def _explain(error: web.HTTPException) -> str:
    if error.status == 404:
        return "There is no webhook at this path."
    if error.status == 405:
        return "A review is sent by POST."
    return error.reason


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {str(hdrs.ALLOW): error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
