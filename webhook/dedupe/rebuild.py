"""The rebuild: after a loss, the store is filled again from the API server before a missing record proves anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.identity import BUCKETS
from webhook.dedupe.core.reservation import Mark
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.runs import Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.dedupe.unsynced import UnsyncedBuckets
from webhook.errors import RollonceError
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

_CHECK_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 30.0
_BACKOFF: Final = Backoff(first=1.0, limit=30.0)


class Rebuilder:
    """Check the marks of the buckets and rebuild those that are not synced.

    Any number of replicas may do this at the same time.

    Args:
        store: What is rebuilt.
        runs: What it is rebuilt from.
        confirmer: Writes the records.
        unsynced: The creates that this process has admitted without a record.
        settings: For the lease and the namespaces.
        clock: Monotonic time, sleep and jitter.
        log: Receives losses, progress and results.
        metrics: The same as numbers.
    """

    def __init__(
        self,
        store: Store,
        runs: Runs,
        confirmer: Confirmer,
        unsynced: UnsyncedBuckets,
        settings: DedupeSettings,
        *,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._store = store
        self._runs = runs
        self._confirmer = confirmer
        self._unsynced = unsynced
        self._namespaces = settings.watched_namespaces
        self._lease = settings.lease_ms
        self._clock = clock
        self._log = log
        self._metrics = metrics

    async def run(self) -> None:
        """Keep the store synced until cancelled."""
        retry = Retry(self._clock, _BACKOFF)
        taken = False
        while True:
            try:
                taken = taken or await self.take_into_use()
                await self.rebuild()
            except RollonceError as error:
                self._metrics.rebuilds.labels("failed").inc()
                self._log.warning("rebuild failed, retrying", problem=str(error))
                await retry.wait()
            else:
                retry.succeeded()
                await self._clock.sleep(_CHECK_SECONDS)

    async def take_into_use(self) -> bool:
        """Mark all buckets as synced if the store has no record and no run of any delivery is stored.

        That is a first installation. Otherwise its first creates with a name of their own would have to wait as after
        a loss.

        Returns:
            True, so that the caller remembers that this was done.

        Raises:
            StoreError: The store does not answer.
            KubernetesError: The API server does not answer.
        """
        if await self._store.holds_records(self._deadline()):
            return True
        for namespace in self._namespaces:
            async for runs in self._runs.listing(namespace, self._deadline):
                if any(run.delivery_id is not None for run in runs):
                    return True
        await self._store.declare_new(self._deadline())
        self._log.info("deduplication store is new")
        return True

    async def rebuild(self, buckets: Sequence[int] = range(BUCKETS)) -> bool:
        """Rebuild the buckets that are not synced and whose loss is longer ago than a lease.

        Args:
            buckets: The buckets to check.

        Returns:
            Whether all of them are synced now.

        Raises:
            StoreError: The store does not answer; the buckets stay unsynced.
            UnreadableRecordError: A record cannot be decoded; the buckets stay unsynced.
            KubernetesError: The API server does not answer; the buckets stay unsynced.
        """
        await self._unsynced.mark(self._deadline())
        marks, now = await self._store.marks(self._deadline(), buckets)
        unsynced = {bucket: mark for bucket, mark in marks.items() if not mark.synced}
        self._metrics.store_down.set(0)
        self._metrics.unsynced_buckets.set(len(unsynced))
        # A create that was allowed before the loss may be stored, and so appear in a list, until its lease is over.
        ripe = {bucket: mark for bucket, mark in unsynced.items() if now - mark.lost_at >= self._lease}
        if not ripe:
            return not unsynced
        self._log.warning("rebuilding deduplication store", buckets=len(ripe))
        copied = await self._copy(ripe)
        synced = sum(
            [await self._store.declare_synced(bucket, mark, self._deadline()) for bucket, mark in ripe.items()]
        )
        self._metrics.rebuilds.labels("done" if synced == len(ripe) else "overtaken").inc()
        self._metrics.unsynced_buckets.set(len(unsynced) - synced)
        self._log.info("rebuilt deduplication store", buckets=synced, runs=copied)
        return len(unsynced) == synced

    async def _copy(self, buckets: Mapping[int, Mark]) -> int:
        """Confirm all stored runs of these buckets; returns how many there are."""
        read = copied = 0
        for namespace in self._namespaces:
            async for runs in self._runs.listing(namespace, self._deadline):
                for run in runs:
                    key = run.key()
                    if key is not None and key.bucket in buckets:
                        await self._confirmer.confirm(run, self._deadline(), by="rebuild")
                        copied += 1
                read += len(runs)
                self._metrics.rebuild_runs.set(read)
                self._log.info("reading runs for the rebuild", read=read)
        return copied

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)
