"""Who may lead: the rules of a Lease, and that by them never two lead at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.controller.core.lease import (
    LONGEST_LEASE_SECONDS,
    LeaseRecord,
    LeaseTiming,
    Sight,
    Take,
    Wait,
    decide,
    micro_time,
    pause,
    released,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMING = LeaseTiming()


def taken(sight: Sight, identity: str = "a", *, now: float = 0.0, wall: datetime = NOON) -> LeaseRecord:
    """The record that a candidate may write."""
    decision = decide(sight, identity, TIMING, now=now, wall=wall)
    assert isinstance(decision, Take)
    return decision.record


def test_the_defaults_are_client_gos() -> None:
    """15, 10 and 2 seconds, as in every other controller of a cluster."""
    assert (TIMING.lease_duration, TIMING.renew_deadline, TIMING.retry_period) == (15, 10.0, 2.0)


@pytest.mark.parametrize(
    ("lease_duration", "renew_deadline", "retry_period", "word"),
    [
        (10, 10.0, 2.0, "longer than the renew deadline"),
        (15, 2.4, 2.0, "1.2 times the retry period"),
        (15, 10.0, 0.0, "longer than nothing"),
        (0, -1.0, -2.0, "whole number"),
        (LONGEST_LEASE_SECONDS + 1, 10.0, 2.0, "whole number"),
    ],
)
def test_times_that_cannot_work_are_refused(
    lease_duration: int, renew_deadline: float, retry_period: float, word: str
) -> None:
    """Each rule is said in words."""
    with pytest.raises(ValueError, match=word):
        LeaseTiming(lease_duration, renew_deadline, retry_period)


def test_a_lease_of_nobody_is_taken() -> None:
    """Absent, empty or released: the first term has no transition behind it, later ones count."""
    first = taken(Sight())
    assert first == LeaseRecord("a", 15, micro_time(NOON), micro_time(NOON), 0)
    left = released(first, NOON)
    assert (left.holder, left.lease_duration_seconds, left.lease_transitions) == ("", 1, 0)
    assert taken(Sight(left, 5.0), "b", now=5.0).lease_transitions == 1


def test_a_renewal_keeps_the_time_of_acquisition() -> None:
    """Only the time of renewal moves while one holder stays."""
    first = taken(Sight())
    later = NOON + timedelta(seconds=2)
    second = taken(Sight(first, 0.0), now=2.0, wall=later)
    assert second == LeaseRecord("a", 15, micro_time(NOON), micro_time(later), 0)


def test_somebody_elses_lease_is_waited_for() -> None:
    """It runs out by our clock, counted from when we saw it change; a renewal starts the count again."""
    first = taken(Sight(), "b")
    sight = Sight().look(first, 100.0)
    assert decide(sight, "a", TIMING, now=114.9, wall=NOON) == Wait("b", 115.0)
    assert sight.look(first, 110.0) is sight
    renewed = taken(sight, "b", now=110.0, wall=NOON + timedelta(seconds=10))
    assert decide(sight.look(renewed, 110.0), "a", TIMING, now=115.0, wall=NOON) == Wait("b", 125.0)
    assert taken(sight, now=115.0).holder == "a"


def test_a_deleted_lease_is_no_sooner_free() -> None:
    """Its holder has not noticed yet, and leads on for as long as without the deletion."""
    sight = Sight().look(taken(Sight(), "b"), 0.0).look(None, 1.0)
    assert decide(sight, "a", TIMING, now=1.0, wall=NOON) == Wait("b", 15.0)


@pytest.mark.parametrize(
    ("claimed", "free"), [(None, 15.0), (1, 1.0), (2**31 - 1, LONGEST_LEASE_SECONDS), (-5, 1.0), (60, 60.0)]
)
def test_a_claim_is_believed_within_reason(claimed: int | None, free: float) -> None:
    """The holder's own duration counts, but garbage does not keep everybody waiting for 68 years."""
    record = LeaseRecord(holder_identity="b", lease_duration_seconds=claimed)
    assert Sight(record, 0.0).free_at(TIMING) == free


def test_a_renewal_looks_new_on_a_clock_that_stands_still() -> None:
    """Others only notice what differs."""
    first = taken(Sight())
    assert taken(Sight(first, 0.0), now=2.0) != first


@given(st.floats(0, 1))
def test_a_pause_is_stretched_by_a_fifth_at_most(chance: float) -> None:
    """Candidates are out of step, and the renew deadline always has room for a second try."""
    assert TIMING.retry_period <= pause(TIMING, chance) <= 1.2 * TIMING.retry_period < TIMING.renew_deadline


def test_a_record_is_written_as_kubernetes_reads_it() -> None:
    """Camel case, nothing for what is not set, and an empty holder is said."""
    assert msgspec.json.encode(LeaseRecord(holder_identity="")) == b'{"holderIdentity":""}'
    assert msgspec.json.decode(b'{"leaseDurationSeconds":3,"x":1}', type=LeaseRecord).lease_duration_seconds == 3


@dataclass
class Player:
    """An elector by the rules, with a clock of its own and calls that take their time."""

    name: str
    offset: float
    sight: Sight = field(default_factory=Sight)
    leads_until: float = float("-inf")


@settings(max_examples=200)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.floats(0, 6, allow_nan=False),
            st.floats(0, 12, allow_nan=False),
            st.sampled_from(["acknowledged", "reply lost", "nothing", "deleted"]),
        ),
        max_size=60,
    )
)
def test_never_two_lead_at_once(moves: list[tuple[str, float, float, str]]) -> None:
    """Whatever the order, the delays, the losses and the offsets of clocks, terms do not overlap.

    A deletion is only survived by those who saw the Lease before, which the players do here.
    """
    players = {name: Player(name, offset) for name, offset in (("a", 0.0), ("b", 1000.0), ("c", -77.0))}
    stored: LeaseRecord | None = LeaseRecord()
    time = 0.0
    for name, idle, delay, fate in moves:
        time += idle
        player = players[name]
        if fate == "deleted":
            for other in players.values():
                other.sight = other.sight.look(stored, time + other.offset)
            stored = None
            continue
        player.sight = player.sight.look(stored, time + player.offset)
        decision = decide(player.sight, name, TIMING, now=time + player.offset, wall=NOON + timedelta(seconds=time))
        if isinstance(decision, Wait):
            player.leads_until = float("-inf")
            continue
        sent = time
        time += min(delay, TIMING.renew_deadline)
        if fate != "nothing":
            stored = decision.record
        if fate == "acknowledged":
            player.leads_until = sent + TIMING.renew_deadline
        assert sum(time < other.leads_until for other in players.values()) <= 1
