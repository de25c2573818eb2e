"""Quorum reads of runs: what the API server's storage holds now, never what a cache remembers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from webhook.admission.deadline import Deadline
from webhook.clients.api import KubernetesApi
from webhook.errors import KubernetesError
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.label import LABEL, label_value
from webhook.hooks.dedupe.core.resource import Resource
from webhook.hooks.dedupe.core.run import OrchestrationRun, RunList

_PAGE: Final = 500
_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        runs: All of it. A run that cannot be read makes the page unreadable: to leave it out could make a second one.
        version: The resourceVersion of the whole list; empty if the API server gave none.
    """

    runs: tuple[OrchestrationRun, ...]
    version: str


class _NotFound(msgspec.Struct, frozen=True):
    """The part of a 404 that tells a missing object from a missing API."""

    class Details(msgspec.Struct, frozen=True):
        name: str = ""

    reason: str = ""
    details: Details = Details()


class Runs:
    """Reads runs.

    Args:
        api: The API server.
        resource: The kind that is read.
    """

    def __init__(self, api: KubernetesApi, resource: Resource) -> None:
        self._api = api
        self._resource = resource
        self._run = msgspec.json.Decoder(OrchestrationRun)
        self._list = msgspec.json.Decoder(RunList)
        self._not_found = msgspec.json.Decoder(_NotFound)

    async def get(self, namespace: str, name: str, deadline: Deadline) -> OrchestrationRun | None:
        """Return a run, or None if storage holds none of that name.

        Raises:
            KubernetesError: That could not be found out.
        """
        reply = await self._api.get(self._resource.item(namespace, name), deadline)
        try:
            if reply.ok:
                return self._run.decode(reply.body)
            if reply.status == 404:
                found = self._not_found.decode(reply.body)
                if found.reason == "NotFound" and found.details.name == name:
                    return None
        except _DECODE_ERRORS:
            raise KubernetesError("The API server's answer about a run cannot be read.") from None
        raise KubernetesError(f"The API server answered {reply.status} when asked for a run.")

    async def of_delivery(self, key: DeliveryKey, deadline: Deadline) -> tuple[OrchestrationRun, ...]:
        """Return the stored runs of a delivery, found by their label and compared byte for byte.

        Raises:
            KubernetesError: That could not be found out.
        """
        selector = f"{LABEL}={label_value(key.delivery_id)}"
        pages = self.pages(key.namespace, lambda: deadline, selector=selector)
        return tuple([run async for page in pages for run in page.runs if run.key(key.namespace) == key])

    async def pages(
        self, namespace: str, deadline: Callable[[], Deadline], *, selector: str = ""
    ) -> AsyncIterator[Page]:
        """Read all runs of a namespace, or of all if it is empty, page by page.

        Args:
            namespace: Its name, or an empty string.
            deadline: Makes the deadline of each page.
            selector: A label selector.

        Raises:
            KubernetesError: A page could not be read.
        """
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            reply = await self._api.get(self._resource.collection(namespace), deadline(), query=query)
            if not reply.ok:
                raise KubernetesError(f"The API server answered {reply.status} when asked for a list of runs.")
            try:
                page = self._list.decode(reply.body)
            except _DECODE_ERRORS:
                raise KubernetesError("The API server's list of runs cannot be read.") from None
            yield Page(page.items, page.metadata.resource_version or "")
            if not page.metadata.continue_:
                return
            query = query | {"continue": page.metadata.continue_}
