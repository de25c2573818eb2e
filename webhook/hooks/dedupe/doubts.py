"""What a replica has admitted without the store's word, and so owes it a word of doubt."""

from __future__ import annotations

from collections.abc import Callable

from webhook.admission.deadline import Deadline
from webhook.hooks.dedupe.store import Store


class Doubts:
    """Remembers which buckets lack something because of us, until the store has been told.

    A bucket that has been told is rebuilt from the API server; until then its misses are checked live.

    Args:
        store: What is to be told.
        monotonic: A monotonic clock, in seconds.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._since: dict[int, float] = {}

    @property
    def buckets(self) -> frozenset[int]:
        """The buckets that have not been told."""
        return frozenset(self._since)

    def add(self, bucket: int) -> None:
        """Note that a run of this bucket was admitted without a record."""
        self._since[bucket] = self._monotonic()

    async def tell(self, deadline: Deadline) -> None:
        """Tell the store; to be called before any of its misses is believed.

        Raises:
            StoreError: It could not be told everything; the rest is remembered.
        """
        for bucket, at in list(self._since.items()):
            await self._store.declare_lost(bucket, deadline, ago=int((self._monotonic() - at) * 1000))
            if self._since.get(bucket) == at:
                del self._since[bucket]
