"""Buckets that hold creates which this process has admitted while Redis was down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from webhook.dedupe.buckets import Buckets
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline


class UnsyncedBuckets:
    """The buckets that lack records of creates which this process has admitted, until they are marked in the store.

    A marked bucket is rebuilt from the API server; until then a missing record is checked by a quorum read.

    Args:
        buckets: Where they are marked.
        clock: Monotonic time.
    """

    def __init__(self, buckets: Buckets, clock: Clock) -> None:
        self._buckets = buckets
        self._clock = clock
        self._since: dict[int, float] = {}

    def __bool__(self) -> bool:
        """Return whether a bucket is not marked yet."""
        return bool(self._since)

    @contextmanager
    def adding(self, bucket: int) -> Iterator[Callable[[], None]]:
        """Note that a create of this bucket may be admitted without a record.

        Yields:
            Call it if the create is admitted; otherwise the note is taken back at the end.
        """
        before, now = self._since.get(bucket), self._clock.monotonic()
        self._since[bucket] = now
        kept = False

        def keep() -> None:
            nonlocal kept
            kept = True

        try:
            yield keep
        finally:
            if not kept and self._since.get(bucket) == now:
                del self._since[bucket]
                if before is not None:
                    self._since[bucket] = before

    async def mark(self, bucket: int, deadline: Deadline) -> None:
        """Mark a bucket as lost in the store if it is noted; call it before a missing record is taken as a proof.

        Raises:
            StoreError: The store did not answer; the bucket stays noted.
        """
        at = self._since.get(bucket)
        if at is None:
            return
        await self._buckets.declare_lost(bucket, deadline, ago=int((self._clock.monotonic() - at) * 1000))
        if self._since.get(bucket) == at:
            del self._since[bucket]

    async def mark_all(self, deadline: Deadline) -> None:
        """Mark all noted buckets.

        Raises:
            StoreError: The store did not answer; buckets that are not marked yet stay noted.
        """
        for bucket in list(self._since):
            await self.mark(bucket, deadline)
