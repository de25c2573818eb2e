"""How far the writes to each bucket have been seen by this process, to recognize a restart that has lost nothing."""

from __future__ import annotations

from collections.abc import Mapping

from webhook.dedupe.core.ledger import BucketPosition
from webhook.dedupe.core.reservation import Mark


class Positions:
    """The furthest write of each bucket that this process has seen."""

    def __init__(self) -> None:
        self._known: dict[int, BucketPosition] = {}
        #: The mark under which the last write was made, after a restart that is not settled yet.
        self._since: dict[int, bytes] = {}

    @property
    def known(self) -> Mapping[int, BucketPosition]:
        """The positions by bucket; a bucket that was not read yet has none."""
        return dict(self._known)

    def note_write(self, bucket: int, writes: int, mark: Mark) -> None:
        """Note the number of the last write, as the store returned it to a write of this process.

        Args:
            bucket: The bucket.
            writes: The number.
            mark: The mark of the bucket at that moment. What is written after a restart says nothing about what the
                restart has lost, and nothing is known of the next one.
        """
        if not mark.synced:
            self._since[bucket] = mark.raw
            return
        known = self._known.get(bucket)
        if known is not None and known.writes < writes:
            self._known[bucket] = BucketPosition(known.dataset, writes)

    def note_synced(self, bucket: int, position: BucketPosition) -> None:
        """Note the position of a bucket that has all records."""
        known = self._known.get(bucket)
        if known is None or known.dataset != position.dataset or known.writes < position.writes:
            self._known[bucket] = position
        self._since.pop(bucket, None)

    def within(self, bucket: int, position: BucketPosition, mark: Mark) -> bool:
        """Return whether a bucket has all writes that this process has seen.

        Args:
            bucket: The bucket.
            position: With what it came back from a restart.
            mark: The mark that it got then.
        """
        if self._since.get(bucket, mark.raw) != mark.raw:
            # There were writes after another restart, and their numbers may be those of other data.
            return False
        known = self._known.get(bucket)
        return known is None or (known.dataset == position.dataset and known.writes <= position.writes)
