"""Confirmation: a run that has been seen stored turns its delivery's reservation into a fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from webhook.admission.deadline import Deadline
from webhook.errors import StoreError
from webhook.hooks.dedupe.core.evidence import confirmed
from webhook.hooks.dedupe.core.record import Record, State
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Store

_ATTEMPTS: Final = 5


class Confirmer:
    """Writes down that runs were stored.

    Args:
        store: Where.
        settings: For the retention.
        clock: Seconds since 1970.
        metrics: Counted by what showed the run.
    """

    def __init__(
        self, store: Store, settings: DedupeSettings, clock: Callable[[], float], metrics: DedupeMetrics
    ) -> None:
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
        """Confirm a run that the API server holds, or held until just now. Level-triggered: doing it again is free.

        Args:
            run: As read from the API server, or the `oldObject` of its deletion. Without deliveryId nothing happens.
            deadline: For the store's answers.
            by: What showed it, for the metrics: `watch`, `delete`, `look` or `rebuild`.
            seen: The record as it was read just now, to spare a first look.

        Raises:
            StoreError: The store did not answer, or others kept changing the record; try again later.
        """
        key = run.key()
        if key is None or not run.uid:
            return
        for _ in range(_ATTEMPTS):
            raw, record = seen or await self._store.get(key, deadline)
            seen = None
            wanted = confirmed(record, run, key, now=self._clock(), retention=self._retention)
            if wanted is None:
                return
            if await self._store.swap(key, raw, wanted, deadline, expires_at=self._expiry(record, wanted)):
                self._metrics.confirmations.labels(by).inc()
                return
        raise StoreError("A record kept changing while its run was being confirmed.")

    def _expiry(self, before: Record | None, wanted: Record) -> int | None:
        """Retention counts from the creation; what was confirmed before keeps the expiry that it got then."""
        if before is not None and before.state is State.CONFIRMED:
            return None
        return int((wanted.created_at + self._retention) * 1000)
