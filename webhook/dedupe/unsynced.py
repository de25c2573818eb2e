"""Track buckets that hold creates admitted while Redis was down."""

from __future__ import annotations

from webhook.dedupe.store import Store
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline


class UnsyncedBuckets:
    """The buckets that lack records of creates which this process has admitted, until they are marked in the store.

    A marked bucket is rebuilt from the API server; until then a missing record is checked by a quorum read.

    Args:
        store: Where the buckets are marked.
        clock: Monotonic time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._since: dict[int, float] = {}

    def add(self, bucket: int) -> None:
        """Note that a create of this bucket was admitted without a record."""
        self._since[bucket] = self._clock.monotonic()

    async def mark(self, deadline: Deadline) -> None:
        """Mark all noted buckets as lost in the store; call it before a missing record is taken as a proof.

        Raises:
            StoreError: The store did not answer; buckets that are not marked yet stay noted.
        """
        for bucket, at in list(self._since.items()):
            await self._store.declare_lost(bucket, deadline, ago=int((self._clock.monotonic() - at) * 1000))
            if self._since.get(bucket) == at:
                del self._since[bucket]
