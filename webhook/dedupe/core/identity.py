"""The identity of a delivery, and what is derived from it: the store's key, the label, and the name of the run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: The label by which the runs of a delivery are found.
LABEL: Final = "jangar.proompteng.ai/delivery-id"
#: The number of hash-tag buckets that keys are spread over. Each has a mark of its own, so that on a Cluster one script
#: can read a record and the mark of its bucket.
BUCKETS: Final = 64
#: Bytes of the SHA-256 in the key of a record.
DIGEST_LENGTH: Final = 16

#: Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_LEGAL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_ILLEGAL_RUN: Final = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_ENDS: Final = "_.-"
_STEM_LENGTH: Final = 50
_LABEL_HASH_LENGTH: Final = 12

_PREFIX_LENGTH: Final = 47
_NAME_HASH_LENGTH: Final = 16


def digest(values: Iterable[bytes]) -> bytes:
    """Return the SHA-256 of several values, each preceded by its length (8 bytes, big-endian).

    The lengths make `("a", "bc")` and `("ab", "c")` different, which they would not be if they were only joined.

    Returns:
        32 bytes.
    """
    hasher = hashlib.sha256()
    for value in values:
        hasher.update(len(value).to_bytes(8, "big"))
        hasher.update(value)
    return hasher.digest()


class RecordAddress(NamedTuple):
    """The place of a record in the store.

    Attributes:
        bucket: The bucket, 0 to 63.
        digest: The last 16 bytes of the record's key.
        namespace: Namespace of the run.
    """

    bucket: int
    digest: bytes
    namespace: str

    @property
    def key(self) -> bytes:
        """The key of the record: the bucket's name and 128 bits of a SHA-256, 21 bytes in all.

        It is hashed so that it is short and a dump of the store shows no ids. It has 128 bits because a collision would
        be a false duplicate, and must be out of reach even for a client that chooses its ids.
        """
        return mark_key(self.bucket) + self.digest

    @classmethod
    def of_key(cls, key: bytes, namespace: str = "") -> RecordAddress:
        """Return the address of a record that was found by its key, which does not tell its namespace."""
        return cls(int(key[2:4], 16), key[-DIGEST_LENGTH:], namespace)


@dataclass(frozen=True, slots=True)
class DeliveryKey:
    """The identity of a delivery. Two creates are one delivery if all three attributes are equal, byte for byte.

    Attributes:
        namespace: Namespace of the run.
        ref: `spec.orchestrationRef.name`; empty if there is none.
        delivery_id: `spec.deliveryId`, not blank.
    """

    namespace: str
    ref: str
    delivery_id: str

    _digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hash once, because each create needs the hash several times."""
        values = (self.namespace.encode(), self.ref.encode(), self.delivery_id.encode())
        object.__setattr__(self, "_digest", digest(values))

    @property
    def bucket(self) -> int:
        """The bucket of the record, 0 to 63."""
        return self._digest[-1] % BUCKETS

    @property
    def address(self) -> RecordAddress:
        """The place of the record in the store."""
        return RecordAddress(self.bucket, self._digest[:DIGEST_LENGTH], self.namespace)

    @property
    def record_key(self) -> bytes:
        """The key of the record in the store."""
        return self.address.key


def mark_key(bucket: int) -> bytes:
    """Return the key of a bucket's mark; it is also the prefix of the bucket's records.

    It is as short as possible: a key of at most 21 bytes shares one allocation of 48 bytes with its expiry (Valkey 9).
    """
    return b"r{%02x}" % bucket


class BucketKeys(NamedTuple):
    """The keys of a bucket's state in the store; all lie in the bucket's hash slot.

    Attributes:
        mark: Whether it has lost records.
        head: A hash: `n` counts writes, `s` reservations; `o` is by how much the callers' clock is ahead of the
            store's, in ms; `d` is the id of its data; `r` is the mark if it is due to nothing but a restart, and `m`
            the last write before that.
        pending: A sorted set of pending reservations, by the time at which they are due.
        stream: The latest reservations.
    """

    mark: bytes
    head: bytes
    pending: bytes
    stream: bytes


def bucket_keys(bucket: int) -> BucketKeys:
    """Return the keys of a bucket's state. They are shorter than those of records, so none is equal to one."""
    mark = mark_key(bucket)
    return BucketKeys(mark, mark + b"h", mark + b"p", mark + b"s")


def is_delivery(delivery_id: str | None) -> bool:
    """Return whether a deliveryId asks for deduplication: absent, null and blank ones do not."""
    return delivery_id is not None and bool(delivery_id.strip())


def label_value(delivery_id: str) -> str:
    """Return the label value for a deliveryId.

    Two ids can have the same value (`a` and ` a`), so a reader that finds a run by its label compares
    `spec.deliveryId` too.

    Args:
        delivery_id: As it is in the object, not blank.

    Returns:
        The trimmed id if it is a legal label value, otherwise `<stem>-<first 12 hex digits of the SHA-256 of the
        untrimmed id>`; at most 63 characters.
    """
    trimmed = delivery_id.strip()
    if _LEGAL.fullmatch(trimmed):
        return trimmed
    stem = _ILLEGAL_RUN.sub("-", trimmed).strip(_ENDS)[:_STEM_LENGTH].strip(_ENDS) or "delivery"
    return f"{stem}-{hashlib.sha256(delivery_id.encode()).hexdigest()[:_LABEL_HASH_LENGTH]}"


def generated_name(generate_name: str, ref: str, delivery_id: str) -> str:
    """Return the name of a run that was created with `generateName`; the same delivery always gets the same name.

    Names are unique in a namespace, so the API server refuses a second run of that name even if Redis has lost its
    records.

    Args:
        generate_name: The prefix that the client gave.
        ref: `spec.orchestrationRef.name`.
        delivery_id: `spec.deliveryId`, byte for byte.

    Returns:
        The prefix cut to 47 characters, and 16 hex digits: at most 63 characters, the limit of a label value.
    """
    return generate_name[:_PREFIX_LENGTH] + _name_suffix(ref, delivery_id)


def is_generated(name: str, ref: str, delivery_id: str) -> bool:
    """Return whether `generated_name` gives this name to this delivery for some prefix."""
    return len(name) <= _PREFIX_LENGTH + _NAME_HASH_LENGTH and name.endswith(_name_suffix(ref, delivery_id))


def _name_suffix(ref: str, delivery_id: str) -> str:
    return digest((ref.encode(), delivery_id.encode())).hex()[:_NAME_HASH_LENGTH]
