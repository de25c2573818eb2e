"""Read the runs of pending reservations from the API server: confirm them, or free deliveries whose create failed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from webhook.dedupe.buckets import Buckets, PendingRecord
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.decide import Live
from webhook.dedupe.core.evidence import StoredRun, after_failure, counts
from webhook.dedupe.core.pending import Action, resolve
from webhook.dedupe.core.record import Record, UnreadableRecordError, canonical_uid, decode
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.runs import Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.errors import DeadlineExceededError, KubernetesError, RollonceError
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import ChangeLogger, Logger

#: Up to so many runs of a namespace are read one by one; for more, one list is cheaper.
_ONE_BY_ONE: Final = 16
_AT_ONCE: Final = 16
_CALL_SECONDS: Final = 5.0


class _StoreClock(NamedTuple):
    """The store's time in ms since 1970 is between monotonic time and these, in ms.

    Attributes:
        latest: Gives a time that is not before the store's.
        earliest: Gives a time that is not after the store's.
    """

    latest: int
    earliest: int


class _Began(NamedTuple):
    """When a read began, in ms since 1970: what it shows can be that old."""

    store_time: int
    api_time: int


class _Listed(NamedTuple):
    """The runs of a namespace by name, and when the list began."""

    uids: dict[str, str]
    began: _Began


class Verifier:
    """Resolve pending reservations.

    Args:
        store: The records.
        buckets: The pending reservations.
        runs: Reads runs from the API server.
        confirmer: Confirms records.
        api: For the API server's time.
        settings: For the lease.
        clock: Monotonic time.
        log: Receives what cannot be read.
        metrics: Counts the results.
    """

    def __init__(
        self,
        store: Store,
        buckets: Buckets,
        runs: Runs,
        confirmer: Confirmer,
        api: KubernetesApi,
        *,
        settings: DedupeSettings,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._runs = runs
        self._confirmer = confirmer
        self._api = api
        self._lease = settings.lease_ms
        self._retention = settings.retention.total_seconds()
        self._clock = clock
        self._changes = ChangeLogger(log)
        self._metrics = metrics

    async def verify(self, due: Sequence[PendingRecord], *, now: int, asked: float, answered: float) -> None:
        """Resolve reservations that are due; a failure is logged and leaves the rest to a later call.

        Args:
            due: The reservations.
            now: The store's time when they were read, in ms since 1970.
            asked: Monotonic time before that moment.
            answered: Monotonic time after it.
        """
        clock = _StoreClock(now - int(asked * 1000), now - int(answered * 1000))
        by_namespace: dict[str, list[tuple[PendingRecord, Record]]] = defaultdict(list)
        for pending in due:
            try:
                by_namespace[pending.address.namespace].append((pending, decode(pending.raw)))
            except UnreadableRecordError as error:
                self._changes.failed("pending reservation ignored", str(error))
        await asyncio.gather(
            *(
                self._verify_namespace(namespace, reservations, clock)
                for namespace, reservations in by_namespace.items()
            )
        )

    async def _verify_namespace(
        self, namespace: str, reservations: Sequence[tuple[PendingRecord, Record]], clock: _StoreClock
    ) -> None:
        listed: _Listed | None = None
        try:
            if len(reservations) > _ONE_BY_ONE:
                began = self._begin(clock)
                listed = _Listed(await self._runs.uids(namespace, self._deadline), began)
            for start in range(0, len(reservations), _AT_ONCE):
                some = reservations[start : start + _AT_ONCE]
                await asyncio.gather(*(self._verify(pending, record, listed, clock) for pending, record in some))
        except RollonceError as error:
            # The claims end by themselves, and then this or another server reads again.
            self._changes.failed("pending reservations not read", f"namespace {namespace}: {error}")

    async def _verify(self, pending: PendingRecord, record: Record, listed: _Listed | None, clock: _StoreClock) -> None:
        began = listed.began if listed else self._begin(clock)
        live, found = await self._read(pending, record, listed.uids if listed else None)
        resolution = resolve(
            record,
            live,
            proved=pending.proved,
            began=began.store_time,
            ended=clock.latest + int(self._clock.monotonic() * 1000),
            api_time=began.api_time,
            lease=self._lease,
        )
        self._metrics.pending_reads.labels(resolution.action.value.replace(" ", "_")).inc()
        deadline = self._deadline()
        match resolution.action:
            case Action.CONFIRM:
                seen = (pending.raw, record)
                await self._confirmer.confirm_at(pending.address, found, deadline, by="pending", seen=seen)
            case Action.FREE:
                await self._store.swap(pending.address, pending.raw, after_failure(record), deadline)
            case Action.LEAVE:
                await self._buckets.note_read(pending, deadline)
            case action:
                proved = pending.proved or action is Action.PROVE
                await self._buckets.note_read(pending, deadline, proved=proved, again_at=resolution.at)

    async def _read(
        self, pending: PendingRecord, record: Record, listed: dict[str, str] | None
    ) -> tuple[Live, StoredRun]:
        """Read a run; returns what that shows, and the run that was found if there is one."""
        namespace, name = pending.address.namespace, record.name
        try:
            if listed is None:
                uid = await self._runs.uid(namespace, name, self._deadline())
            else:
                uid = listed.get(name, "")
            if not uid:
                return Live.ABSENT, record
            if canonical_uid(uid) == record.uid:
                return Live.PRESENT, record
            # Another run has the name; it can be of the same delivery.
            run = await self._runs.get(namespace, name, self._deadline())
        except (KubernetesError, DeadlineExceededError) as error:
            self._changes.failed("pending reservations not read", f"namespace {namespace}: {error}")
            return Live.UNKNOWN, record
        key = run.key(namespace) if run else None
        if run is None or key is None or key.address != pending.address:
            return Live.ABSENT, record
        if not counts(run, forgotten=record.forgotten, now=self._clock.time(), retention=self._retention):
            return Live.ABSENT, record
        return Live.PRESENT, run

    def _begin(self, clock: _StoreClock) -> _Began:
        return _Began(clock.earliest + int(self._clock.monotonic() * 1000), int(self._api.server_time() * 1000))

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)
