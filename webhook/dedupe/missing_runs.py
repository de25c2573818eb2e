"""Confirmed records whose runs are not stored: after a restore they refuse deliveries that nothing has run."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from webhook.dedupe.buckets import Buckets
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.evidence import Chosen, RecordFilter
from webhook.dedupe.core.identity import DIGEST_LENGTH, RecordAddress
from webhook.dedupe.core.record import Record, UnreadableRecordError
from webhook.dedupe.report import MissingReport, MissingRun, missing_run
from webhook.dedupe.runs import Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

_CALL_SECONDS: Final = 30.0
_AT_ONCE: Final = 64
#: Clocks may differ by so much: a run that is created later may have been stored after the runs were listed.
_RECENT_SECONDS: Final = 300.0
_SHORT: Final = 8
_BUCKET_LENGTH: Final = 1
_ENTRY_LENGTH: Final = _BUCKET_LENGTH + DIGEST_LENGTH + 16


@dataclass(frozen=True, slots=True)
class StoredDeliveries:
    """The deliveries that have a stored run.

    Half of a digest is kept of each, so that a million take 70 MB. A delivery without a run is taken for one that has a
    run with a probability of one in 10^13, and never the other way round.

    Attributes:
        since: When their reading began, s since 1970.
    """

    since: float
    _digests: set[int] = field(default_factory=set)

    def add(self, address: RecordAddress) -> None:
        """Add a delivery by the address of its record."""
        self._digests.add(_short(address.digest))

    def has(self, digest: bytes) -> bool:
        """Return whether a delivery has a stored run."""
        return _short(digest) in self._digests


class FoundRecords:
    """Addresses of records and the uids of their runs, 33 bytes each."""

    def __init__(self) -> None:
        self._entries: dict[str, bytearray] = defaultdict(bytearray)

    def add(self, address: RecordAddress, uid: str) -> None:
        """Add a record."""
        self._entries[address.namespace] += bytes((address.bucket,)) + address.digest + UUID(uid).bytes

    def __len__(self) -> int:
        """Return how many records there are."""
        return sum(map(len, self._entries.values())) // _ENTRY_LENGTH

    def __iter__(self) -> Iterator[tuple[RecordAddress, str]]:
        """Yield the address and the uid of each record."""
        for namespace, entries in self._entries.items():
            for start in range(0, len(entries), _ENTRY_LENGTH):
                entry = bytes(entries[start : start + _ENTRY_LENGTH])
                digest, uid = entry[_BUCKET_LENGTH:-16], entry[-16:]
                yield RecordAddress(entry[0], digest, namespace), str(UUID(bytes=uid))


class MissingRuns:
    """Find records without runs, and free their deliveries.

    Args:
        store: The records.
        buckets: Their keys.
        runs: Reads runs from the API server.
        confirmer: Forgets records.
        settings: For the retention and the namespaces.
        clock: Time.
        log: Receives what is freed.
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
        self._namespaces = settings.namespaces
        self._retention = settings.retention.total_seconds()
        self._clock = clock
        self._log = log

    def none_stored(self) -> StoredDeliveries:
        """Return a set for the deliveries of runs that are read from now on."""
        return StoredDeliveries(self._clock.time())

    async def report(
        self,
        chosen: RecordFilter,
        stored: StoredDeliveries | None = None,
        *,
        most: int | None = None,
        found: FoundRecords | None = None,
    ) -> MissingReport:
        """Report the records without runs.

        Args:
            chosen: Which records.
            stored: The deliveries of all stored runs that `chosen` allows; None reads them.
            most: How many to describe; None for all.
            found: Receives all of them.

        Raises:
            StoreError: The store did not answer.
            KubernetesError: The API server did not answer.
        """
        chosen = self._within(chosen)
        stored = stored or await self._stored(chosen)
        described: list[MissingRun] = []
        count = undecided = 0
        seen: set[int] = set()
        async for address, record, choice in self._records(chosen, stored):
            # A key may come twice.
            if choice is Chosen.NO or _short(address.digest) in seen:
                continue
            seen.add(_short(address.digest))
            if record is None or choice is Chosen.UNKNOWN:
                undecided += 1
                continue
            count += 1
            if most is None or len(described) < most:
                described.append(missing_run(record))
            if found is not None:
                found.add(address, record.uid)
        return MissingReport(count=count, runs=described, undecided=undecided)

    async def free(self, found: FoundRecords, chosen: RecordFilter) -> int:
        """Free deliveries, each if its record is still of the run that was found and this run is still not stored.

        Args:
            found: What `report` has found.
            chosen: What it was given.

        Returns:
            How many were freed.

        Raises:
            StoreError: The store did not answer; those before are freed.
            KubernetesError: The API server did not answer; nothing is freed.
        """
        # An operator may have thought for long, and a restore may have gone on meanwhile.
        stored = await self._stored(self._within(chosen))
        freed = 0
        some: list[tuple[RecordAddress, str]] = []
        for address, uid in found:
            if not stored.has(address.digest):
                some.append((address, uid))
            if len(some) == _AT_ONCE:
                freed += await self._free_all(some)
                some.clear()
        return freed + await self._free_all(some)

    async def _free_all(self, some: Sequence[tuple[RecordAddress, str]]) -> int:
        return sum(await asyncio.gather(*(self._free(address, uid) for address, uid in some)))

    async def _free(self, address: RecordAddress, uid: str) -> bool:
        _, record = await self._store.get(address, self._deadline())
        done = record is not None and await self._confirmer.forget(address, uid, self._deadline())
        if record is not None and done:
            self._log.info("delivery forgotten", namespace=address.namespace, run=record.name, uid=uid)
        return done

    def _within(self, chosen: RecordFilter) -> RecordFilter:
        """Return a filter that leaves out records of namespaces that are not served."""
        return chosen if chosen.namespaces else RecordFilter(self._namespaces, chosen.created_after, chosen.run)

    async def _stored(self, chosen: RecordFilter) -> StoredDeliveries:
        stored = self.none_stored()
        for namespace in chosen.namespaces or ("",):
            async for run in self._runs.listing(namespace, self._deadline):
                if key := run.key(namespace):
                    stored.add(key.address)
        return stored

    async def _records(
        self, chosen: RecordFilter, stored: StoredDeliveries
    ) -> AsyncGenerator[tuple[RecordAddress, Record | None, Chosen]]:
        """Yield all records whose deliveries have no stored run; None for one that cannot be decoded."""
        async for keys in self._buckets.record_keys(self._deadline):
            lone = [key for key in keys if not stored.has(key[-DIGEST_LENGTH:])]
            for start in range(0, len(lone), _AT_ONCE):
                some = lone[start : start + _AT_ONCE]
                for each in await asyncio.gather(*(self._examine(key, chosen, stored.since) for key in some)):
                    yield each

    async def _examine(
        self, key: bytes, chosen: RecordFilter, since: float
    ) -> tuple[RecordAddress, Record | None, Chosen]:
        address = RecordAddress.of_key(key)
        try:
            _, record = await self._store.get(address, self._deadline())
        except UnreadableRecordError:
            return address, None, Chosen.UNKNOWN
        if record is None:
            return address, None, Chosen.NO
        address = RecordAddress.of_key(key, record.namespace)
        choice = chosen.chooses(record, now=self._clock.time(), retention=self._retention)
        if choice is Chosen.YES and record.created_at >= since - _RECENT_SECONDS:
            choice = await self._choose_recent(address, record)
        return address, record, choice

    async def _choose_recent(self, address: RecordAddress, record: Record) -> Chosen:
        """Look whether the run of a record is stored, which it may have been after the runs were listed."""
        if not record.namespace:
            return Chosen.UNKNOWN
        run = await self._runs.get(record.namespace, record.name, self._deadline())
        key = run.key(record.namespace) if run else None
        return Chosen.NO if key and key.address == address else Chosen.YES

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)


def _short(digest: bytes) -> int:
    return int.from_bytes(digest[:_SHORT], "big")
