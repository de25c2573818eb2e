"""What identifies a delivery, and under which key the store remembers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from webhook.hooks.dedupe.core.hashing import digest

#: The keys lie in so many hash-tag buckets; each has a mark of its own, so that on a Cluster one script sees both.
BUCKETS: Final = 64
_DIGEST_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class DeliveryKey:
    """Two creates are one delivery if these three are the same, byte for byte.

    Attributes:
        namespace: Of the run.
        ref: `spec.orchestrationRef.name`; empty if there is none.
        delivery_id: `spec.deliveryId`, not blank.
    """

    namespace: str
    ref: str
    delivery_id: str

    _digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hash once: each submission needs it several times."""
        parts = (self.namespace.encode(), self.ref.encode(), self.delivery_id.encode())
        object.__setattr__(self, "_digest", digest(parts))

    @property
    def bucket(self) -> int:
        """The bucket that the record lies in, 0 to 63."""
        return self._digest[-1] % BUCKETS

    @property
    def record_key(self) -> bytes:
        """The key of the record: the bucket's name and 128 bits of a SHA-256, 21 bytes in all.

        Hashed, so that it is short and that a dump of the store holds no ids; 128 bits, since a collision would be a
        false duplicate and has to be out of reach even for who chooses the ids.
        """
        return mark_key(self.bucket) + self._digest[:_DIGEST_LENGTH]


def mark_key(bucket: int) -> bytes:
    """The key of a bucket's mark, which says whether the bucket is whole; also the prefix of its records.

    As short as can be: at 21 bytes and less a key shares one allocation of 48 bytes with its expiry (Valkey 9).
    """
    return b"r{%02x}" % bucket


def is_delivery(delivery_id: str | None) -> bool:
    """Tell whether there is a deliveryId at all: absent, null and blank ones ask for no deduplication."""
    return delivery_id is not None and bool(delivery_id.strip())
