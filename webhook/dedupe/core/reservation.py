"""The store's answer to an attempt to reserve a delivery, and the facts that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from webhook.dedupe.core.decide import Known, Lease, Live, Policy, Proof, Recall, Requester, Situation, StoreState
from webhook.dedupe.core.record import Record, State, UnreadableRecordError

#: How long after a reservation a read must happen to prove that the run was not stored and deleted unnoticed.
EARLY_MS: Final = 2_000
#: By how much the clocks of API servers, and of the store and an API server, may differ.
CLOCK_TOLERANCE_MS: Final = 5_000
#: creationTimestamp and the `Date` of a reply are in whole seconds.
_WHOLE_SECONDS_MS: Final = 2_000


class ReserveOutcome(Enum):
    """The result of an attempt to reserve, as the script returns it."""

    MADE = b"made"  # the record was written
    OWN = b"own"  # the record of this very create existed already
    FOUND = b"found"  # there is a record of another create
    MISSING = b"missing"  # there is no record, and that proves nothing
    JUMPED = b"jumped"  # the store's clock has jumped ahead; nothing was changed


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
        """Parse `W<replication id>` (synced) or `L<replication id>:<ms>` (not synced).

        Raises:
            UnreadableRecordError: It is neither.
        """
        if raw.startswith(b"W"):
            return cls(raw, synced=True)
        _, _, moment = raw.rpartition(b":")
        if not raw.startswith(b"L") or not moment.isdigit():
            raise UnreadableRecordError("The store holds a mark that cannot be decoded.")
        return cls(raw, synced=False, lost_at=int(moment))

    @property
    def replication_id(self) -> bytes:
        """The replication id of the server on which the mark was set."""
        return self.raw[1:].partition(b":")[0]

    def state(self, now: int, lease: int) -> StoreState:
        """Return what a missing record proves.

        Args:
            now: The store's time in ms since 1970.
            lease: The lease of a reservation in ms.
        """
        if self.synced:
            return StoreState.SYNCED
        # A loss in the future means that the store's clock was set back: it counts as a loss just now.
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
        doubted: Whether a missing record proves nothing, whatever the mark says.
        proved: Whether a read soon after the reservation has shown that the run was not stored then.
        acknowledged: Whether enough replicas have the record.
    """

    outcome: ReserveOutcome
    raw: bytes
    record: Record | None
    now: int
    mark: Mark
    doubted: bool = False
    proved: bool = False
    acknowledged: bool = True

    def store_state(self, lease: int) -> StoreState:
        """Return what a missing record proves; `lease` is that of a reservation in ms."""
        return StoreState.LOST if self.doubted else self.mark.state(self.now, lease)


@dataclass(frozen=True, slots=True)
class Read:
    """A quorum read of the API server on behalf of a create.

    Attributes:
        live: What it has shown.
        api_time: The API server's time in ms since 1970, from the `Date` of its reply; 0 if unknown.
        elapsed: Ms between the store's answer and the end of the read.
    """

    live: Live
    api_time: int = 0
    elapsed: int = 0


UNREAD: Final = Read(Live.UNSEEN)


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that facts depend on.

    Attributes:
        lease: The lease of a reservation in ms.
        trust_unproved: Whether `onUnproved` is `allow`.
        strict: Whether a reservation must be acknowledged by the replicas.
    """

    lease: int
    trust_unproved: bool = True
    strict: bool = False


def situation(
    result: ReserveResult | None, read: Read, *, name: str, rules: Rules, policy: Policy, recall: Recall
) -> Situation:
    """Return the facts about a create.

    Whether a record was made for this very create is decided by the script alone, in the same step in which it reads
    the record.

    Args:
        result: The store's answer; None if it did not answer.
        read: What the API server has shown so far.
        name: The name of the create's run.
        rules: The settings.
        policy: What `onRedisDown` says about this create.
        recall: Whether this replica remembers the delivery.
    """
    no_record = (Known.NONE, Requester.OTHER, read.live, Lease.OVER, Proof.NONE, policy, recall)
    if result is None:
        return Situation(StoreState.DOWN, *no_record)
    store, record = result.store_state(rules.lease), result.record
    if result.outcome in {ReserveOutcome.MADE, ReserveOutcome.OWN}:
        requester = Requester.RETRY if result.acknowledged or not rules.strict else Requester.UNACKNOWLEDGED
        return Situation(store, Known.RESERVED, requester, read.live, Lease.RUNNING, Proof.NONE, policy, recall)
    if record is None or record.state is State.FORGOTTEN:
        return Situation(store, *no_record)
    return Situation(
        store=store,
        record=Known.RESERVED if record.state is State.RESERVED else Known.CONFIRMED,
        requester=Requester.SAME_NAME if record.name == name else Requester.OTHER,
        live=read.live,
        lease=Lease.OVER if lease_is_over(record, result.now, read.api_time, rules.lease) else Lease.RUNNING,
        proof=_proof(result, record, read, same_name=record.name == name, rules=rules),
        policy=policy,
        recall=recall,
    )


def lease_left(record: Record, store_time: int, api_time: int, lease: int) -> int:
    """Return for how many ms the create of a reservation can still be stored, by the later of two clocks; 0 for none.

    Args:
        record: The reservation.
        store_time: The store's time in ms since 1970. Its clock can jump, so it is not enough.
        api_time: The API server's time in ms since 1970, from the reply to a read; 0 if unknown.
        lease: The lease in ms.
    """
    left = record.reserved_at + lease - store_time
    # A creation in the future means that the API server's clock was set back, and says nothing.
    if api_time and record.created_at and record.created_at * 1000 <= api_time + CLOCK_TOLERANCE_MS:
        created = record.created_at * 1000 + _WHOLE_SECONDS_MS + CLOCK_TOLERANCE_MS
        left = max(left, created + lease - api_time)
    return max(left, 0)


def lease_is_over(record: Record, store_time: int, api_time: int, lease: int) -> bool:
    """Return whether the create of a reservation cannot be stored any more; arguments as of `lease_left`."""
    return not lease_left(record, store_time, api_time, lease)


def is_early(reserved_at: int, read_at: int) -> bool:
    """Return whether a read happened soon enough after a reservation; both in ms of the store's clock."""
    return 0 <= read_at - reserved_at <= EARLY_MS


def _proof(result: ReserveResult, record: Record, read: Read, *, same_name: bool, rules: Rules) -> Proof:
    # Two creates of one name cannot both be stored, so for the same name this read itself can be the early one.
    absent = read.live in {Live.ABSENT, Live.GONE}
    if result.proved or (same_name and absent and is_early(record.reserved_at, result.now + read.elapsed)):
        return Proof.PROVED
    return Proof.TRUSTED if rules.trust_unproved else Proof.NONE
