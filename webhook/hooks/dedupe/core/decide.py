"""The decision on a create, as one table. `docs/deduplication.md` prints the same table; a test compares them.

What must be kept: every row that lets a create go on either follows a proof that no other run of the delivery exists
or can still come into being, or gives it a name under which storage refuses the second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Trust(Enum):
    """What a miss in the store is worth."""

    WHOLE = "whole"  # what is not in the store was never admitted
    DOUBTED = "doubted"  # it has lost its memory, longer ago than any create can still be on its way
    LOST = "lost"  # it has lost its memory just now: creates that it knew of may still be on their way
    DOWN = "down"  # it does not answer


class Known(Enum):
    """The record found; one that an operator has forgotten counts as none."""

    NONE = "none"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"


class Asker(Enum):
    """Who asks, compared with whom the record was reserved for."""

    RETRY = "retry"  # the same request uid or object uid: the same create, once more
    NAMESAKE = "namesake"  # another create of the same name
    OTHER = "other"  # another name


class Live(Enum):
    """What a quorum read of the API server has shown (GET of the reserved name; LIST where the store is not whole)."""

    UNSEEN = "unseen"
    UNKNOWN = "unknown"  # it failed
    PRESENT = "present"  # a run of this delivery, whatever its uid
    ABSENT = "absent"  # none, or a run of another delivery under that name
    GONE = "gone"  # absent at two looks with a pause between them


class Lease(Enum):
    """Whether the create that reserved may still be on its way: longer than the API server lets a request live."""

    RUNNING = "running"
    OVER = "over"


class Policy(Enum):
    """What `onRedisDown` says of this create while the store cannot be asked."""

    GO = "go"
    STOP = "stop"


class Verdict(Enum):
    """What to do."""

    LOOK = "look"  # read the API server, then decide again
    LOOK_AGAIN = "look again"  # as above, after a pause
    ALLOW = "allow"
    RESERVE = "reserve"  # write a record if there is still none, then allow
    TAKE_OVER = "take over"  # replace the record if it is still the same, then allow
    ADMIT = "admit"  # allow without a record; the store is in doubt afterwards
    DUPLICATE = "duplicate"  # confirm the record if it is not yet, then refuse: 409
    WAIT = "wait"  # look again until half the deadline is gone, then refuse: 429
    UNAVAILABLE = "unavailable"  # refuse: 503


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts that the table is entered with.

    Attributes:
        trust: In the store.
        record: Found in it; none if it is down.
        asker: Compared with the record; meaningless if there is none.
        live: What the API server has shown so far.
        lease: Of the record; meaningless if there is none.
        policy: For this create.
    """

    trust: Trust
    record: Known
    asker: Asker
    live: Live
    lease: Lease
    policy: Policy


@dataclass(frozen=True, slots=True)
class Row:
    """One row: it applies where every cell that is not None agrees."""

    trust: Trust | None
    record: Known | None
    asker: Asker | None
    live: Live | None
    lease: Lease | None
    policy: Policy | None
    verdict: Verdict

    def applies(self, situation: Situation) -> bool:
        """Tell whether this row is about that situation."""
        return all(
            cell is None or cell is fact
            for cell, fact in (
                (self.trust, situation.trust),
                (self.record, situation.record),
                (self.asker, situation.asker),
                (self.live, situation.live),
                (self.lease, situation.lease),
                (self.policy, situation.policy),
            )
        )


_: Final = None

# fmt: off
#: The first row that applies decides; the last one applies to all that is left.
TABLE: Final = (
    #   store        record           asker           live          lease          policy       verdict
    Row(_,           Known.CONFIRMED, _,              _,            _,             _,           Verdict.DUPLICATE),
    Row(_,           Known.RESERVED,  Asker.RETRY,    _,            _,             _,           Verdict.ALLOW),
    Row(Trust.WHOLE, Known.NONE,      _,              _,            _,             _,           Verdict.RESERVE),
    Row(Trust.DOWN,  _,               _,              _,            _,             Policy.STOP, Verdict.UNAVAILABLE),
    Row(_,           _,               _,              Live.UNSEEN,  _,             _,           Verdict.LOOK),
    Row(_,           _,               _,              Live.UNKNOWN, _,             _,           Verdict.UNAVAILABLE),
    Row(_,           _,               _,              Live.PRESENT, _,             _,           Verdict.DUPLICATE),
    Row(Trust.DOWN,  _,               _,              _,            _,             _,           Verdict.ADMIT),
    Row(Trust.LOST,  _,               _,              _,            _,             Policy.STOP, Verdict.UNAVAILABLE),
    Row(_,           Known.NONE,      _,              _,            _,             _,           Verdict.RESERVE),
    Row(_,           _,               Asker.NAMESAKE, _,            _,             _,           Verdict.TAKE_OVER),
    Row(_,           _,               _,              _,            Lease.RUNNING, _,           Verdict.WAIT),
    Row(_,           _,               _,              Live.ABSENT,  _,             _,           Verdict.LOOK_AGAIN),
    Row(_,           _,               _,              _,            _,             _,           Verdict.TAKE_OVER),
)
# fmt: on


def decide(situation: Situation) -> Verdict:
    """Look a situation up in the table."""
    return next(row.verdict for row in TABLE if row.applies(situation))
