"""The decision on one create, as one table. `docs/deduplication.md` prints the same table; a test compares them.

The invariant: each row that allows a create either follows a proof that no other run of the delivery exists or can
still be stored, or the run has a name under which the API server's storage refuses a second one. Rows that the operator
can weaken by a setting (`onRedisDown`, `onUnproved`) say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class StoreState(Enum):
    """What a missing record proves."""

    SYNCED = "synced"  # no create of the delivery was allowed
    UNSYNCED = "unsynced"  # nothing: records were lost, so long ago that no create of that time can still be stored
    LOST = "lost"  # nothing: records were lost just now, and creates that they were for can still be stored
    DOWN = "down"  # nothing: the store does not answer


class Known(Enum):
    """The state of the record that the store holds; a record that an operator has forgotten counts as none."""

    NONE = "none"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"


class Requester(Enum):
    """The create under review, compared with the create that the record was made for."""

    RETRY = "retry"  # the same create: the script has made the record for it, now or at an earlier attempt
    UNACKNOWLEDGED = "unacknowledged"  # the same, but too few replicas have the record, and `strict` is set
    SAME_NAME = "same name"  # another create of the same name
    OTHER = "other"  # a create of another name


class Live(Enum):
    """The result of a quorum read of the API server (GET of the reserved name; LIST if the store is not synced)."""

    UNSEEN = "unseen"  # not read yet
    UNKNOWN = "unknown"  # the read failed
    FORBIDDEN = "forbidden"  # rollonce may not read runs in this namespace
    PRESENT = "present"  # a run of this delivery, whatever its uid
    ABSENT = "absent"  # no run, or a run of another delivery under that name
    GONE = "gone"  # absent at two reads with a pause between them


class Lease(Enum):
    """Whether the create that reserved can still be stored; a lease is longer than the API server keeps a request."""

    RUNNING = "running"
    OVER = "over"  # by the clock of the store and by the clock of the API server


class Proof(Enum):
    """Whether the run of a reservation can have been stored and deleted before anything read it."""

    PROVED = "proved"  # it was absent at a read within 2 s of the reservation
    TRUSTED = "trusted"  # there was no such read, and `onUnproved: allow` takes the risk
    NONE = "none"  # there was no such read


class Policy(Enum):
    """What the setting `onRedisDown` says about this create while the store does not answer."""

    GO = "go"  # allowed, if the run is not known to have existed
    ALWAYS = "always"  # allowed
    STOP = "stop"


class Recall(Enum):
    """Whether this replica remembers, without the store, that a create of the delivery was allowed."""

    NO = "no"
    YES = "yes"  # it does; one answer in 1,700,000 is wrong
    BLIND = "blind"  # it has not read the keys of a synced store yet


class Verdict(Enum):
    """What to do with a create."""

    LOOK = "look"  # read the API server, then decide again
    LOOK_AGAIN = "look again"  # as above, after a pause
    ALLOW = "allow"
    RESERVE = "reserve"  # write a record if there is still none, then decide again
    TAKE_OVER = "take over"  # replace the record if it is still the same, then decide again
    ADMIT = "admit"  # allow without a record; the bucket is unsynced afterwards
    DUPLICATE = "duplicate"  # confirm the record if it is not confirmed yet, then refuse: 409
    WAIT = "wait"  # look again until half of the deadline is over, then refuse: 429
    UNAVAILABLE = "unavailable"  # refuse: 503
    MISCONFIGURED = "misconfigured"  # refuse: 403, naming the right that is missing


@dataclass(frozen=True, slots=True)
class Situation:
    """Input of `row_of`: the facts that the table decides by.

    Attributes:
        store: What a missing record proves.
        record: The state of the record; none if the store is down.
        requester: This create compared with that of the record; without meaning if there is no record.
        live: What the API server has shown so far.
        lease: The lease of the record; without meaning if there is no record.
        proof: Whether absence frees the reservation; without meaning if there is no record.
        policy: What `onRedisDown` says about this create.
        recall: Whether this replica remembers the delivery.
    """

    store: StoreState
    record: Known
    requester: Requester
    live: Live
    lease: Lease
    proof: Proof
    policy: Policy
    recall: Recall


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the verdict for all situations that have the given facts. None stands for any fact."""

    verdict: Verdict
    store: StoreState | None = None
    record: Known | None = None
    requester: Requester | None = None
    live: Live | None = None
    lease: Lease | None = None
    proof: Proof | None = None
    policy: Policy | None = None
    recall: Recall | None = None

    def applies(self, situation: Situation) -> bool:
        """Return whether the situation has all facts of this row."""
        return (
            (self.store is None or self.store is situation.store)
            and (self.record is None or self.record is situation.record)
            and (self.requester is None or self.requester is situation.requester)
            and (self.live is None or self.live is situation.live)
            and (self.lease is None or self.lease is situation.lease)
            and (self.proof is None or self.proof is situation.proof)
            and (self.policy is None or self.policy is situation.policy)
            and (self.recall is None or self.recall is situation.recall)
        )


#: The first row that applies decides; the last row applies to everything that is left.
TABLE: Final = (
    Row(Verdict.DUPLICATE, record=Known.CONFIRMED),
    Row(Verdict.ALLOW, record=Known.RESERVED, requester=Requester.RETRY),
    Row(Verdict.UNAVAILABLE, record=Known.RESERVED, requester=Requester.UNACKNOWLEDGED),
    Row(Verdict.RESERVE, store=StoreState.SYNCED, record=Known.NONE),
    Row(Verdict.LOOK, live=Live.UNSEEN),
    Row(Verdict.MISCONFIGURED, live=Live.FORBIDDEN),
    Row(Verdict.UNAVAILABLE, live=Live.UNKNOWN),
    Row(Verdict.DUPLICATE, live=Live.PRESENT),
    Row(Verdict.ADMIT, store=StoreState.DOWN, policy=Policy.ALWAYS),
    Row(Verdict.UNAVAILABLE, store=StoreState.DOWN, policy=Policy.STOP),
    Row(Verdict.ADMIT, store=StoreState.DOWN, recall=Recall.NO),
    Row(Verdict.UNAVAILABLE, store=StoreState.DOWN),
    Row(Verdict.UNAVAILABLE, store=StoreState.LOST, policy=Policy.STOP),
    Row(Verdict.UNAVAILABLE, store=StoreState.LOST, record=Known.NONE, policy=Policy.GO, recall=Recall.YES),
    Row(Verdict.UNAVAILABLE, store=StoreState.LOST, record=Known.NONE, policy=Policy.GO, recall=Recall.BLIND),
    Row(Verdict.RESERVE, record=Known.NONE),
    Row(Verdict.TAKE_OVER, requester=Requester.SAME_NAME, proof=Proof.PROVED),
    Row(Verdict.TAKE_OVER, requester=Requester.SAME_NAME, proof=Proof.TRUSTED),
    Row(Verdict.WAIT, lease=Lease.RUNNING),
    Row(Verdict.UNAVAILABLE, proof=Proof.NONE),
    Row(Verdict.LOOK_AGAIN, live=Live.ABSENT),
    Row(Verdict.TAKE_OVER),
)


def row_of(situation: Situation) -> int:
    """Return the index in `TABLE` of the row that decides a situation."""
    return next(index for index, row in enumerate(TABLE) if row.applies(situation))
