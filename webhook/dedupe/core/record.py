"""The record that the store keeps of a delivery: a compact, versioned binary format.

Layout of versions 1 and 2, all numbers big-endian:

    offset  bytes  field
         0      1  version
         1      1  state: 1 reserved, 2 confirmed, 3 forgotten
         2      6  reserved at, ms since 1970 by the store's clock (written by the script)
         8     16  uid of the run
        24      6  the request that reserved, the first bytes of its uid; only in a reservation
         …      8  fingerprint of the parameters
         …      4  run created at, s since 1970 by the API server's clock, 0 if unknown
         …    1+n  last phase that was read; for a usual one only 128 + its number
         …    1+n  name of the run, packed (see `packing.py`)

    version 1, only after a `forget`:
         …     20  created at (4) and uid (16) of the newest run that was forgotten

    version 2, any number of fields, each a tag and a length (see `packing.py`) before its value:
         1     20  as at the end of version 1
         2      n  the record of the run that this one follows
         3    1+n  namespace of the run, packed; only in a confirmed record, and those that were made from one

The scripts read the first 30 bytes of a reservation, so these are at the same place in every version. This release
reads both versions and writes the one that is set, so that replicas of two consecutive releases can share a store.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final
from uuid import UUID

from webhook.dedupe.core.fingerprint import FINGERPRINT_LENGTH
from webhook.dedupe.core.packing import (
    pack_fields,
    pack_name,
    pack_phase,
    unpack_fields,
    unpack_name,
    unpack_phase,
)
from webhook.errors import DataError

#: The version that the release before this one reads too.
OLD_VERSION: Final = 1
VERSION: Final = 2
_HEAD: Final = struct.Struct(">BB6s16s")
_REQUEST_LENGTH: Final = 6
_FACTS: Final = struct.Struct(f">{FINGERPRINT_LENGTH}sI")
_FORGOTTEN: Final = struct.Struct(">I16s")
_FORGOTTEN_TAG, _PREDECESSOR_TAG, _NAMESPACE_TAG = 1, 2, 3
_CANONICAL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

#: `Record.request` of a record that is not a reservation.
NO_REQUEST: Final = bytes(_REQUEST_LENGTH)


class UnreadableRecordError(DataError):
    """A record exists and cannot be decoded: it is neither a hit nor a miss, and no reason to decide without it."""


class State(IntEnum):
    """What is known about the delivery's run."""

    RESERVED = 1  # a create was allowed; whether the run was stored is not known yet
    CONFIRMED = 2  # the run was stored, whether or not it still exists
    FORGOTTEN = 3  # an operator has freed the delivery


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The newest run that an operator has declared not to count any more; older runs do not count either.

    Attributes:
        created_at: When that run was created, s since 1970.
        uid: Its uid, canonical.
    """

    created_at: int
    uid: str


@dataclass(frozen=True, slots=True)
class Record:
    """What the store holds about a delivery.

    Attributes:
        state: Reserved, confirmed or forgotten.
        name: Name of the run, at most 253 characters.
        uid: Uid of the run, canonical (see `canonical_uid`).
        request: The admission request that reserved (see `request_token`); `NO_REQUEST` if it is not a reservation.
        fingerprint: 8 bytes over `spec.parameters`.
        created_at: When the run was created, s since 1970 by the API server's clock; 0 if unknown.
        reserved_at: When it was reserved, ms since 1970 by the store's clock; 0 until the store has written it.
        phase: The last `status.phase` that was read; cut to 32 bytes.
        forgotten: Set after a run of this delivery has been forgotten.
        predecessor: The confirmed record of the run that this one follows, in the same namespace; only in version 2.
        namespace: Namespace of the run; empty if unknown, as always in version 1 and in reservations.
    """

    state: State
    name: str
    uid: str
    request: bytes
    fingerprint: bytes
    created_at: int = 0
    reserved_at: int = 0
    phase: str = ""
    forgotten: Forgotten | None = None
    predecessor: Record | None = None
    namespace: str = ""


def canonical_uid(uid: str) -> str:
    """Return a uid as a UUID in its usual form.

    The API server's uids are UUIDs. The API allows any other text, which is hashed into a UUID, so that a record has a
    field of fixed length for it and equal uids stay equal.
    """
    if _CANONICAL.fullmatch(uid):
        return uid
    try:
        return str(UUID(uid))
    except ValueError:
        return str(UUID(bytes=hashlib.sha256(uid.encode()).digest()[:16]))


def request_token(uid: str) -> bytes:
    """Return the first 48 bits of an admission request's uid; all are random, so they are enough to recognize it."""
    return _uid_bytes(canonical_uid(uid))[:_REQUEST_LENGTH]


def encode(record: Record, version: int = OLD_VERSION) -> bytes:
    """Encode a record.

    Args:
        record: The record; only version 2 can hold a predecessor and a namespace.
        version: 1 or 2.
    """
    return b"".join(
        (
            _HEAD.pack(version, record.state, record.reserved_at.to_bytes(6, "big"), _uid_bytes(record.uid)),
            record.request if record.state is State.RESERVED else b"",
            _FACTS.pack(record.fingerprint, record.created_at),
            pack_phase(record.phase),
            pack_name(record.name),
            _pack_fields(record) if version == VERSION else _pack_forgotten(record.forgotten),
        )
    )


def _decode_1(data: bytes) -> Record:
    record, rest = _decode_common(data)
    return replace(record, forgotten=_unpack_forgotten(rest)) if rest else record


def _decode_2(data: bytes) -> Record:
    record, rest = _decode_common(data)
    for tag, value in unpack_fields(rest):
        if tag == _FORGOTTEN_TAG:
            record = replace(record, forgotten=_unpack_forgotten(value))
        elif tag == _PREDECESSOR_TAG:
            record = replace(record, predecessor=decode(value))
        elif tag == _NAMESPACE_TAG:
            record = replace(record, namespace=_unpack_namespace(value))
        else:
            raise ValueError(f"it has an unknown field {tag}")
    if record.predecessor is not None:
        record = replace(record, predecessor=replace(record.predecessor, namespace=record.namespace))
    return record


def _decode_common(data: bytes) -> tuple[Record, bytes]:
    _, number, reserved_at, uid = _HEAD.unpack_from(data)
    state = State(number)
    rest = data[_HEAD.size :]
    request = NO_REQUEST
    if state is State.RESERVED:
        request, rest = rest[:_REQUEST_LENGTH], rest[_REQUEST_LENGTH:]
    fingerprint, created_at = _FACTS.unpack_from(rest)
    phase, rest = unpack_phase(rest[_FACTS.size :])
    name, rest = unpack_name(rest)
    record = Record(
        state=state,
        name=name,
        uid=str(UUID(bytes=uid)),
        request=request,
        fingerprint=fingerprint,
        created_at=created_at,
        reserved_at=int.from_bytes(reserved_at, "big"),
        phase=phase,
    )
    return record, rest


#: How each version is decoded.
READERS: Final[Mapping[int, Callable[[bytes], Record]]] = {OLD_VERSION: _decode_1, VERSION: _decode_2}


def decode(data: bytes, readers: Mapping[int, Callable[[bytes], Record]] = READERS) -> Record:
    """Decode a record.

    Args:
        data: As the store holds it.
        readers: The decoders by version.

    Raises:
        UnreadableRecordError: It is damaged, or its version is not known to this release. Nothing is guessed.
    """
    version = data[0] if data else 0
    reader = readers.get(version)
    if reader is None:
        raise UnreadableRecordError(
            f"The store holds a record in format {version}, and this rollonce reads up to {max(readers)}: "
            "bring every replica to the newer release."
        )
    try:
        return reader(data)
    except (ValueError, IndexError, struct.error) as error:
        raise UnreadableRecordError(f"The store holds a damaged record in format {version}: {error}.") from None


def _pack_fields(record: Record) -> bytes:
    before = record.predecessor
    return pack_fields(
        {
            _FORGOTTEN_TAG: _pack_forgotten(record.forgotten),
            # It is in the same namespace.
            _PREDECESSOR_TAG: encode(replace(before, predecessor=None, namespace=""), VERSION) if before else b"",
            _NAMESPACE_TAG: pack_name(record.namespace) if record.namespace else b"",
        }
    )


def _unpack_namespace(data: bytes) -> str:
    namespace, rest = unpack_name(data)
    if rest:
        raise ValueError("its namespace is too long")
    return namespace


def _pack_forgotten(forgotten: Forgotten | None) -> bytes:
    return _FORGOTTEN.pack(forgotten.created_at, _uid_bytes(forgotten.uid)) if forgotten else b""


def _unpack_forgotten(data: bytes) -> Forgotten:
    created_at, uid = _FORGOTTEN.unpack(data)
    return Forgotten(created_at, str(UUID(bytes=uid)))


def _uid_bytes(uid: str) -> bytes:
    return bytes.fromhex(uid.replace("-", ""))
