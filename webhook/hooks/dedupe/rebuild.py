"""The rebuild: after a loss, the store is filled again with what the API server holds, and only then believed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.errors import RollonceError
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.key import BUCKETS
from webhook.hooks.dedupe.doubts import Doubts
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Mark, Store

_CHECK_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 30.0
_FIRST_BACKOFF_SECONDS: Final = 1.0
_LAST_BACKOFF_SECONDS: Final = 30.0


class Rebuilder:
    """Watches the marks of the buckets and rebuilds those in doubt. Any number of replicas may do so at once.

    Args:
        store: What is rebuilt.
        runs: What it is rebuilt from.
        confirmer: Writes the records.
        doubts: What this process has admitted without the store's word.
        settings: For the lease and the namespaces.
        monotonic: A monotonic clock, in seconds.
        sleep: Waits for seconds.
        log: Told of losses, progress and ends.
        metrics: As well.
        buckets: Those that are watched; all, save in tests.
    """

    def __init__(
        self,
        store: Store,
        runs: Runs,
        confirmer: Confirmer,
        doubts: Doubts,
        settings: DedupeSettings,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        log: FilteringBoundLogger,
        metrics: DedupeMetrics,
        buckets: Sequence[int] = range(BUCKETS),
    ) -> None:
        self._store = store
        self._runs = runs
        self._confirmer = confirmer
        self._doubts = doubts
        self._namespaces = settings.namespaces or ("",)
        self._lease = int(settings.lease.total_seconds() * 1000)
        self._monotonic = monotonic
        self._sleep = sleep
        self._log = log
        self._metrics = metrics
        self._buckets = buckets

    async def run(self) -> None:
        """Take a store in use, then keep it whole; ends only by cancellation."""
        backoff = _FIRST_BACKOFF_SECONDS
        taken = False
        while True:
            try:
                taken = taken or await self.take_into_use()
                await self.rebuild()
            except RollonceError as error:
                self._metrics.rebuilds.labels("failed").inc()
                self._log.warning("A rebuild of the deduplication store has to wait.", error=str(error))
                await self._sleep(backoff)
                backoff = min(2 * backoff, _LAST_BACKOFF_SECONDS)
            else:
                backoff = _FIRST_BACKOFF_SECONDS
                await self._sleep(_CHECK_SECONDS)

    async def take_into_use(self) -> bool:
        """Declare a store new that holds no record while no run of any delivery is stored: a first installation.

        Without this the first creates by explicit name would have to wait as after a loss.

        Returns:
            True, for the caller's memory that this was looked at.

        Raises:
            StoreError: The store does not answer.
            KubernetesError: The API server does not answer.
        """
        if await self._store.holds_records(self._deadline()):
            return True
        for namespace in self._namespaces:
            async for page in self._runs.pages(namespace, self._deadline):
                if any(run.delivery_id is not None for run in page.runs):
                    return True
        await self._store.declare_new(self._deadline())
        self._log.info("The deduplication store is new.")
        return True

    async def rebuild(self) -> bool:
        """Rebuild what is in doubt, if a look at the API server can be conclusive yet.

        Returns:
            Whether nothing is in doubt any more.

        Raises:
            StoreError: The store does not answer; it stays in doubt.
            KubernetesError: The API server does not answer; the store stays in doubt.
        """
        await self._doubts.tell(self._deadline())
        marks, now = await self._store.marks(self._deadline(), self._buckets)
        doubted = {bucket: mark for bucket, mark in marks.items() if not mark.whole}
        self._metrics.store_down.set(0)
        self._metrics.doubted_buckets.set(len(doubted))
        # A create that was allowed before the loss shows in no list until its lease is over.
        ripe = {bucket: mark for bucket, mark in doubted.items() if now - mark.lost_at >= self._lease}
        if not ripe:
            return not doubted
        self._log.warning("Rebuilding the deduplication store.", buckets=len(ripe))
        copied = await self._copy(ripe)
        settled = [await self._store.declare_whole(bucket, mark, self._deadline()) for bucket, mark in ripe.items()]
        self._metrics.rebuilds.labels("done" if all(settled) else "overtaken").inc()
        self._metrics.doubted_buckets.set(len(doubted) - sum(settled))
        self._log.info("Rebuilt the deduplication store.", buckets=sum(settled), runs=copied)
        return len(doubted) == sum(settled)

    async def _copy(self, buckets: Mapping[int, Mark]) -> int:
        read = copied = 0
        for namespace in self._namespaces:
            async for page in self._runs.pages(namespace, self._deadline):
                for run in page.runs:
                    key = run.key()
                    if key is not None and key.bucket in buckets:
                        await self._confirmer.confirm(run, self._deadline(), by="rebuild")
                        copied += 1
                read += len(page.runs)
                self._metrics.rebuild_runs.set(read)
                self._log.info("Reading runs for the rebuild.", read=read)
        return copied

    def _deadline(self) -> Deadline:
        return Deadline.after(_CALL_SECONDS, self._monotonic)
