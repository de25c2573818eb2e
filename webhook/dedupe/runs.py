"""Quorum reads of runs: what the API server's storage holds now, never from a cache."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final

import msgspec

from webhook.dedupe.core.identity import LABEL, DeliveryKey, label_value
from webhook.dedupe.core.run import OrchestrationRun, Resource
from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.kube.listing import Selection, pages
from webhook.kube.objects import DECODE_ERRORS
from webhook.runtime.deadline import Deadline


class _NotFound(msgspec.Struct, frozen=True):
    """The part of a 404 that distinguishes a missing object from an API that is not served."""

    class Details(msgspec.Struct, frozen=True):
        name: str = ""

    reason: str = ""
    details: Details = Details()


_run_decoder: Final = msgspec.json.Decoder(OrchestrationRun)
_not_found_decoder: Final = msgspec.json.Decoder(_NotFound)


class Runs:
    """Read runs from the API server.

    Args:
        api: The API server.
        resource: The resource to read.
    """

    def __init__(self, api: KubernetesApi, resource: Resource) -> None:
        self._api = api
        self._resource = resource

    async def get(self, namespace: str, name: str, deadline: Deadline) -> OrchestrationRun | None:
        """Return a run, or None if storage holds no run of that name.

        Raises:
            KubernetesError: It is unknown whether there is one.
        """
        reply = await self._api.get(self._resource.item(namespace, name), deadline)
        try:
            if reply.ok:
                return _run_decoder.decode(reply.body)
            if reply.status == 404:
                found = _not_found_decoder.decode(reply.body)
                if found.reason == "NotFound" and found.details.name == name:
                    return None
        except DECODE_ERRORS:
            raise KubernetesError("The API server's reply about a run cannot be decoded.") from None
        raise KubernetesError(f"The API server answered {reply.status} when asked for a run.")

    async def of_delivery(self, key: DeliveryKey, deadline: Deadline) -> tuple[OrchestrationRun, ...]:
        """Return the stored runs of a delivery, found by their label and compared byte for byte.

        Raises:
            KubernetesError: It is unknown which runs there are.
        """
        listing = self.listing(key.namespace, lambda: deadline, delivery_id=key.delivery_id)
        return tuple([run async for runs in listing for run in runs if run.key(key.namespace) == key])

    async def listing(
        self, namespace: str, deadline: Callable[[], Deadline], *, delivery_id: str = ""
    ) -> AsyncGenerator[list[OrchestrationRun]]:
        """Yield all runs of a namespace, or of all namespaces if it is empty, page by page.

        Args:
            namespace: The namespace, or an empty string.
            deadline: Creates the deadline of each page.
            delivery_id: Only runs with the label of this deliveryId; empty for all.

        Raises:
            KubernetesError: A page could not be read, or has a run that cannot be decoded: if it were left out, a
                second run of its delivery could be allowed.
        """
        labels = f"{LABEL}={label_value(delivery_id)}" if delivery_id else ""
        selection = Selection(self._resource.collection(namespace), labels=labels)
        async for items, _ in pages(self._api, selection, deadline):
            try:
                runs = [_run_decoder.decode(item) for item in items]
            except DECODE_ERRORS:
                raise KubernetesError("The API server's list of runs cannot be decoded.") from None
            items.clear()
            yield runs
