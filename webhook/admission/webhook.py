"""One admission webhook: how it is registered, which struct it decodes, and the handler that decides.

The API server's configuration and the server's routes are both made from `Webhook`, so what is registered is what is
served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

import msgspec

from webhook.admission.registration import Registration
from webhook.admission.response import Decision, encode
from webhook.admission.review import AdmissionRequest, ReviewDecoder, decoded_size
from webhook.errors import MalformedReviewError
from webhook.runtime.deadline import Deadline

HandlersT = TypeVar("HandlersT")
ObjectT = TypeVar("ObjectT")

#: Gathers facts within the deadline, calls a pure function to decide, and acts on the decision.
Handler: TypeAlias = Callable[[AdmissionRequest[ObjectT], Deadline], Awaitable[Decision]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to one review, and what metrics need to know of it.

    Attributes:
        body: The JSON of the answering `AdmissionReview`.
        operation: CREATE, UPDATE, DELETE or CONNECT.
        outcome: `allowed`, `patched` or `denied`.
        code: The status code of a denial, otherwise 200.
    """

    body: bytes
    operation: str
    outcome: str
    code: int


@dataclass(frozen=True, slots=True)
class Review:
    """A decoded review that waits for its answer.

    Attributes:
        namespace: The namespace of the object; empty if it has none.
        size: How many bytes it keeps in memory; None if it may keep everything that was sent.
        answer: Answers it; can be called once.
    """

    namespace: str
    size: int | None
    answer: Callable[[Deadline], Awaitable[Answer]]


class Endpoint(Protocol):
    """What the HTTP server needs to know of a webhook."""

    @property
    def path(self) -> str:
        """The URL path that the API server calls."""

    @property
    def name(self) -> str:
        """The value of the `webhook` label of metrics."""

    def decode(self, body: bytes) -> Review:
        """Decode one review.

        Raises:
            MalformedReviewError: The body cannot be read.
        """

    async def answer(self, body: bytes, deadline: Deadline) -> Answer:
        """Decode one review and answer it.

        Raises:
            MalformedReviewError: The body cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Webhook(Generic[HandlersT, ObjectT]):
    """A webhook before it is connected to anything: enough to register it, and to serve it with `bind`.

    Attributes:
        registration: How the API server knows it.
        object_type: The msgspec struct of the object's fields that the handler reads.
        handler: A method of the feature's handlers, such as `RunHandlers.validate`.
        compact: Returns the object without what it keeps of the body, for handlers that can wait long.
    """

    registration: Registration
    object_type: type[ObjectT]
    handler: Callable[[HandlersT, AdmissionRequest[ObjectT], Deadline], Awaitable[Decision]]
    compact: Callable[[ObjectT], ObjectT] | None = None

    def bind(self, handlers: HandlersT) -> Endpoint:
        """Return the webhook connected to the object whose method handles its requests."""

        # Not a coroutine: it would keep the request for as long as the handler runs.
        def handle(request: AdmissionRequest[ObjectT], deadline: Deadline) -> Awaitable[Decision]:
            return self.handler(handlers, request, deadline)

        return TypedEndpoint(
            self.registration.path, self.registration.name, self.object_type, handle, compact=self.compact
        )


class TypedEndpoint(Generic[ObjectT]):
    """Serve one webhook: decode the request, let the handler decide, encode the response.

    Args:
        path: The URL path.
        name: The value of the `webhook` label of metrics.
        object_type: The msgspec struct of the needed fields.
        handler: Decides.
        compact: Returns the object without what it keeps of the body.
    """

    def __init__(
        self,
        path: str,
        name: str,
        object_type: type[ObjectT],
        handler: Handler[ObjectT],
        *,
        compact: Callable[[ObjectT], ObjectT] | None = None,
    ) -> None:
        self.path = path
        self.name = name
        self._decoder = ReviewDecoder(object_type)
        self._handler = handler
        self._compact = compact

    def decode(self, body: bytes) -> Review:
        """Decode one review.

        Raises:
            MalformedReviewError: The body cannot be read.
        """
        request = self._decoder.decode(body)
        size: int | None = None
        if self._compact is not None:
            request = msgspec.structs.replace(
                request,
                object=None if request.object is None else self._compact(request.object),
                old_object=None if request.old_object is None else self._compact(request.old_object),
            )
            try:
                kept = msgspec.json.encode(request)
            except RecursionError:
                raise MalformedReviewError("The review is nested too deeply.") from None
            size = len(kept) + decoded_size(kept)
        return Review(request.namespace, size, _Pending(self._handler, request))

    async def answer(self, body: bytes, deadline: Deadline) -> Answer:
        """Decode one review and answer it.

        Raises:
            MalformedReviewError: The body cannot be read.
        """
        return await self.decode(body).answer(deadline)


class _Pending(Generic[ObjectT]):
    """A request that can be answered once."""

    def __init__(self, handler: Handler[ObjectT], request: AdmissionRequest[ObjectT]) -> None:
        self._handler = handler
        self._requests = [request]

    async def __call__(self, deadline: Deadline) -> Answer:
        # What the handler does not keep is freed while it waits.
        request = self._requests.pop()
        uid, operation = request.uid, request.operation.value
        answering = self._handler(request, deadline)
        del request
        decision = await answering
        return Answer(
            body=encode(uid, decision),
            operation=operation,
            outcome="denied" if not decision.allowed else "patched" if decision.operations else "allowed",
            code=decision.status.code if decision.status else 200,
        )
