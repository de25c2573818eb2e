"""One admission webhook: a path, the part of the object that it reads, and what decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from webhook.admission.deadline import Deadline
from webhook.admission.response import Decision, encode
from webhook.admission.review import AdmissionRequest, ReviewDecoder

ObjectT = TypeVar("ObjectT")

#: What a hook's handler is: it gathers facts within the deadline, lets a pure function decide, and acts on it.
Handler = Callable[[AdmissionRequest[ObjectT], Deadline], Awaitable[Decision]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back, and what the metrics and the log need to know of it.

    Attributes:
        body: The JSON of the answering `AdmissionReview`.
        uid: The request's.
        operation: CREATE, UPDATE, DELETE or CONNECT.
        outcome: `allowed`, `patched` or `denied`.
        code: The status code of a refusal, otherwise 200.
    """

    body: bytes
    uid: str
    operation: str
    outcome: str
    code: int


class Hook(Protocol):
    """What the server needs to know of a webhook."""

    @property
    def path(self) -> str:
        """The URL path that the API server calls."""

    @property
    def name(self) -> str:
        """A short name for metrics and the log."""

    async def answer(self, body: bytes, deadline: Deadline) -> Answer:
        """Answer one review.

        Raises:
            MalformedReviewError: The body cannot be read.
        """


class TypedHook(Generic[ObjectT]):
    """A hook that reads objects of one struct: decode, let the handler decide, encode.

    Args:
        path: The URL path.
        name: For metrics and the log.
        object_type: The msgspec struct of the needed fields.
        handler: What decides.
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
            uid=request.uid,
            operation=request.operation.value,
            outcome="denied" if not decision.allowed else "patched" if decision.operations else "allowed",
            code=decision.status.code if decision.status else 200,
        )
