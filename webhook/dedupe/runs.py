"""Quorum reads of runs: what the API server's storage holds now, never from a cache."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeVar

import msgspec

from webhook.dedupe.core.identity import LABEL, DeliveryKey, label_value
from webhook.dedupe.core.run import OrchestrationRun, Resource
from webhook.errors import KubernetesError
from webhook.kube.api import METADATA_ONLY, KubernetesApi
from webhook.kube.listing import RefusedError, Selection, error_of, pages
from webhook.kube.objects import DECODE_ERRORS, partial_decoder
from webhook.runtime.deadline import Deadline
from webhook.runtime.decoding import DeepDecoder

T = TypeVar("T")


class _NotFound(msgspec.Struct, frozen=True):
    """The part of a 404 that distinguishes a missing object from an API that is not served."""

    class Details(msgspec.Struct, frozen=True):
        name: str = ""

    reason: str = ""
    details: Details = Details()


_run_decoder: Final = DeepDecoder(OrchestrationRun)
_not_found_decoder: Final = DeepDecoder(_NotFound)


class ForbiddenError(KubernetesError):
    """The API server does not let rollonce read the runs of a namespace."""


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
            ForbiddenError: rollonce may not read it.
            KubernetesError: It is unknown whether there is one.
        """
        return await self._item(namespace, name, deadline, _run_decoder, accept="application/json")

    async def uid(self, namespace: str, name: str, deadline: Deadline) -> str:
        """Return the uid of a run, or an empty string if storage holds no run of that name.

        Raises:
            ForbiddenError: rollonce may not read it.
            KubernetesError: It is unknown whether there is one.
        """
        found = await self._item(namespace, name, deadline, partial_decoder, accept=METADATA_ONLY)
        return found.metadata.uid if found else ""

    async def uids(self, namespace: str, deadline: Callable[[], Deadline]) -> dict[str, str]:
        """Return the uids of all runs of a namespace that have the label of a delivery, by name.

        Args:
            namespace: The namespace.
            deadline: Creates the deadline of each page.

        Raises:
            ForbiddenError: rollonce may not list them.
            KubernetesError: It is unknown which runs there are.
        """
        selection = Selection(self._resource.collection(namespace), labels=LABEL, metadata_only=True)
        found: dict[str, str] = {}
        async for items in self._pages(selection, deadline):
            for item in items:
                metadata = _decoded(partial_decoder, item).metadata
                found[metadata.name] = metadata.uid
        return found

    async def of_delivery(self, key: DeliveryKey, deadline: Deadline) -> tuple[OrchestrationRun, ...]:
        """Return the stored runs of a delivery, found by their label and compared byte for byte.

        Raises:
            ForbiddenError: rollonce may not list them.
            KubernetesError: It is unknown which runs there are.
        """
        listing = self.listing(key.namespace, lambda: deadline, delivery_id=key.delivery_id)
        return tuple([run async for run in listing if run.key(key.namespace) == key])

    async def listing(
        self, namespace: str, deadline: Callable[[], Deadline], *, delivery_id: str = ""
    ) -> AsyncGenerator[OrchestrationRun]:
        """Yield all runs of a namespace, or of all namespaces if it is empty.

        A run that is kept keeps the whole page in memory.

        Args:
            namespace: The namespace, or an empty string.
            deadline: Creates the deadline of each page.
            delivery_id: Only runs with the label of this deliveryId; empty for all.

        Raises:
            ForbiddenError: rollonce may not list them.
            KubernetesError: A page could not be read, or has a run that cannot be decoded: if it were left out, a
                second run of its delivery could be allowed.
        """
        labels = f"{LABEL}={label_value(delivery_id)}" if delivery_id else ""
        selection = Selection(self._resource.collection(namespace), labels=labels)
        async for items in self._pages(selection, deadline):
            items.reverse()
            while items:
                yield _decoded(_run_decoder, items.pop())

    async def _item(
        self, namespace: str, name: str, deadline: Deadline, decoder: DeepDecoder[T], *, accept: str
    ) -> T | None:
        reply = await self._api.get(self._resource.item(namespace, name), deadline, accept=accept)
        if reply.ok:
            return _decoded(decoder, reply.body)
        if reply.status == 404:
            if _is_missing(reply.body, name):
                return None
            raise error_of(reply, "get", Selection(self._resource.collection(namespace)))
        if reply.status == 403:
            raise self._forbidden(namespace)
        raise KubernetesError(f"The API server answered {reply.status} when asked for a run.")

    async def _pages(self, selection: Selection, deadline: Callable[[], Deadline]) -> AsyncGenerator[list[msgspec.Raw]]:
        try:
            async for items, _ in pages(self._api, selection, deadline):
                yield items
        except RefusedError as error:
            if error.status == 403:
                raise ForbiddenError(str(error)) from None
            raise

    def _forbidden(self, namespace: str) -> ForbiddenError:
        return ForbiddenError(f"rollonce may not read {self._resource.plural} in namespace {namespace}.")


def _is_missing(body: bytes, name: str) -> bool:
    """Return whether a 404 is about an object; one about an API that is not served may be plain text."""
    try:
        found = _not_found_decoder.decode(body)
    except DECODE_ERRORS:
        return False
    return found.reason == "NotFound" and found.details.name == name


def _decoded(decoder: DeepDecoder[T], data: bytes | msgspec.Raw) -> T:
    try:
        return decoder.decode(data)
    except DECODE_ERRORS:
        raise KubernetesError("The API server's reply about runs cannot be decoded.") from None
