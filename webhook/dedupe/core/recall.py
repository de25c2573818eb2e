"""A compact memory of the deliveries that the store has records of, for the time while the store does not answer.

It holds four bytes for each delivery: 4 MB for a million, 45 MB for ten million. It cannot be read back into keys. It
never forgets a delivery that was added, and takes one in 1,700,000 others (at ten million) for known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: The table has this many slots; a slot holds the fingerprints of the digests that fall into it.
_SLOT_BITS: Final = 12
_SLOTS: Final = 1 << _SLOT_BITS
_FINGERPRINT_BYTES: Final = 4
_SLOT_BYTES: Final = 2


class RecallFilter:
    """A set of digests that only tells whether a digest is in it.

    Attributes:
        size: How many different digests were added.
    """

    def __init__(self) -> None:
        self._slots = [bytearray() for _ in range(_SLOTS)]
        self.size = 0

    def add(self, digest: bytes) -> None:
        """Add a digest.

        Args:
            digest: At least six bytes, uniformly distributed (the first bytes of a SHA-256).
        """
        slot, fingerprint = self._place(digest)
        if not _contains(slot, fingerprint):
            slot += fingerprint
            self.size += 1

    def update(self, digests: Iterable[bytes]) -> None:
        """Add several digests."""
        for digest in digests:
            self.add(digest)

    def __contains__(self, digest: bytes) -> bool:
        """Return whether a digest was added; wrong for one in `2**32 / (size / 4096)` that were not."""
        return _contains(*self._place(digest))

    def _place(self, digest: bytes) -> tuple[bytearray, bytes]:
        number = int.from_bytes(digest[:_SLOT_BYTES]) % _SLOTS
        return self._slots[number], digest[_SLOT_BYTES : _SLOT_BYTES + _FINGERPRINT_BYTES]


def _contains(slot: bytearray, fingerprint: bytes) -> bool:
    position = slot.find(fingerprint)
    # The bytes can also occur across two fingerprints.
    while position >= 0 and position % _FINGERPRINT_BYTES:
        position = slot.find(fingerprint, position + 1)
    return position >= 0
