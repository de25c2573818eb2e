"""Read a collection in pages; each page is released before the next is requested.

A list is a quorum read: the query has no `resourceVersion`. `resourceVersion=0` would be cheaper on old API servers,
but it is answered with the whole list whatever the limit, and from a cache that can be older than what was read
before, so that an informer would go back in time. Since Kubernetes 1.31 a quorum list is served from the watch cache.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from webhook.errors import KubernetesError
from webhook.kube.api import METADATA_ONLY, METADATA_ONLY_LIST, KubernetesApi, Reply
from webhook.kube.objects import DECODE_ERRORS, page_decoder, read_status
from webhook.runtime.deadline import Deadline

#: Time for one page; the API server's own limit of a request is twice as long.
PAGE_SECONDS: Final = 30.0
#: The size of a page that is aimed at, whatever the objects weigh.
PAGE_BYTES: Final = 2**20
#: The API server accepts 256 KiB of annotations per object, so a first page of metadata can be 2 MiB.
FIRST_PAGE_ITEMS: Final = 8
MAX_PAGE_ITEMS: Final = 500

_NOT_FOUND: Final = 404
_GONE: Final = 410
_MESSAGE_LENGTH: Final = 500


class GoneError(KubernetesError):
    """The requested version is too old for the API server: the collection must be listed again."""


class RefusedError(KubernetesError):
    """The API server answered with an error status.

    Attributes:
        status: The HTTP status; 0 if it is not an error, but the reply is not a list.
        retry_after: Seconds that it asks to wait.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Selection:
    """What to list and watch.

    Attributes:
        path: Path of a collection, such as `/apis/apps/v1/deployments` or `/api/v1/namespaces/shop/secrets`.
        fields: A field selector. With `metadata.name=…` a Role with `resourceNames` is enough.
        labels: A label selector.
        metadata_only: Whether the API server sends nothing but the metadata.
    """

    path: str
    fields: str = ""
    labels: str = ""
    metadata_only: bool = False

    @property
    def resource(self) -> str:
        """The plural name of the resource, for metrics."""
        return self.path.rpartition("/")[2]

    @property
    def accept(self) -> str:
        """The form in which objects of a watch are requested."""
        return METADATA_ONLY if self.metadata_only else "application/json"

    @property
    def query(self) -> dict[str, str]:
        """The selectors as query parameters."""
        selectors = {"fieldSelector": self.fields, "labelSelector": self.labels}
        return {name: value for name, value in selectors.items() if value}

    def __str__(self) -> str:
        """Return path and selectors as in a URL."""
        return "&".join([self.path, *(f"{name}={value}" for name, value in self.query.items())])


async def pages(
    api: KubernetesApi, selection: Selection, deadline: Callable[[], Deadline], *, first: int = FIRST_PAGE_ITEMS
) -> AsyncGenerator[tuple[list[msgspec.Raw], str]]:
    """Read a collection as it was at one moment.

    Args:
        api: The API server.
        selection: What to read.
        deadline: Creates the deadline of each page.
        first: How many objects to request first; the size of further pages is chosen by their bytes.

    Yields:
        The objects of a page, undecoded, and the resourceVersion of the whole list.

    Raises:
        GoneError: Reading took so long that the moment is forgotten: start again.
        RefusedError: The API server answered with an error status, or with something that is not a list.
        KubernetesError: No reply.
    """
    accept = METADATA_ONLY_LIST if selection.metadata_only else "application/json"
    limit, continue_token = first, ""
    while True:
        query = {**selection.query, "limit": str(limit)}
        if continue_token:
            query["continue"] = continue_token
        reply = await api.get(selection.path, deadline(), query=query, accept=accept)
        if not reply.ok:
            raise error_of(reply, "list", selection)
        try:
            page = page_decoder.decode(reply.body)
        except DECODE_ERRORS:
            raise RefusedError(f"The reply to the list of {selection} is not a list.") from None
        items, continue_token = page.items or [], page.metadata.continue_token
        limit = next_page_items(limit, items=len(items), size=len(reply.body))
        version = page.metadata.resource_version
        # Objects are views of the body: it is freed when the caller releases them.
        del reply, page
        yield items, version
        del items
        if not continue_token:
            return


def next_page_items(limit: int, *, items: int, size: int) -> int:
    """Return how many objects the next page should have to be about `PAGE_BYTES` long.

    An applied object repeats itself in its annotations, so the metadata of 500 Secrets can be a hundred megabytes.

    Args:
        limit: The limit of the page before. It is at most doubled, since the next objects may be larger.
        items: Objects in that page.
        size: Bytes of that page.
    """
    fitting = items * PAGE_BYTES // max(size, 1) if items else limit
    return max(1, min(fitting, 2 * limit, MAX_PAGE_ITEMS))


def error_of(reply: Reply, verb: str, selection: Selection) -> KubernetesError:
    """Return the error for a reply with an error status.

    Args:
        reply: The reply.
        verb: `list` or `watch`.
        selection: What was requested.
    """
    if reply.status == _GONE:
        return GoneError(f"The API server no longer has the version from which to {verb} {selection}.")
    if reply.status == _NOT_FOUND:
        return RefusedError(_not_served(selection), status=reply.status, retry_after=reply.retry_after or 0)
    message = f"The API server answered {reply.status} to the {verb} of {selection}"
    if reply.status in {401, 403}:
        # Its own message names the user, the verb and the resource, which is what must be granted.
        message += f": {read_status(reply.body).message[:_MESSAGE_LENGTH]}"
    return RefusedError(message + ".", status=reply.status, retry_after=reply.retry_after or 0)


def _not_served(selection: Selection) -> str:
    """Say that the API server does not know a resource: the collection of one that it knows always exists."""
    # /api/v1/…, or /apis/GROUP/VERSION/…
    parts = selection.path.strip("/").split("/")
    if parts[0] == "apis" and "." in parts[1] and not parts[1].endswith(".k8s.io"):
        return (
            f"The CustomResourceDefinition {selection.resource}.{parts[1]} is not installed, or does not serve the "
            f"version {parts[2]}."
        )
    return f"The API server does not serve {selection.path}."
