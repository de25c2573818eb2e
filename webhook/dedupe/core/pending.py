"""Pending reservations: creates that were allowed and that nothing has confirmed yet, and when to read their runs.

A run that is stored and deleted again while no watch and no webhook of rollonce notices it would leave a reservation
that looks like a failed create. So each reservation is pending until a server has read its run: about a second after
it was allowed, then with doubling pauses until the lease is over. A run that is found confirms the record. Absence
frees the delivery only if one read happened within two seconds, and another after the lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from webhook.dedupe.core.decide import Live
from webhook.dedupe.core.identity import DIGEST_LENGTH, RecordAddress
from webhook.dedupe.core.record import Record, UnreadableRecordError
from webhook.dedupe.core.reservation import is_early, lease_left

#: When a reservation is read first.
FIRST_READ_MS: Final = 1_000
#: The longest pause between two reads.
LONGEST_PAUSE_MS: Final = 60_000
#: For so long a server keeps a pending reservation to itself; another takes it if the first has died.
CLAIM_MS: Final = 3_000
#: Follows the digest in a member of the pending set: whether an early read found nothing.
_UNREAD, _PROVED = b"0", b"1"


def pending_member(address: RecordAddress, *, proved: bool) -> bytes:
    """Return a reservation's member in the pending set: `<16 bytes of digest><0 or 1><namespace>`.

    Args:
        address: The place of its record.
        proved: Whether a read within two seconds of the reservation found no run.
    """
    return address.digest + (_PROVED if proved else _UNREAD) + address.namespace.encode()


def parse_member(bucket: int, member: bytes) -> tuple[RecordAddress, bool]:
    """Parse a member of the pending set of a bucket; returns the place of the record, and whether it is proved.

    Raises:
        UnreadableRecordError: It has another form.
    """
    flag = member[DIGEST_LENGTH : DIGEST_LENGTH + 1]
    try:
        namespace = member[DIGEST_LENGTH + 1 :].decode()
    except UnicodeDecodeError:
        flag, namespace = b"", ""
    if flag not in {_UNREAD, _PROVED}:
        raise UnreadableRecordError("The store holds a pending reservation that cannot be decoded.")
    return RecordAddress(bucket, member[:DIGEST_LENGTH], namespace), flag == _PROVED


class Action(Enum):
    """What follows from a read of a pending reservation's run."""

    CONFIRM = "confirm"  # the run is stored
    PROVE = "prove"  # it is not stored so soon after the reservation: note that, and read again later
    READ_AGAIN = "read again"  # later
    FREE = "free"  # its create has failed: delete the reservation
    LEAVE = "leave"  # it is unknown whether the run was stored and deleted: keep the reservation, stop reading


@dataclass(frozen=True, slots=True)
class Resolution:
    """The consequence of a read.

    Attributes:
        action: What to do.
        at: For `PROVE` and `READ_AGAIN`: when to read next, in ms of the store's clock.
    """

    action: Action
    at: int = 0


def resolve(
    record: Record, live: Live, *, proved: bool, began: int, ended: int, api_time: int, lease: int
) -> Resolution:
    """Return what follows from a read of a pending reservation's run.

    Args:
        record: The reservation.
        live: What the read has shown: `PRESENT`, `ABSENT`, or anything else for a read that failed.
        proved: Whether an earlier read within two seconds of the reservation found nothing.
        began: The store's time when the read began, or earlier, in ms since 1970: what it shows may be that old.
        ended: The store's time at the end of the read, or later, in ms since 1970.
        api_time: The API server's time when the read began, in ms since 1970; 0 if unknown.
        lease: The lease of a reservation in ms.
    """
    if live is Live.PRESENT:
        return Resolution(Action.CONFIRM)
    pause = min(max(ended - record.reserved_at, FIRST_READ_MS), LONGEST_PAUSE_MS)
    if live is not Live.ABSENT:
        return Resolution(Action.READ_AGAIN, ended + pause)
    left = lease_left(record, began, api_time, lease)
    if not left:
        return Resolution(Action.FREE if proved else Action.LEAVE)
    early = not proved and is_early(record.reserved_at, ended)
    return Resolution(Action.PROVE if early else Action.READ_AGAIN, ended + min(pause, left))
