"""One admission webhook: how it is registered, which struct it decodes, and the handler that decides.

The API server's configuration and the server's routes are both made from `Webhook`, so what is registered is what is
served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from webhook.admission.registration import Registration
from webhook.admission.response import Decision, encode
from webhook.admission.review import AdmissionRequest, ReviewDecoder
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


class Endpoint(Protocol):
    """What the HTTP server needs to know of a webhook."""

    @property
    def path(self) -> str:
        """The URL path that the API server calls."""

    @property
    def name(self) -> str:
        """The value of the `webhook` label of metrics."""

    async def answer(self, body: bytes, deadline: Deadline) -> Answer:
        """Answer one review.

        Raises:
            MalformedReviewError: The body cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Webhook(Generic[HandlersT, ObjectT]):
    """A webhook before it is connected to anything: enough to register it, and to serve it with `bind`.

    Attributes:
        registration: What the API server is told about it.
        object_type: The msgspec struct of the object's fields that the handler reads.
        handler: A method of the feature's handlers, such as `RunHandlers.validate`.
    """

    registration: Registration
    object_type: type[ObjectT]
    handler: Callable[[HandlersT, AdmissionRequest[ObjectT], Deadline], Awaitable[Decision]]

    def bind(self, handlers: HandlersT) -> Endpoint:
        """Return the webhook connected to the object whose method handles its requests."""

        async def handle(request: AdmissionRequest[ObjectT], deadline: Deadline) -> Decision:
            return await self.handler(handlers, request, deadline)

        return TypedEndpoint(self.registration.path, self.registration.name, self.object_type, handle)


class TypedEndpoint(Generic[ObjectT]):
    """Serve one webhook: decode the request, let the handler decide, encode the response.

    Args:
        path: The URL path.
        name: The value of the `webhook` label of metrics.
        object_type: The msgspec struct of the needed fields.
        handler: Decides.
    """

    def __init__(self, path: str, name: str, object_type: type[ObjectT], handler: Handler[ObjectT]) -> None:
        self.path = path
        self.name = name
        self._decoder = ReviewDecoder(object_type)
        self._handler = handler

    async def answer(self, body: bytes, deadline: Deadline) -> Answer:
        """Answer one review.

        Raises:
            MalformedReviewError: The body cannot be read.
        """
        request = self._decoder.decode(body)
        decision = await self._handler(request, deadline)
        return Answer(
            body=encode(request.uid, decision),
            operation=request.operation.value,
            outcome="denied" if not decision.allowed else "patched" if decision.operations else "allowed",
            code=decision.status.code if decision.status else 200,
        )
