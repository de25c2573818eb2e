"""Confirm the record of each run that the controller's watch shows to be stored.

The runs of the list are confirmed first, then those of the watch. A run is read only after the one before it has been
confirmed, and nothing is kept of it, so memory does not grow with the number of runs. If the store fails, the watch
continues later from the same place. Any number of replicas may do this at the same time.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.settings import DedupeSettings
from webhook.kube.listing import Selection
from webhook.kube.objects import DECODE_ERRORS, ObjectMeta, partial_decoder
from webhook.kube.reflector import Reflector, Sink, WatchContext
from webhook.runtime.decoding import DeepDecoder

_CALL_SECONDS: Final = 30.0
#: The most confirmations at a time while a page of a list is handled.
_AT_ONCE: Final = 16

_run_decoder: Final = DeepDecoder(OrchestrationRun)


class RunWatcher(Sink):
    """Follow the runs of the served namespaces and confirm each.

    Args:
        context: Connection, clock, log and metrics; each namespace occupies a connection.
        confirmer: Confirms records.
        settings: For the namespaces and the resource.
    """

    name = "confirmations"

    def __init__(self, context: WatchContext, confirmer: Confirmer, settings: DedupeSettings) -> None:
        self._clock = context.clock
        self._log = context.log
        self._undecodable = context.metrics.failures.labels(settings.resource.plural, "object")
        self._confirmer = confirmer
        self._reflectors = [
            Reflector(context, Selection(settings.resource.collection(namespace)), self)
            for namespace in settings.watched_namespaces
        ]

    async def run(self) -> None:
        """Confirm runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    async def page(self, items: list[msgspec.Raw]) -> None:
        """Confirm the runs of a page.

        Raises:
            StoreError: The store did not answer.
            UnreadableRecordError: A record cannot be decoded.
        """
        while items:
            some = items[:_AT_ONCE]
            del items[:_AT_ONCE]
            for end in await asyncio.gather(*map(self._confirm, some), return_exceptions=True):
                if isinstance(end, BaseException):
                    raise end

    async def changed(self, raw: msgspec.Raw) -> ObjectMeta:
        """Confirm a run that was added or modified.

        Raises:
            StoreError: The store did not answer.
            UnreadableRecordError: The record cannot be decoded.
        """
        return await self._confirm(raw)

    async def deleted(self, raw: msgspec.Raw) -> ObjectMeta:
        """Confirm a run that was deleted: it was stored.

        Raises:
            StoreError: The store did not answer.
            UnreadableRecordError: The record cannot be decoded.
        """
        return await self._confirm(raw)

    async def _confirm(self, raw: msgspec.Raw) -> ObjectMeta:
        metadata = partial_decoder.decode(raw).metadata
        try:
            run = _run_decoder.decode(raw)
        except DECODE_ERRORS:
            self._log.warning("run cannot be decoded and is ignored", run=str(metadata.key))
            self._undecodable.inc()
        else:
            await self._confirmer.confirm(run, self._clock.deadline(_CALL_SECONDS), by="watch")
        return metadata
