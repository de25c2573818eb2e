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
    Requester,
    Situation,
    StoreState,
    Verdict,
    row_of,
)
from webhook.dedupe.core.record import Record, State
from webhook.dedupe.core.reservation import Absences, Mark, ReserveOutcome, ReserveResult, situation

NOW = 1_000_000
LEASE = 90_000
SYNCED = Mark(b"Wabc", synced=True)
RESERVED = Record(State.RESERVED, "a", str(uuid.UUID(int=1)), b"r" * 6, b"f" * 8, reserved_at=NOW - LEASE)


def facts(result: ReserveResult | None, live: Live = Live.UNSEEN) -> Situation:
    """Return the facts for a create of the name `a`."""
    return situation(result, live, name="a", lease=LEASE, policy=Policy.STOP)


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
    assert mark.raw == raw
    assert mark.state(NOW, LEASE) is state


@pytest.mark.parametrize("record", [None, RESERVED, replace(RESERVED, name="b")])
@pytest.mark.parametrize("mark", [SYNCED, Mark(b"Labc:1", synced=False, lost_at=1)])
@pytest.mark.parametrize("outcome", [ReserveOutcome.MADE, ReserveOutcome.OWN])
def test_the_script_alone_recognizes_a_create(outcome: ReserveOutcome, mark: Mark, record: Record | None) -> None:
    """A record that the script made for this create, now or before, is a reservation of the same create: allowed."""
    found = facts(ReserveResult(outcome, b"", record, NOW, mark))
    assert (found.record, found.requester) == (Known.RESERVED, Requester.RETRY)
    assert TABLE[row_of(found)].verdict is Verdict.ALLOW


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
    found = facts(ReserveResult(ReserveOutcome.FOUND, b"raw", record, NOW, SYNCED))
    assert found == Situation(StoreState.SYNCED, known, requester, Live.UNSEEN, lease, Policy.STOP)


def test_a_missing_record_and_a_missing_store() -> None:
    """Without a record, and without an answer, there is nothing to compare the create with."""
    lost = Mark(b"Labc:1", synced=False, lost_at=NOW)
    missing = facts(ReserveResult(ReserveOutcome.MISSING, b"", None, NOW, lost), Live.ABSENT)
    assert (missing.store, missing.record, missing.live) == (StoreState.LOST, Known.NONE, Live.ABSENT)
    down = facts(None, Live.PRESENT)
    assert (down.store, down.record, down.live) == (StoreState.DOWN, Known.NONE, Live.PRESENT)


def test_a_second_absence_with_the_same_record_proves_that_nothing_can_come() -> None:
    """Each record has its own count; other results of a read are passed on and count nothing."""
    absences = Absences()
    assert absences.observe(Live.ABSENT, b"first") is Live.ABSENT
    assert absences.observe(Live.ABSENT, b"second") is Live.ABSENT
    for live in (Live.UNKNOWN, Live.PRESENT):
        assert absences.observe(live, b"second") is live
    assert absences.observe(Live.ABSENT, b"second") is Live.GONE
    assert absences.observe(Live.ABSENT, b"second") is Live.GONE
    assert absences.observe(Live.ABSENT, b"first") is Live.GONE
