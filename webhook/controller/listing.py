"""Reading a collection in pages, each dropped before the next is asked for.

A list is a quorum read (no `resourceVersion` in the query). `resourceVersion=0` would be cheaper on old API servers but
is answered whole, whatever the limit, and from a cache that may be older than what we have seen already: a mirror would
go back in time. Since Kubernetes 1.31 a quorum list is served from the watch cache too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from webhook.admission.deadline import Deadline
from webhook.clients.api import METADATA_ONLY, METADATA_ONLY_LIST, KubernetesApi
from webhook.controller.core.pacing import FIRST_PAGE_ITEMS, next_page_items
from webhook.controller.objects import DecodeError, page_decoder, read_status
from webhook.errors import KubernetesError

#: The API server's own limit of a request is twice as long.
PAGE_SECONDS: Final = 30.0

_GONE: Final = 410


class GoneError(KubernetesError):
    """The API server no longer remembers where we were: what there is has to be listed anew."""


class RefusedError(KubernetesError):
    """The API server answered, but not with what was asked for.

    Attributes:
        retry_after: Seconds that it asks to wait.
    """

    def __init__(self, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Selection:
    """What to list and watch.

    Attributes:
        path: Of a collection, such as `/apis/apps/v1/deployments` or `/api/v1/namespaces/shop/secrets`.
        fields: A field selector. With `metadata.name=…`, a Role with `resourceNames` is enough.
        labels: A label selector.
        metadata_only: Whether the API server should leave out all but the metadata.
    """

    path: str
    fields: str = ""
    labels: str = ""
    metadata_only: bool = False

    @property
    def resource(self) -> str:
        """The plural name of what is selected, for metrics."""
        return self.path.rpartition("/")[2]

    @property
    def accept(self) -> str:
        """The form in which objects of a watch are asked for."""
        return METADATA_ONLY if self.metadata_only else "application/json"

    @property
    def query(self) -> dict[str, str]:
        """The selectors, as parameters of a request."""
        selectors = {"fieldSelector": self.fields, "labelSelector": self.labels}
        return {name: value for name, value in selectors.items() if value}

    def __str__(self) -> str:
        """Write it as one would ask for it."""
        return "&".join([self.path, *(f"{name}={value}" for name, value in self.query.items())])


async def pages(
    api: KubernetesApi, selection: Selection, *, clock: Callable[[], float], first: int = FIRST_PAGE_ITEMS
) -> AsyncGenerator[tuple[list[msgspec.Raw], str]]:
    """Read a collection as it was at one moment.

    Args:
        api: The API server.
        selection: What to read.
        clock: A monotonic clock.
        first: How many objects to ask for first; after that, pages are made of about the same size in bytes.

    Yields:
        The objects of a page, undecoded, and the resourceVersion of the whole list.

    Raises:
        GoneError: It took so long that the moment is forgotten: begin again.
        RefusedError: The API server does not let us, or not now.
        KubernetesError: No answer.
    """
    accept = METADATA_ONLY_LIST if selection.metadata_only else "application/json"
    limit, rest = first, ""
    while True:
        query = {**selection.query, "limit": str(limit)}
        if rest:
            query["continue"] = rest
        reply = await api.get(selection.path, Deadline.after(PAGE_SECONDS, clock), query=query, accept=accept)
        if not reply.ok:
            raise refusal("list", selection, reply.status, reply.body, reply.retry_after)
        try:
            page = page_decoder.decode(reply.body)
        except DecodeError:
            raise RefusedError(f"The answer to the list of {selection} is no list.") from None
        items, rest = page.items or [], page.metadata.rest
        limit = next_page_items(limit, items=len(items), size=len(reply.body))
        version = page.metadata.resource_version
        # Objects are views of the body: it is freed when the caller lets go of them.
        del reply, page
        yield items, version
        del items
        if not rest:
            return


def refusal(verb: str, selection: Selection, status: int, body: bytes, retry_after: int | None) -> KubernetesError:
    """Make an error of an answer that is none of 2xx."""
    if status == _GONE:
        return GoneError(f"The API server no longer remembers the version from which to {verb} {selection}.")
    message = f"The API server answered {status} to the {verb} of {selection}"
    if status in {401, 403}:
        # Its own words name the user, the verb and the resource, which is what has to be granted.
        message += f": {read_status(body).message[:500]}"
    return RefusedError(message + ".", retry_after or 0)
