"""The facts that follow from the store's answer to an attempt to reserve."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from webhook.dedupe.core.decide import (
    TABLE,
    Known,
    Lease,
    Live,
    Policy,
    Proof,
    Recall,
    Requester,
    Situation,
    StoreState,
    Verdict,
    row_of,
)
from webhook.dedupe.core.record import Record, State, UnreadableRecordError
from webhook.dedupe.core.reservation import (
    UNREAD,
    Mark,
    Read,
    ReserveOutcome,
    ReserveResult,
    Rules,
    lease_left,
    situation,
)

NOW = 1_000_000
LEASE = 90_000
SYNCED = Mark(b"Wabc", synced=True)
RESERVED = Record(State.RESERVED, "a", str(uuid.UUID(int=1)), b"r" * 6, b"f" * 8, reserved_at=NOW - LEASE)


def facts(result: ReserveResult | None, read: Read = UNREAD, *, trust: bool = False, strict: bool = False) -> Situation:
    """Return the facts for a create of the name `a`."""
    rules = Rules(LEASE, trust_unproved=trust, strict=strict)
    return situation(result, read, name="a", rules=rules, policy=Policy.STOP, recall=Recall.NO)


def found(record: Record, *, proved: bool = False) -> ReserveResult:
    """Return the answer of a synced store that has a record of another create."""
    return ReserveResult(ReserveOutcome.FOUND, b"raw", record, NOW, SYNCED, proved=proved)


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        (b"Wabc", StoreState.SYNCED),
        (b"Labc:%d" % (NOW - LEASE + 1), StoreState.LOST),
        (b"Labc:%d" % (NOW - LEASE), StoreState.UNSYNCED),
        (b"Labc:%d" % (NOW + 5), StoreState.LOST),
    ],
)
def test_what_a_mark_says(raw: bytes, state: StoreState) -> None:
    """A bucket is synced, or it has lost records within the lease or longer ago."""
    mark = Mark.parse(raw)
    assert (mark.raw, mark.replication_id) == (raw, b"abc")
    assert mark.state(NOW, LEASE) is state


@pytest.mark.parametrize("raw", [b"", b"X", b"Labc", b"Labc:", b"Labc:x", b"labc:1"])
def test_a_mark_that_is_none_is_no_guess(raw: bytes) -> None:
    """A value that another program wrote under the key of a mark is an error, and neither synced nor lost."""
    with pytest.raises(UnreadableRecordError):
        Mark.parse(raw)


def test_a_doubt_of_the_replica_outweighs_a_synced_bucket() -> None:
    """If others may admit creates without the store, a missing record proves nothing, whatever the mark says."""
    missing = ReserveResult(ReserveOutcome.MISSING, b"", None, NOW, SYNCED, doubted=True)
    assert facts(missing).store is StoreState.LOST


@pytest.mark.parametrize("record", [None, RESERVED, replace(RESERVED, name="b")])
@pytest.mark.parametrize("mark", [SYNCED, Mark(b"Labc:1", synced=False, lost_at=1)])
@pytest.mark.parametrize("outcome", [ReserveOutcome.MADE, ReserveOutcome.OWN])
def test_the_script_alone_recognizes_a_create(outcome: ReserveOutcome, mark: Mark, record: Record | None) -> None:
    """A record that the script made for this create, now or before, is a reservation of the same create: allowed."""
    own = facts(ReserveResult(outcome, b"", record, NOW, mark))
    assert (own.record, own.requester) == (Known.RESERVED, Requester.RETRY)
    assert TABLE[row_of(own)].verdict is Verdict.ALLOW


@pytest.mark.parametrize(("strict", "verdict"), [(False, Verdict.ALLOW), (True, Verdict.UNAVAILABLE)])
def test_strict_refuses_what_too_few_replicas_have(*, strict: bool, verdict: Verdict) -> None:
    """A reservation that too few replicas of Redis have is refused for now under `strict` only."""
    made = ReserveResult(ReserveOutcome.MADE, b"", None, NOW, SYNCED, acknowledged=False)
    assert TABLE[row_of(facts(made, strict=strict))].verdict is verdict


@pytest.mark.parametrize(
    ("record", "known", "requester", "lease"),
    [
        (RESERVED, Known.RESERVED, Requester.SAME_NAME, Lease.OVER),
        (replace(RESERVED, name="b"), Known.RESERVED, Requester.OTHER, Lease.OVER),
        (replace(RESERVED, reserved_at=NOW - LEASE + 1), Known.RESERVED, Requester.SAME_NAME, Lease.RUNNING),
        (replace(RESERVED, state=State.CONFIRMED), Known.CONFIRMED, Requester.SAME_NAME, Lease.OVER),
        (replace(RESERVED, state=State.FORGOTTEN), Known.NONE, Requester.OTHER, Lease.OVER),
    ],
)
def test_a_record_of_another_create(record: Record, known: Known, requester: Requester, lease: Lease) -> None:
    """State, name and age of the record are facts; a forgotten record counts as none."""
    assert facts(found(record)) == Situation(
        StoreState.SYNCED, known, requester, Live.UNSEEN, lease, Proof.NONE, Policy.STOP, Recall.NO
    )


def test_a_missing_record_and_a_missing_store() -> None:
    """Without a record, and without an answer, there is nothing to compare the create with."""
    lost = Mark(b"Labc:1", synced=False, lost_at=NOW)
    missing = facts(ReserveResult(ReserveOutcome.MISSING, b"", None, NOW, lost), Read(Live.ABSENT))
    assert (missing.store, missing.record, missing.live) == (StoreState.LOST, Known.NONE, Live.ABSENT)
    down = facts(None, Read(Live.PRESENT))
    assert (down.store, down.record, down.live) == (StoreState.DOWN, Known.NONE, Live.PRESENT)


@pytest.mark.parametrize(
    ("store_time", "api_time", "left"),
    [
        (100_000, 0, 0),  # the API server's time is unknown: the store's alone
        (99_000, 0, 1_000),
        (100_000, 96_000, 11_000),  # the store's clock has jumped ahead
        (100_000, 106_999, 1),
        (100_000, 107_000, 0),  # two seconds for whole seconds, and five for the clocks of several API servers
        (40_000, 200_000, 60_000),  # the store's clock was set back
    ],
)
def test_a_lease_is_over_by_two_clocks(store_time: int, api_time: int, left: int) -> None:
    """The create of a reservation at 10 s, of a run created at 10 s, can be stored until both clocks say no."""
    record = replace(RESERVED, reserved_at=10_000, created_at=10)
    assert lease_left(record, store_time, api_time, 90_000) == left


@pytest.mark.parametrize(
    ("result", "read", "trust", "proof"),
    [
        (found(RESERVED), UNREAD, False, Proof.NONE),
        (found(RESERVED), UNREAD, True, Proof.TRUSTED),
        (found(RESERVED, proved=True), UNREAD, False, Proof.PROVED),
        # Two creates of one name cannot both be stored, so for the same name an early read of its own is a proof.
        (found(replace(RESERVED, reserved_at=NOW - 1_990)), Read(Live.ABSENT, elapsed=10), False, Proof.PROVED),
        (found(replace(RESERVED, reserved_at=NOW - 1_990)), Read(Live.ABSENT, elapsed=11), False, Proof.NONE),
        (found(replace(RESERVED, reserved_at=NOW + 1)), Read(Live.ABSENT), False, Proof.NONE),
        (found(replace(RESERVED, reserved_at=NOW)), Read(Live.UNKNOWN), False, Proof.NONE),
        (found(replace(RESERVED, name="b", reserved_at=NOW)), Read(Live.ABSENT), False, Proof.NONE),
    ],
)
def test_what_proves_that_a_run_was_not_deleted_unnoticed(
    result: ReserveResult, read: Read, *, trust: bool, proof: Proof
) -> None:
    """A read soon after the reservation, by a server before or now, or the operator's trust."""
    assert facts(result, read, trust=trust).proof is proof
