"""The store's answer to an attempt to reserve a delivery, and the facts that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from webhook.dedupe.core.decide import Known, Lease, Live, Policy, Requester, Situation, StoreState
from webhook.dedupe.core.record import Record, State

#: A create that was allowed may be stored just after a read. After a pause and a second read this is excluded.
_PROOF_READS: Final = 2


class ReserveOutcome(Enum):
    """The result of an attempt to reserve, as the script returns it."""

    MADE = b"made"  # the record was written
    OWN = b"own"  # the record of this very create existed already
    FOUND = b"found"  # there is a record of another create
    MISSING = b"missing"  # there is no record, and that proves nothing


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a bucket: whether the bucket has lost records.

    Attributes:
        raw: As the store holds it.
        synced: Whether the bucket has the records of all creates that were allowed.
        lost_at: If it is not synced: when the loss was noticed, in ms since 1970 by the store's clock.
    """

    raw: bytes
    synced: bool
    lost_at: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> Mark:
        """Parse `W<replication id>` (synced) or `L<replication id>:<ms>` (not synced)."""
        if raw.startswith(b"W"):
            return cls(raw, synced=True)
        return cls(raw, synced=False, lost_at=int(raw.rpartition(b":")[2]))

    def state(self, now: int, lease: int) -> StoreState:
        """Return what a missing record proves.

        Args:
            now: The store's time in ms since 1970.
            lease: The lease of a reservation in ms.
        """
        if self.synced:
            return StoreState.SYNCED
        return StoreState.LOST if now - self.lost_at < lease else StoreState.UNSYNCED


@dataclass(frozen=True, slots=True)
class ReserveResult:
    """The store's answer to an attempt to reserve.

    Attributes:
        outcome: Whether it succeeded, or why not.
        raw: The record that the store held before, undecoded; empty if there was none, or if it was replaced.
        record: The same, decoded.
        now: The store's time, in ms since 1970.
        mark: The mark of the bucket.
        acknowledged: Whether enough replicas have the record.
    """

    outcome: ReserveOutcome
    raw: bytes
    record: Record | None
    now: int
    mark: Mark
    acknowledged: bool = True


class Absences:
    """The reads that found no run of the delivery, counted for each record that was held at that time."""

    def __init__(self) -> None:
        self._records: list[bytes] = []

    def observe(self, live: Live, record: bytes) -> Live:
        """Add the result of a read, and return the fact for the table.

        Args:
            live: What the read has shown.
            record: The undecoded record that the store held before the read. Another record starts another count.

        Returns:
            `GONE` instead of `ABSENT` from the second read on; everything else unchanged.
        """
        if live is not Live.ABSENT:
            return live
        self._records.append(record)
        return Live.GONE if self._records.count(record) >= _PROOF_READS else Live.ABSENT


def situation(result: ReserveResult | None, live: Live, *, name: str, lease: int, policy: Policy) -> Situation:
    """Return the facts about a create.

    Whether a record was made for this very create is decided by the script alone, in the same step in which it reads
    the record.

    Args:
        result: The store's answer; None if it did not answer.
        live: What the API server has shown so far.
        name: The name of the create's run.
        lease: The lease of a reservation in ms.
        policy: What `onRedisDown` says about this create.
    """
    if result is None:
        return Situation(StoreState.DOWN, Known.NONE, Requester.OTHER, live, Lease.OVER, policy)
    store, record = result.mark.state(result.now, lease), result.record
    if result.outcome in {ReserveOutcome.MADE, ReserveOutcome.OWN}:
        return Situation(store, Known.RESERVED, Requester.RETRY, live, Lease.RUNNING, policy)
    if record is None or record.state is State.FORGOTTEN:
        return Situation(store, Known.NONE, Requester.OTHER, live, Lease.OVER, policy)
    return Situation(
        store=store,
        record=Known.RESERVED if record.state is State.RESERVED else Known.CONFIRMED,
        requester=Requester.SAME_NAME if record.name == name else Requester.OTHER,
        live=live,
        lease=Lease.RUNNING if result.now - record.reserved_at < lease else Lease.OVER,
        policy=policy,
    )
