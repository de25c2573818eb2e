"""The record that the store keeps of a delivery: a compact, versioned binary format.

Layout of version 1, all numbers big-endian:

    offset  bytes  what
         0      1  version
         1      1  state: 1 reserved, 2 confirmed, 3 forgotten
         2      6  reserved at, ms since 1970 by the store's clock (written by the script)
         8     16  uid of the run
        24      6  the request that reserved, the first bytes of its uid; only in a reservation
         …      8  fingerprint of the parameters
         …      4  run created at, s since 1970 by the API server's clock, 0 if unknown
         …    1+n  phase last seen; only 128 + its number for a usual one
         …    1+n  name of the run, packed (see `core/packing.py`)
         …     21  only after a `forget`: created at (4) and uid (16) of the newest run that was forgotten

The first 30 bytes of a reservation are where they are in every version, since the scripts look at them. A release that
brings version n+1 reads n and n+1 and still writes n; the release after it writes n+1. So replicas of two releases
always agree.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from uuid import UUID

from webhook.errors import StoreError
from webhook.hooks.dedupe.core.fingerprint import FINGERPRINT_LENGTH
from webhook.hooks.dedupe.core.packing import pack_name, unpack_name

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


class UnreadableRecordError(StoreError):
    """A record is there and cannot be understood: neither a hit nor a miss, and no reason to do without the store."""


class State(IntEnum):
    """What is known of the delivery's run."""

    RESERVED = 1  # a create was allowed; whether the run was stored is not known yet
    CONFIRMED = 2  # the run was stored, whether or not it still exists
    FORGOTTEN = 3  # an operator has freed the delivery


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The newest run that an operator has declared not to count any more; older ones do not count either.

    Attributes:
        created_at: Of that run, s since 1970.
        uid: Of that run.
    """

    created_at: int
    uid: str


@dataclass(frozen=True, slots=True)
class Record:
    """What the store knows of a delivery.

    Attributes:
        state: Reserved, confirmed or forgotten.
        name: Of the run, at most 253 characters.
        uid: Of the run, canonical (see `canonical_uid`).
        request: The admission request that reserved (see `request_token`); `NO_REQUEST` in all but a reservation.
        fingerprint: 8 bytes over `spec.parameters`.
        created_at: When the run was created, s since 1970 by the API server's clock; 0 if unknown.
        reserved_at: When it was reserved, ms since 1970 by the store's clock; 0 until the store has written it.
        phase: `status.phase` as last seen; cut to 32 bytes.
        forgotten: Set once a run of this delivery has been forgotten.
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
    """Write a uid as a UUID in its usual form.

    The API server's uids are UUIDs. Any other string is legal by the API and is hashed into one, so that a record has
    a fixed place for it and comparing still works.
    """
    if _CANONICAL.fullmatch(uid):
        return uid
    try:
        return str(UUID(uid))
    except ValueError:
        return str(UUID(bytes=hashlib.sha256(uid.encode()).digest()[:16]))


NO_REQUEST: Final = bytes(_REQUEST_LENGTH)


def request_token(uid: str) -> bytes:
    """Shorten an admission request's uid to its first 48 bits, all of them random: enough to know a request again."""
    return _token(canonical_uid(uid))[:_REQUEST_LENGTH]


def _token(uid: str) -> bytes:
    return bytes.fromhex(uid.replace("-", ""))


def encode(record: Record) -> bytes:
    """Write a record in the current version."""
    return b"".join(
        (
            _HEAD.pack(VERSION, record.state, record.reserved_at.to_bytes(6, "big"), _token(record.uid)),
            record.request if record.state is State.RESERVED else b"",
            _FACTS.pack(record.fingerprint, record.created_at),
            _pack_phase(record.phase),
            pack_name(record.name),
            _FORGOTTEN.pack(record.forgotten.created_at, _token(record.forgotten.uid)) if record.forgotten else b"",
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
        forgotten=_forgotten(rest) if rest else None,
    )


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


def _forgotten(data: bytes) -> Forgotten:
    created_at, uid = _FORGOTTEN.unpack(data)
    return Forgotten(created_at, str(UUID(bytes=uid)))


#: How each version is read: the current one and, once there is one, the one before.
READERS: Final[Mapping[int, Callable[[bytes], Record]]] = {1: _decode_1}


def decode(data: bytes, readers: Mapping[int, Callable[[bytes], Record]] = READERS) -> Record:
    """Read a record.

    Args:
        data: As the store holds it.
        readers: By version.

    Raises:
        UnreadableRecordError: It is of a version that this release does not know, or damaged. Nothing is guessed.
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
