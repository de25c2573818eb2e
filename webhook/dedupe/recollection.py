"""What this replica remembers of the store's records, for the time while the store does not answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

from webhook.dedupe.buckets import Buckets, Tick
from webhook.dedupe.core.decide import Recall
from webhook.dedupe.core.recall import RecallFilter
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.outage import StoreOutage
from webhook.dedupe.settings import DedupeSettings
from webhook.errors import RollonceError
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

#: So old may what is remembered be at the moment when the store stops answering.
FRESH_SECONDS: Final = 5.0
#: 45 MB; beyond it, a delivery that is not remembered may be known all the same.
MOST_RECORDS: Final = 10_000_000
_PAGE_SECONDS: Final = 10.0
#: Records expire, and a filter cannot forget: a new one is filled so many times in a retention.
_GENERATIONS: Final = 8


class Recollection:
    """Fill a filter from the store, keep it current, and fill a new one as records expire.

    Args:
        buckets: The store.
        settings: For the retention.
        outage: Since when the store does not answer.
        clock: Monotonic time, sleep and jitter.
        log: Receives each filling.
        metrics: Size and delay.
    """

    def __init__(
        self,
        buckets: Buckets,
        settings: DedupeSettings,
        outage: StoreOutage,
        *,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._buckets = buckets
        self._generation = settings.retention.total_seconds() / _GENERATIONS
        self._outage = outage
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._filter = RecallFilter()
        #: The filter that is being filled, if any.
        self._next: RecallFilter | None = None
        #: Whether every record that the store had at the last tick is remembered.
        self._complete = False
        #: Whether the store had all records at the last tick, and whether it had when the filter was filled.
        self._synced = self._whole = False
        self._incomplete = asyncio.Event()
        self._followed_at = 0.0
        self._last: dict[int, int] = {}

    def recall(self, digest: bytes) -> Recall:
        """Return whether a delivery is remembered, by the digest of its record's address."""
        if digest in self._filter:
            return Recall.YES
        at = self._clock.monotonic() if self._outage.since is None else self._outage.since
        current = self._complete and at - self._followed_at <= FRESH_SECONDS
        return Recall.NO if current and self._filter.size < MOST_RECORDS else Recall.BLIND

    def add(self, digests: Iterable[bytes]) -> None:
        """Remember deliveries."""
        for digest in digests:
            for each in {self._filter, self._next or self._filter}:
                if each.size < MOST_RECORDS:
                    each.add(digest)

    def last_read(self, bucket: int) -> int:
        """Return the number of the last reservation of a bucket that was remembered."""
        return self._last.get(bucket, 0)

    def follow(self, ticks: Sequence[Tick]) -> None:
        """Remember the reservations that all buckets have reported."""
        behind, synced = 0, all(tick.mark.synced for tick in ticks)
        if synced and not self._whole:
            self._lacks_records()
        self._synced = synced
        for tick in ticks:
            last = self._last.get(tick.bucket, -1)
            if last < 0 or tick.reservations < last or tick.first > last + 1:
                # The filling, which starts now, finds the records of what was missed.
                self._lacks_records()
            self.add(tick.digests)
            reached = tick.first + len(tick.digests) - 1 if tick.digests else tick.reservations
            self._last[tick.bucket] = reached
            behind += tick.reservations - reached
        self._metrics.recall_behind.set(behind)
        self._metrics.recall_size.set(self._filter.size)
        if not behind:
            self._followed_at = self._clock.monotonic()

    async def run(self) -> None:
        """Fill the filter whenever that is necessary, until cancelled."""
        retry = Retry(self._clock)
        while True:
            await self._until_due()
            try:
                await self.fill()
            except RollonceError as error:
                self._log.debug("records could not be read", problem=str(error))
                await retry.wait()
            else:
                retry.succeeded()

    async def fill(self) -> None:
        """Read the keys of all records; what was remembered before stays until they are read.

        If records were missed, the present filter is completed: it may be the only memory of records that the store has
        lost. Otherwise a new one is filled, which forgets what has expired. A filter that was only ever filled from a
        store that has lost records lacks them too.

        Raises:
            StoreError: The store did not answer.
        """
        synced = self._synced
        missed = self._incomplete.is_set() or not synced
        self._incomplete.clear()
        self._next = filling = self._filter if missed else RecallFilter()
        try:
            async for digests in self._buckets.digests(self._deadline):
                filling.update(digests[: max(0, MOST_RECORDS - filling.size)])
        except BaseException:
            self._incomplete.set()
            raise
        finally:
            self._next = None
        self._filter = filling
        self._whole |= synced and self._synced
        self._complete = self._whole and not self._incomplete.is_set()
        self._metrics.recall_complete.set(self._complete)
        self._log.debug("records remembered", records=filling.size)

    async def _until_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._generation):
                await self._incomplete.wait()

    def _lacks_records(self) -> None:
        self._complete = False
        self._metrics.recall_complete.set(0)
        self._incomplete.set()

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_PAGE_SECONDS)
