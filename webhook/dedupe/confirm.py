"""Changes of records after the fact: a stored run confirms its record, and an operator can forget it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from webhook.dedupe.core.evidence import StoredRun, after_forget, confirmed
from webhook.dedupe.core.identity import RecordAddress
from webhook.dedupe.core.record import Record, State
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.errors import DataError, StoreError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

_ATTEMPTS: Final = 5
#: About 400 bytes each.
_MOST_POSTPONED: Final = 10_000


class Confirmer:
    """Confirm and forget records.

    Args:
        store: Holds the records.
        settings: For the retention.
        clock: The time of day.
        log: Receives what cannot be confirmed.
        metrics: Counts confirmations by what read the run.
    """

    def __init__(
        self, store: Store, settings: DedupeSettings, *, clock: Clock, log: Logger, metrics: DedupeMetrics
    ) -> None:
        self._store = store
        self._retention = settings.retention.total_seconds()
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._postponed: OrderedDict[RecordAddress, tuple[Record, str]] = OrderedDict()

    async def confirm(
        self,
        run: OrchestrationRun,
        deadline: Deadline,
        *,
        by: str,
        seen: tuple[bytes, Record | None] | None = None,
    ) -> None:
        """Confirm the record of a run that the API server holds, or held until now. Repeating it changes nothing.

        Args:
            run: As read from the API server, or the `oldObject` of its deletion. Without deliveryId nothing happens.
            deadline: When to give up.
            by: What read the run, for the metrics: `watch`, `delete`, `look` or `rebuild`.
            seen: The record as it was read just now, undecoded and decoded; it saves a read.

        Raises:
            StoreError: The store did not answer, or the record kept changing; try again later.
            UnreadableRecordError: The record cannot be decoded.
        """
        key = run.key()
        if key is not None and run.uid:
            await self.confirm_at(key.address, run, deadline, by=by, seen=seen)

    async def confirm_at(
        self,
        address: RecordAddress,
        run: StoredRun,
        deadline: Deadline,
        *,
        by: str,
        seen: tuple[bytes, Record | None] | None = None,
    ) -> None:
        """Confirm the record at an address; the arguments and errors are those of `confirm`."""
        for _ in range(_ATTEMPTS):
            raw, record = seen or await self._store.get(address, deadline)
            seen = None
            new = confirmed(record, run, now=self._clock.time(), retention=self._retention)
            if new is None:
                return
            # Its key has only a hash of the namespace, and an operator has to find the records of one.
            new = replace(new, namespace=address.namespace)
            expires_at = self._expiry(record, new)
            if await self._store.swap(address, raw, new, deadline, expires_at=expires_at):
                self._metrics.confirmations.labels(by).inc()
                return
        raise StoreError("A record kept changing while its run was being confirmed.")

    def postpone(self, run: OrchestrationRun, *, by: str) -> None:
        """Confirm a run when the store answers again; of too many the oldest is given up.

        Args:
            run: As of `confirm`.
            by: As of `confirm`.
        """
        key = run.key()
        record = confirmed(None, run, now=self._clock.time(), retention=self._retention)
        if key is None or not run.uid or record is None:
            return
        self._postponed[key.address] = (record, by)
        if len(self._postponed) > _MOST_POSTPONED:
            self._postponed.popitem(last=False)
        self._metrics.postponed_confirmations.set(len(self._postponed))

    async def confirm_postponed(self, deadline: Deadline) -> None:
        """Confirm what was postponed.

        Raises:
            StoreError: The store did not answer; what is not confirmed yet stays postponed.
        """
        while self._postponed:
            address, (record, by) = next(iter(self._postponed.items()))
            try:
                await self.confirm_at(address, record, deadline, by=by)
            except DataError as error:
                # Trying again would not help, and would keep all others waiting.
                self._log.warning("run not confirmed", run=record.name, problem=str(error))
            if self._postponed.get(address) == (record, by):
                del self._postponed[address]
            self._metrics.postponed_confirmations.set(len(self._postponed))

    async def forget(self, address: RecordAddress, uid: str, deadline: Deadline) -> bool:
        """Declare that a delivery's run does not count any more; its next create is the first one again.

        The run itself is not changed: while it exists it keeps its name, so a create with the same generated name is
        still refused by the API server's storage. That the run was forgotten is held by the store only: if the store
        loses its records, a run that still exists counts again.

        Args:
            address: The place of the delivery's record.
            uid: Canonical uid of the run that the operator saw. The record of another run is not changed.
            deadline: When to give up.

        Returns:
            False if the record is of another run, or there is none.

        Raises:
            StoreError: No answer; it is unknown whether it was forgotten.
            UnreadableRecordError: The record cannot be decoded.
        """
        raw, record = await self._store.get(address, deadline)
        if record is None or record.state is State.FORGOTTEN or record.uid != uid:
            return False
        expires_at = int((max(record.created_at, record.reserved_at / 1000) + self._retention) * 1000)
        return await self._store.swap(address, raw, after_forget(record), deadline, expires_at=expires_at)

    def _expiry(self, before: Record | None, new: Record) -> int | None:
        """Return the end of the retention, which counts from the creation; a confirmed record keeps its expiry."""
        if before is not None and before.state is State.CONFIRMED:
            return None
        return int((new.created_at + self._retention) * 1000)
