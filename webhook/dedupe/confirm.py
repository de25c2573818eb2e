"""Changes of records after the fact: a stored run confirms its record, and an operator can forget it."""

from __future__ import annotations

from typing import Final

from webhook.dedupe.core.evidence import after_forget, confirmed
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.record import Record, State
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.errors import StoreError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

_ATTEMPTS: Final = 5


class Confirmer:
    """Confirm and forget records.

    Args:
        store: Holds the records.
        settings: For the retention.
        clock: The time of day.
        metrics: Counts confirmations by what read the run.
    """

    def __init__(self, store: Store, settings: DedupeSettings, clock: Clock, metrics: DedupeMetrics) -> None:
        self._store = store
        self._retention = settings.retention.total_seconds()
        self._clock = clock
        self._metrics = metrics

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
        if key is None or not run.uid:
            return
        for _ in range(_ATTEMPTS):
            raw, record = seen or await self._store.get(key, deadline)
            seen = None
            new = confirmed(record, run, key, now=self._clock.time(), retention=self._retention)
            if new is None:
                return
            if await self._store.swap(key, raw, new, deadline, expires_at=self._expiry(record, new)):
                self._metrics.confirmations.labels(by).inc()
                return
        raise StoreError("A record kept changing while its run was being confirmed.")

    async def forget(self, key: DeliveryKey, uid: str, deadline: Deadline) -> bool:
        """Declare that a delivery's run does not count any more; its next create is the first one again.

        The run itself is not changed: while it exists it keeps its name, so a create with the same generated name is
        still refused by the API server's storage. That the run was forgotten is held by the store only: if the store
        loses its records, a run that still exists counts again.

        Args:
            key: The delivery.
            uid: Canonical uid of the run that the operator saw. The record of another run is not changed.
            deadline: When to give up.

        Returns:
            False if the record is of another run, or there is none.

        Raises:
            StoreError: No answer; it is unknown whether it was forgotten.
            UnreadableRecordError: The record cannot be decoded.
        """
        raw, record = await self._store.get(key, deadline)
        if record is None or record.state is State.FORGOTTEN or record.uid != uid:
            return False
        expires_at = int((max(record.created_at, record.reserved_at / 1000) + self._retention) * 1000)
        return await self._store.swap(key, raw, after_forget(record), deadline, expires_at=expires_at)

    def _expiry(self, before: Record | None, new: Record) -> int | None:
        """Return the end of the retention, which counts from the creation; a confirmed record keeps its expiry."""
        if before is not None and before.state is State.CONFIRMED:
            return None
        return int((new.created_at + self._retention) * 1000)
