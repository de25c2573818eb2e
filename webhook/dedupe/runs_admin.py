"""What operators can ask and do: compare runs with their records, and free a delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from webhook.dedupe.buckets import Buckets
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.evidence import RecordFilter, RecordStatus, consequence_of_forget, record_status
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.record import Record, State, UnreadableRecordError, canonical_uid
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.missing_runs import MissingRuns
from webhook.dedupe.report import DeliveryReport, Finding, RunReport, VerifyReport, record_report, run_report
from webhook.dedupe.runs import Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

_CALL_SECONDS: Final = 30.0
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to report; an empty text matches every run.

    Attributes:
        namespace: Namespace of the run.
        ref: Name of its orchestration, empty for runs without one; None matches every run.
        delivery_id: Its deliveryId, byte for byte.
        run: Its name.
    """

    namespace: str = ""
    ref: str | None = None
    delivery_id: str = ""
    run: str = ""

    def matches(self, run: OrchestrationRun) -> bool:
        """Return whether to report a run; one without a deliveryId never matches."""
        return (
            run.delivery_id is not None
            and (self.ref is None or self.ref == run.ref)
            and all(
                not expected or expected == actual
                for expected, actual in (
                    (self.namespace, run.namespace),
                    (self.delivery_id, run.delivery_id),
                    (self.run, run.name),
                )
            )
        )


@dataclass(frozen=True, slots=True)
class _Compared:
    """A stored run with the record of its delivery."""

    run: OrchestrationRun
    key: DeliveryKey
    record: Record | None
    status: RecordStatus


class RunsAdmin:
    """Answer the questions of operators, and forget deliveries.

    Args:
        store: The records.
        buckets: The state of the store.
        runs: Reads runs from the API server.
        confirmer: Confirms and forgets records.
        settings: For the retention and the namespaces.
        clock: Time.
        log: Receives what is changed.

    Attributes:
        missing: Finds and frees records without runs.
    """

    def __init__(
        self,
        store: Store,
        buckets: Buckets,
        runs: Runs,
        confirmer: Confirmer,
        settings: DedupeSettings,
        *,
        clock: Clock,
        log: Logger,
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._runs = runs
        self._confirmer = confirmer
        self._settings = settings
        self._retention = settings.retention.total_seconds()
        self._clock = clock
        self._log = log
        self.missing = MissingRuns(store, buckets, runs, confirmer, settings, clock=clock, log=log)

    async def listing(self, run_filter: RunFilter) -> list[RunReport]:
        """Return the stored runs, each with the status of its record.

        Raises:
            StoreError: The store did not answer.
            KubernetesError: The API server did not answer.
        """
        return [run_report(each.run, each.status, each.record) async for each in self._compared(run_filter)]

    async def show(self, key: DeliveryKey) -> DeliveryReport:
        """Return everything that is known about one delivery.

        Raises:
            StoreError: The store did not answer.
            UnreadableRecordError: The record cannot be decoded.
            KubernetesError: The API server did not answer.
        """
        _, record = await self._store.get(key.address, self._deadline())
        expires_at = await self._store.expires_at(key.address, self._deadline()) if record else 0
        stored = [run_report(run, self._status(run, record), record) for run in await self._of(key, record)]
        return DeliveryReport(
            namespace=key.namespace,
            orchestration=key.ref,
            delivery_id=key.delivery_id,
            record=record_report(record, expires_at=expires_at) if record else None,
            runs=stored,
        )

    async def find(self, namespace: str, name: str) -> DeliveryKey | None:
        """Return the delivery of a stored run; None if there is no such run, or it has no deliveryId.

        Raises:
            KubernetesError: The API server did not answer.
        """
        run = await self._runs.get(namespace, name, self._deadline())
        return run.key(namespace) if run else None

    async def find_by_id(self, namespace: str, delivery_id: str) -> list[DeliveryKey]:
        """Return the deliveries of this id that have a stored run: one for each orchestration.

        Raises:
            KubernetesError: The API server did not answer.
        """
        chosen = RunFilter(namespace, delivery_id=delivery_id)
        listing = self._runs.listing(namespace, self._deadline, delivery_id=delivery_id)
        found = {key async for run in listing if chosen.matches(run) and (key := run.key(namespace))}
        return sorted(found, key=lambda key: key.ref)

    async def prepare_forget(self, key: DeliveryKey) -> tuple[Record, str] | None:
        """Look up what would be forgotten.

        Returns:
            The record, and what forgetting it means for the next create; None if there is nothing to forget.

        Raises:
            StoreError: The store did not answer.
            UnreadableRecordError: The record cannot be decoded.
            KubernetesError: The API server did not answer.
        """
        _, record = await self._store.get(key.address, self._deadline())
        stored = await self._of(key, record)
        if record is None:
            for run in stored:
                # After a loss a run can lack its record, and the rebuild would write it. Only a run that has a record
                # can be forgotten.
                await self._confirmer.confirm(run, self._deadline(), by="look")
            _, record = await self._store.get(key.address, self._deadline())
        if record is None or record.state is State.FORGOTTEN:
            return None
        exists = any(canonical_uid(run.uid) == record.uid for run in stored)
        return record, consequence_of_forget(record, key, stored=exists)

    async def forget(self, key: DeliveryKey, record: Record) -> bool:
        """Free a delivery, if its record is still of the run that the operator saw.

        Returns:
            Whether it was forgotten.

        Raises:
            StoreError: The store did not answer; it is unknown whether it was forgotten.
            UnreadableRecordError: The record cannot be decoded.
        """
        done = await self._confirmer.forget(key.address, record.uid, self._deadline())
        self._log.warning(
            "delivery forgotten" if done else "delivery not forgotten, its record has changed",
            namespace=key.namespace,
            orchestration=key.ref,
            deliveryId=key.delivery_id,
            run=record.name,
            uid=record.uid,
        )
        return done

    async def verify(self, run_filter: RunFilter, *, fix: bool, most_missing: int | None = None) -> VerifyReport:
        """Compare the store with the cluster.

        Args:
            run_filter: Which runs. Records without a run are looked for if it narrows nothing but the namespace.
            fix: Whether to confirm the runs that lack a confirmed record.
            most_missing: How many records without a run to describe; None for all.

        Raises:
            StoreError: The store did not answer.
            KubernetesError: The API server did not answer.
        """
        checked = 0
        found: list[Finding] = []
        stored = self.missing.none_stored()
        async for each in self._compared(run_filter):
            checked += 1
            run, key, status = each.run, each.key, each.status
            stored.add(key.address)
            if not status.wrong:
                continue
            mended = fix and status.mendable
            if mended:
                await self._confirmer.confirm(run, self._deadline(), by="look")
                self._log.info("run confirmed", deliveryId=key.delivery_id, namespace=key.namespace, run=run.name)
            report = run_report(run, status, each.record)
            found.append(Finding(run=report, mendable=status.mendable, mended=mended))
        missing = None
        if run_filter == RunFilter(run_filter.namespace):
            records = RecordFilter((run_filter.namespace,) if run_filter.namespace else ())
            missing = await self.missing.report(records, stored, most=most_missing)
        marks, _ = await self._buckets.marks(self._deadline())
        return VerifyReport(
            checked=checked,
            findings=found,
            unsynced_buckets=sum(not mark.synced for mark in marks.values()),
            missing=missing,
        )

    async def _compared(self, run_filter: RunFilter) -> AsyncGenerator[_Compared]:
        namespaces = (run_filter.namespace,) if run_filter.namespace else self._settings.watched_namespaces
        for namespace in namespaces:
            some: list[tuple[OrchestrationRun, DeliveryKey]] = []
            async for run in self._runs.listing(namespace, self._deadline, delivery_id=run_filter.delivery_id):
                if run_filter.matches(run) and (key := run.key(namespace)):
                    some.append((run, key))
                if len(some) == _AT_ONCE:
                    for compared in await self._compare_all(some):
                        yield compared
                    some.clear()
            for compared in await self._compare_all(some):
                yield compared

    async def _compare_all(self, some: Sequence[tuple[OrchestrationRun, DeliveryKey]]) -> list[_Compared]:
        return await asyncio.gather(*(self._compare(run, key) for run, key in some))

    async def _compare(self, run: OrchestrationRun, key: DeliveryKey) -> _Compared:
        try:
            _, record = await self._store.get(key.address, self._deadline())
        except UnreadableRecordError:
            return _Compared(run, key, None, RecordStatus.UNREADABLE)
        return _Compared(run, key, record, self._status(run, record))

    def _status(self, run: OrchestrationRun, record: Record | None) -> RecordStatus:
        return record_status(run, record, now=self._clock.time(), retention=self._retention)

    async def _of(self, key: DeliveryKey, record: Record | None) -> list[OrchestrationRun]:
        """Return the stored runs of a delivery, also one that has lost its label."""
        found = {run.name: run for run in await self._runs.of_delivery(key, self._deadline())}
        if record is not None and record.name not in found:
            named = await self._runs.get(key.namespace, record.name, self._deadline())
            if named is not None and named.key(key.namespace) == key:
                found[named.name] = named
        return list(found.values())

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)
