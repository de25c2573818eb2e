"""What an operator asks and does: which delivery became which run, whether the store agrees, and freeing a delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.label import LABEL, label_value
from webhook.hooks.dedupe.core.record import Record, State, UnreadableRecordError, canonical_uid
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.core.standing import Standing, after_forgetting, standing
from webhook.hooks.dedupe.forget import forget
from webhook.hooks.dedupe.report import DeliveryReport, Finding, RunReport, VerifyReport, record_report, run_report
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Store

_CALL_SECONDS: Final = 30.0
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are asked about; an empty text means any.

    Attributes:
        namespace: Of the run.
        ref: Its orchestration.
        delivery_id: Byte for byte.
        run: Its name.
    """

    namespace: str = ""
    ref: str = ""
    delivery_id: str = ""
    run: str = ""

    def fits(self, run: OrchestrationRun) -> bool:
        """Tell whether a run is asked about; one of no delivery never is."""
        return run.delivery_id is not None and all(
            not wanted or wanted == found
            for wanted, found in (
                (self.namespace, run.namespace),
                (self.ref, run.ref),
                (self.delivery_id, run.delivery_id),
                (self.run, run.name),
            )
        )


class RunOperator:
    """Answers an operator.

    Args:
        store: The memory.
        runs: The authority.
        confirmer: Mends.
        settings: For the retention and the namespaces.
        clock: Seconds since 1970.
        monotonic: A monotonic clock, in seconds.
        log: Told of what is changed.
    """

    def __init__(
        self,
        store: Store,
        runs: Runs,
        confirmer: Confirmer,
        settings: DedupeSettings,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._runs = runs
        self._confirmer = confirmer
        self._settings = settings
        self._retention = settings.retention.total_seconds()
        self._clock = clock
        self._monotonic = monotonic
        self._log = log

    async def listing(self, wanted: Wanted) -> AsyncIterator[RunReport]:
        """Join the runs that are stored with their records.

        Raises:
            StoreError: The store did not answer.
            KubernetesError: The API server did not answer.
        """
        async for run, _, record, how in self._joined(wanted):
            yield run_report(run, how, record)

    async def show(self, key: DeliveryKey) -> DeliveryReport:
        """Tell all that is known of one delivery.

        Raises:
            StoreError: The store did not answer, or the record cannot be read.
            KubernetesError: The API server did not answer.
        """
        _, record = await self._store.get(key, self._deadline())
        expires_at = await self._store.expires_at(key, self._deadline()) if record else 0
        stored = [run_report(run, self._standing(run, record, key), record) for run in await self._of(key, record)]
        return DeliveryReport(
            namespace=key.namespace,
            orchestration=key.ref,
            delivery_id=key.delivery_id,
            record=record_report(record, expires_at=expires_at) if record else None,
            runs=stored,
        )

    async def find(self, namespace: str, name: str) -> DeliveryKey | None:
        """Return the delivery of a stored run; None if there is no such run, or it is of none.

        Raises:
            KubernetesError: The API server did not answer.
        """
        run = await self._runs.get(namespace, name, self._deadline())
        return run.key(namespace) if run else None

    async def prepare_forget(self, key: DeliveryKey) -> tuple[Record, str] | None:
        """Look up what would be forgotten.

        Returns:
            The record and what forgetting it means for the next create; None if there is nothing to forget.

        Raises:
            StoreError: The store did not answer, or the record cannot be read.
            KubernetesError: The API server did not answer.
        """
        _, record = await self._store.get(key, self._deadline())
        stored = await self._of(key, record)
        if record is None:
            for run in stored:
                # A run without a record, after a loss, would come back with the rebuild: it has to be known to be
                # forgotten.
                await self._confirmer.confirm(run, self._deadline(), by="look")
            _, record = await self._store.get(key, self._deadline())
        if record is None or record.state is State.FORGOTTEN:
            return None
        exists = any(canonical_uid(run.uid) == record.uid for run in stored)
        return record, after_forgetting(record, key, stored=exists)

    async def forget(self, key: DeliveryKey, record: Record) -> bool:
        """Free a delivery, if its record is still of the run that the operator has seen.

        Raises:
            StoreError: The store did not answer; whether it was forgotten is unknown.
        """
        done = await forget(self._store, key, record.uid, self._deadline(), retention=self._settings.retention)
        self._log.warning(
            "Forgot a delivery." if done else "A delivery was not forgotten, since its record has changed.",
            namespace=key.namespace,
            orchestration=key.ref,
            deliveryId=key.delivery_id,
            run=record.name,
            uid=record.uid,
        )
        return done

    async def verify(self, wanted: Wanted, *, fix: bool) -> VerifyReport:
        """Compare the store with the cluster.

        Args:
            wanted: Which runs.
            fix: Whether to confirm what is missing.

        Raises:
            StoreError: The store did not answer.
            KubernetesError: The API server did not answer.
        """
        checked = 0
        found: list[Finding] = []
        async for run, key, record, how in self._joined(wanted):
            checked += 1
            if not how.wrong:
                continue
            mended = fix and how.mendable
            if mended:
                await self._confirmer.confirm(run, self._deadline(), by="look")
                self._log.info("Confirmed a run.", deliveryId=key.delivery_id, namespace=key.namespace, run=run.name)
            found.append(Finding(run=run_report(run, how, record), mendable=how.mendable, mended=mended))
        marks, _ = await self._store.marks(self._deadline())
        return VerifyReport(
            checked=checked, findings=found, doubted_buckets=sum(not mark.whole for mark in marks.values())
        )

    async def _joined(
        self, wanted: Wanted
    ) -> AsyncIterator[tuple[OrchestrationRun, DeliveryKey, Record | None, Standing]]:
        selector = f"{LABEL}={label_value(wanted.delivery_id)}" if wanted.delivery_id else ""
        for namespace in (wanted.namespace,) if wanted.namespace else self._settings.namespaces or ("",):
            async for page in self._runs.pages(namespace, self._deadline, selector=selector):
                keyed = [(run, key) for run in page.runs if wanted.fits(run) and (key := run.key(namespace))]
                for start in range(0, len(keyed), _AT_ONCE):
                    some = keyed[start : start + _AT_ONCE]
                    compared = await asyncio.gather(*(self._compare(run, key) for run, key in some))
                    for (run, key), (record, how) in zip(some, compared, strict=True):
                        yield run, key, record, how

    async def _compare(self, run: OrchestrationRun, key: DeliveryKey) -> tuple[Record | None, Standing]:
        try:
            _, record = await self._store.get(key, self._deadline())
        except UnreadableRecordError:
            return None, Standing.UNREADABLE
        return record, self._standing(run, record, key)

    def _standing(self, run: OrchestrationRun, record: Record | None, key: DeliveryKey) -> Standing:
        return standing(run, record, key, now=self._clock(), retention=self._retention)

    async def _of(self, key: DeliveryKey, record: Record | None) -> list[OrchestrationRun]:
        """Return the stored runs of a delivery, also one whose label somebody has taken away."""
        found = {run.name: run for run in await self._runs.of_delivery(key, self._deadline())}
        if record is not None and record.name not in found:
            named = await self._runs.get(key.namespace, record.name, self._deadline())
            if named is not None and named.key(key.namespace) == key:
                found[named.name] = named
        return list(found.values())

    def _deadline(self) -> Deadline:
        return Deadline.after(_CALL_SECONDS, self._monotonic)
