"""The rebuild: after a loss, the store is filled again from the API server before a missing record proves anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from webhook.dedupe.buckets import Buckets
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.reservation import Mark
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.runs import Runs
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.unsynced import UnsyncedBuckets
from webhook.errors import RollonceError
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

_CHECK_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 30.0
#: A line of the log for each so many runs.
_PROGRESS: Final = 1_000
_BACKOFF: Final = Backoff(first=1.0, limit=30.0)


class Rebuilder:
    """Check the marks of the buckets and rebuild those that are not synced.

    Any number of replicas may do this at the same time.

    Args:
        buckets: What is rebuilt.
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
        buckets: Buckets,
        runs: Runs,
        confirmer: Confirmer,
        unsynced: UnsyncedBuckets,
        settings: DedupeSettings,
        *,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._buckets = buckets
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
        while True:
            try:
                await self.rebuild()
            except RollonceError as error:
                self._metrics.rebuilds.labels("failed").inc()
                self._log.warning("rebuild failed, retrying", problem=str(error))
                await retry.wait()
            else:
                retry.succeeded()
                await self._clock.sleep(_CHECK_SECONDS)

    async def is_new(self) -> bool:
        """Return whether the store and the cluster hold nothing of any delivery.

        Raises:
            StoreError: The store does not answer.
            KubernetesError: The API server does not answer.
        """
        if await self._buckets.was_used(self._deadline):
            return False
        for namespace in self._namespaces:
            async for run in self._runs.listing(namespace, self._deadline):
                if run.delivery_id is not None:
                    return False
        return True

    async def rebuild(self) -> bool:
        """Rebuild the buckets that are not synced and whose loss is longer ago than a lease.

        Returns:
            Whether all of them are synced now.

        Raises:
            StoreError: The store does not answer; the buckets stay unsynced.
            UnreadableRecordError: A record cannot be decoded; the buckets stay unsynced.
            KubernetesError: The API server does not answer; the buckets stay unsynced.
        """
        await self._unsynced.mark_all(self._deadline())
        marks, now = await self._buckets.marks(self._deadline())
        unsynced = {bucket: mark for bucket, mark in marks.items() if not mark.synced}
        self._metrics.unsynced_buckets.set(len(unsynced))
        # A create that was allowed before the loss may be stored, and so appear in a list, until its lease is over.
        ripe = {bucket: mark for bucket, mark in unsynced.items() if now - mark.lost_at >= self._lease}
        if not ripe:
            return not unsynced
        self._log.warning("rebuilding deduplication store", buckets=len(ripe))
        copied = await self._copy(ripe)
        synced = sum(
            [await self._buckets.declare_synced(bucket, mark, self._deadline()) for bucket, mark in ripe.items()]
        )
        self._metrics.rebuilds.labels("done" if synced == len(ripe) else "overtaken").inc()
        self._metrics.unsynced_buckets.set(len(unsynced) - synced)
        self._log.info("rebuilt deduplication store", buckets=synced, runs=copied)
        return len(unsynced) == synced

    async def _copy(self, buckets: Mapping[int, Mark]) -> int:
        """Confirm all stored runs of these buckets; returns how many there are."""
        read = copied = 0
        for namespace in self._namespaces:
            async for run in self._runs.listing(namespace, self._deadline):
                key = run.key()
                if key is not None and key.bucket in buckets:
                    await self._confirmer.confirm(run, self._deadline(), by="rebuild")
                    copied += 1
                read += 1
                if read % _PROGRESS == 0:
                    self._log.info("reading runs for the rebuild", read=read)
                self._metrics.rebuild_runs.set(read)
        return copied

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)
