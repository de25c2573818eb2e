"""The calls that rollonce makes to the Kubernetes API server: paths and bytes, each call with its deadline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from webhook.errors import KubernetesError
from webhook.runtime.deadline import Deadline

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
#: The response holds `metadata` only; annotations in it may still hold anything.
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_ONLY_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of the API server.

    Attributes:
        status: The HTTP status.
        body: The whole body.
        retry_after: Seconds that the server asks to wait, if it does.
    """

    status: int
    body: bytes
    retry_after: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300


class ErrorReplyError(KubernetesError):
    """The API server answered a watch with an error status.

    Attributes:
        reply: The response.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"The API server answered {reply.status}.")
        self.reply = reply


class KubernetesApi(Protocol):
    """Calls to the API server. An HTTP error status of `get` and `send` is a reply; only no reply is an error."""

    def server_time(self) -> float:
        """Return the API server's time in seconds since 1970, never ahead of it; 0 if no recent reply has it.

        It is that of the last reply, in whole seconds, and what has passed since.
        """

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """GET a path such as `/api/v1/namespaces/shop/secrets/db`.

        Without a `resourceVersion` in the query this is a quorum read: it sees every write acknowledged before.

        Raises:
            KubernetesError: No reply within the deadline.
        """

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """POST, PUT, PATCH or DELETE; never repeated automatically.

        Raises:
            KubernetesError: No reply within the deadline; it is unknown whether the write happened.
        """


class WatchApi(KubernetesApi, Protocol):
    """Calls to the API server, watches included. A watch occupies a connection until it ends."""

    def watch(
        self, path: str, *, query: Mapping[str, str], accept: str, silence: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a watch; entering the context yields the lines of the stream, one event each.

        Args:
            path: The collection to watch.
            query: With `watch=true` and a `timeoutSeconds`, after which the server ends the watch.
            accept: The form in which objects are sent.
            silence: Seconds without a byte after which the connection counts as broken.

        Raises:
            ErrorReplyError: The API server answered with an error status.
            KubernetesError: The connection could not be made or broke.
            LineTooLongError: A line is longer than an event can be.
        """
