"""The record that the store keeps of a delivery: a compact, versioned binary format.

Layout of version 1, all numbers big-endian:

    offset  bytes  field
         0      1  version
         1      1  state: 1 reserved, 2 confirmed, 3 forgotten
         2      6  reserved at, ms since 1970 by the store's clock (written by the script)
         8     16  uid of the run
        24      6  the request that reserved, the first bytes of its uid; only in a reservation
         …      8  fingerprint of the parameters
         …      4  run created at, s since 1970 by the API server's clock, 0 if unknown
         …    1+n  last phase that was read; for a usual one only 128 + its number
         …    1+n  name of the run, packed (see `pack_name`)
         …     21  only after a `forget`: created at (4) and uid (16) of the newest run that was forgotten

The scripts read the first 30 bytes of a reservation, so these are at the same place in every version. A release that
introduces version n+1 reads n and n+1 and still writes n; the next release writes n+1. So replicas of two consecutive
releases can share a store.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from uuid import UUID

from webhook.dedupe.core.fingerprint import FINGERPRINT_LENGTH
from webhook.errors import DataError

VERSION: Final = 1
_HEAD: Final = struct.Struct(">BB6s16s")
_REQUEST_LENGTH: Final = 6
_FACTS: Final = struct.Struct(f">{FINGERPRINT_LENGTH}sI")
_FORGOTTEN: Final = struct.Struct(">I16s")
_PHASE_LIMIT: Final = 32
#: A byte with this bit is the number of a usual phase. New ones are added at the end, with a new version.
_USUAL: Final = 128
_USUAL_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Cancelled", "Completed", "Error", "Unknown")
_CANONICAL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

#: In place of a length: the name is not a DNS subdomain and follows unpacked.
_UNPACKED: Final = 255
_LONGEST_NAME: Final = 253
_PACKABLE: Final = re.compile(rb"[a-z0-9.-]*")
_TO_BASE64: Final = bytes.maketrans(b"-.", b"+/")
_FROM_BASE64: Final = bytes.maketrans(b"+/", b"-.")
_GROUP: Final = 4
_GROUP_BYTES: Final = 3

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


def encode(record: Record) -> bytes:
    """Encode a record in the current version."""
    return b"".join(
        (
            _HEAD.pack(VERSION, record.state, record.reserved_at.to_bytes(6, "big"), _uid_bytes(record.uid)),
            record.request if record.state is State.RESERVED else b"",
            _FACTS.pack(record.fingerprint, record.created_at),
            _pack_phase(record.phase),
            pack_name(record.name),
            _pack_forgotten(record.forgotten) if record.forgotten else b"",
        )
    )


def _decode_1(data: bytes) -> Record:
    _, number, reserved_at, uid = _HEAD.unpack_from(data)
    state = State(number)
    rest = data[_HEAD.size :]
    request = NO_REQUEST
    if state is State.RESERVED:
        request, rest = rest[:_REQUEST_LENGTH], rest[_REQUEST_LENGTH:]
    fingerprint, created_at = _FACTS.unpack_from(rest)
    phase, rest = _unpack_phase(rest[_FACTS.size :])
    name, rest = unpack_name(rest)
    return Record(
        state=state,
        name=name,
        uid=str(UUID(bytes=uid)),
        request=request,
        fingerprint=fingerprint,
        created_at=created_at,
        reserved_at=int.from_bytes(reserved_at, "big"),
        phase=phase,
        forgotten=_unpack_forgotten(rest) if rest else None,
    )


#: How each version is decoded: the current one and, when there is one, the one before.
READERS: Final[Mapping[int, Callable[[bytes], Record]]] = {1: _decode_1}


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


def pack_name(name: str) -> bytes:
    """Encode a name: its length in one byte, then three bytes for each four characters.

    A name is a DNS subdomain: lower case letters, digits, `-` and `.`, at most 253 characters. These are 38 of the 64
    symbols of base64. So the record of a run with a long name needs no more memory than one with a short name.
    Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names

    Raises:
        ValueError: The name has more than 255 bytes, which no name of an object has.
    """
    data = name.encode()
    if len(data) > _LONGEST_NAME or not _PACKABLE.fullmatch(data):
        return bytes((_UNPACKED, len(data))) + data
    padded = data.translate(_TO_BASE64) + b"A" * (-len(data) % _GROUP)
    return bytes((len(data),)) + binascii.a2b_base64(padded)


def unpack_name(data: bytes) -> tuple[str, bytes]:
    """Decode a name; returns it and the bytes that follow it.

    Raises:
        ValueError: There is no name, or it ends too early.
        IndexError: As above.
    """
    length = data[0]
    if length == _UNPACKED:
        end = 2 + data[1]
        name = data[2:end]
    else:
        end = 1 + -(-length // _GROUP) * _GROUP_BYTES
        name = binascii.b2a_base64(data[1:end], newline=False)[:length].translate(_FROM_BASE64)
    if len(data) < end:
        raise ValueError("it ends too early")
    return name.decode(), data[end:]


def _pack_phase(phase: str) -> bytes:
    if phase in _USUAL_PHASES:
        return bytes((_USUAL + _USUAL_PHASES.index(phase),))
    text = phase.encode()[:_PHASE_LIMIT].decode(errors="ignore").encode()
    return bytes((len(text),)) + text


def _unpack_phase(data: bytes) -> tuple[str, bytes]:
    if data[0] >= _USUAL:
        return _USUAL_PHASES[data[0] - _USUAL], data[1:]
    end = 1 + data[0]
    if len(data) < end:
        raise ValueError("it ends too early")
    return data[1:end].decode(), data[end:]


def _pack_forgotten(forgotten: Forgotten) -> bytes:
    return _FORGOTTEN.pack(forgotten.created_at, _uid_bytes(forgotten.uid))


def _unpack_forgotten(data: bytes) -> Forgotten:
    created_at, uid = _FORGOTTEN.unpack(data)
    return Forgotten(created_at, str(UUID(bytes=uid)))


def _uid_bytes(uid: str) -> bytes:
    return bytes.fromhex(uid.replace("-", ""))
