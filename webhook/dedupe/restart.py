"""Whether a restart of the store has lost anything: if not, a missing record proves as much as before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from webhook.dedupe.buckets import Buckets, Tick
from webhook.dedupe.core.ledger import BucketPosition
from webhook.dedupe.ledger_keeper import LedgerKeeper
from webhook.dedupe.positions import Positions
from webhook.errors import StoreError
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import ChangeLogger, Logger

#: So long after a restart it is examined. Longer than this the ledger remembers servers that have died.
_EXAMINED_MS: Final = 300_000


class RestartProof:
    """Compare what the store's server came back with to what all servers of rollonce have seen before.

    The restart has lost nothing if the server writes each change to disk before it answers (`appendfsync always`), all
    buckets hold the data of before, and each server of rollonce that is in the ledger has found all writes that it
    knows of. One that has died in the last ten minutes cannot say so, and then nothing is proved.

    Args:
        buckets: The store.
        positions: What this process has seen.
        keeper: What the others have seen.
        log: Receives the result.
    """

    def __init__(self, buckets: Buckets, positions: Positions, keeper: LedgerKeeper, *, log: Logger) -> None:
        self._buckets = buckets
        self._positions = positions
        self._keeper = keeper
        self._changes = ChangeLogger(log)
        self._open = False

    @property
    def open(self) -> bool:
        """Whether this process has found nothing missing after a restart, and waits for the others."""
        return self._open

    async def check(self, ticks: Sequence[Tick], deadline: Deadline) -> None:
        """Agree if nothing is missing, and declare the buckets unchanged if all agree.

        Args:
            ticks: All buckets as they were just read.
            deadline: When to give up.

        Raises:
            StoreError: The store did not answer.
        """
        restarted = [
            (tick, BucketPosition(tick.dataset, tick.kept))
            for tick in ticks
            if tick.kept is not None and tick.now - tick.mark.lost_at < _EXAMINED_MS
        ]
        self._open = bool(restarted) and await self._nothing_is_missing(restarted, deadline)
        if not self._open:
            return
        # The buckets of a Cluster can lie on several servers.
        servers = ",".join(sorted({tick.mark.replication_id.decode() for tick, _ in restarted}))
        ledger = self._keeper.agree(servers)
        if ledger is None or not all(ledger.covers(tick.bucket, position) for tick, position in restarted):
            return
        for tick, _ in restarted:
            await self._buckets.declare_unchanged(tick.bucket, tick.mark, deadline)
        self._open = False
        self._changes.changed("deduplication store was restarted and has lost nothing", servers)

    async def _nothing_is_missing(self, restarted: Sequence[tuple[Tick, BucketPosition]], deadline: Deadline) -> bool:
        within = self._positions.within
        if not all(tick.dataset and within(tick.bucket, position, tick.mark) for tick, position in restarted):
            return False
        try:
            return await self._buckets.syncs_each_write(deadline)
        except StoreError as error:
            self._changes.changed("persistence of the deduplication store is unknown", str(error))
            return False
