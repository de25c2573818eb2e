"""The rules of a Lease, and that two replicas never lead at the same time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.kube.core.lease import (
    LONGEST_LEASE_SECONDS,
    LeaseObservation,
    LeaseRecord,
    LeaseTiming,
    Take,
    Wait,
    decide,
    micro_time,
    pause,
    released,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMING = LeaseTiming()


def taken(
    observation: LeaseObservation, identity: str = "a", *, now: float = 0.0, wall: datetime = NOON
) -> LeaseRecord:
    """Return the record that a candidate may write."""
    decision = decide(observation, identity, TIMING, now=now, wall=wall)
    assert isinstance(decision, Take)
    return decision.record


def test_the_default_times_are_those_of_client_go() -> None:
    """Lease duration, renew deadline and retry period are 15, 10 and 2 seconds."""
    assert (TIMING.lease_duration, TIMING.renew_deadline, TIMING.retry_period) == (15, 10.0, 2.0)


@pytest.mark.parametrize(
    ("lease_duration", "renew_deadline", "retry_period", "message"),
    [
        (10, 10.0, 2.0, "longer than the renew deadline"),
        (15, 2.4, 2.0, "1.2 times the retry period"),
        (15, 10.0, 0.0, "longer than nothing"),
        (0, -1.0, -2.0, "whole number"),
        (LONGEST_LEASE_SECONDS + 1, 10.0, 2.0, "whole number"),
    ],
)
def test_invalid_times_are_rejected(
    lease_duration: int, renew_deadline: float, retry_period: float, message: str
) -> None:
    """Each rule of `LeaseTiming` has its own error message."""
    with pytest.raises(ValueError, match=message):
        LeaseTiming(lease_duration, renew_deadline, retry_period)


def test_a_lease_without_a_holder_is_taken() -> None:
    """An absent, empty or released Lease is taken at once; each later term increases the transitions by one."""
    first = taken(LeaseObservation())
    assert first == LeaseRecord("a", 15, micro_time(NOON), micro_time(NOON), 0)
    left = released(first, NOON)
    assert (left.holder, left.lease_duration_seconds, left.lease_transitions) == ("", 1, 0)
    assert taken(LeaseObservation(left, 5.0), "b", now=5.0).lease_transitions == 1


def test_a_renewal_keeps_the_time_of_acquisition() -> None:
    """While the holder stays the same, a renewal only changes the renew time."""
    first = taken(LeaseObservation())
    later = NOON + timedelta(seconds=2)
    second = taken(LeaseObservation(first, 0.0), now=2.0, wall=later)
    assert second == LeaseRecord("a", 15, micro_time(NOON), micro_time(later), 0)


def test_a_candidate_waits_for_the_lease_of_another_holder() -> None:
    """The Lease is free one lease duration after its last observed change, by the candidate's clock."""
    first = taken(LeaseObservation(), "b")
    observation = LeaseObservation().look(first, 100.0)
    assert decide(observation, "a", TIMING, now=114.9, wall=NOON) == Wait("b", 115.0)
    assert observation.look(first, 110.0) is observation
    renewed = taken(observation, "b", now=110.0, wall=NOON + timedelta(seconds=10))
    assert decide(observation.look(renewed, 110.0), "a", TIMING, now=115.0, wall=NOON) == Wait("b", 125.0)
    assert taken(observation, now=115.0).holder == "a"


def test_a_deleted_lease_is_not_free_earlier() -> None:
    """The holder of a deleted Lease may still lead, so a candidate waits as long as without the deletion."""
    observation = LeaseObservation().look(taken(LeaseObservation(), "b"), 0.0).look(None, 1.0)
    assert decide(observation, "a", TIMING, now=1.0, wall=NOON) == Wait("b", 15.0)


@pytest.mark.parametrize(
    ("claimed", "free"), [(None, 15.0), (1, 1.0), (2**31 - 1, LONGEST_LEASE_SECONDS), (-5, 1.0), (60, 60.0)]
)
def test_the_duration_in_the_lease_is_limited(claimed: int | None, free: float) -> None:
    """The holder's own duration is used, but only within 1 and LONGEST_LEASE_SECONDS."""
    record = LeaseRecord(holder_identity="b", lease_duration_seconds=claimed)
    assert LeaseObservation(record, 0.0).free_at(TIMING) == free


def test_a_renewal_differs_on_a_clock_that_does_not_advance() -> None:
    """A renewal at the same time of day differs from the record before, because candidates only see differences."""
    first = taken(LeaseObservation())
    assert taken(LeaseObservation(first, 0.0), now=2.0) != first


@given(st.floats(0, 1))
def test_a_pause_has_a_jitter_of_at_most_a_fifth(jitter: float) -> None:
    """A pause is 1 to 1.2 retry periods, and shorter than the renew deadline."""
    assert TIMING.retry_period <= pause(TIMING, jitter) <= 1.2 * TIMING.retry_period < TIMING.renew_deadline


def test_a_record_has_the_form_of_kubernetes() -> None:
    """Names are in camel case, unset fields are omitted, and an empty holder is written."""
    assert msgspec.json.encode(LeaseRecord(holder_identity="")) == b'{"holderIdentity":""}'
    assert msgspec.json.decode(b'{"leaseDurationSeconds":3,"x":1}', type=LeaseRecord).lease_duration_seconds == 3


@dataclass
class Replica:
    """An elector that follows the rules, with its own clock and slow calls."""

    name: str
    offset: float
    observation: LeaseObservation = field(default_factory=LeaseObservation)
    leads_until: float = float("-inf")


@settings(max_examples=200)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.floats(0, 6, allow_nan=False),
            st.floats(0, 12, allow_nan=False),
            st.sampled_from(["acknowledged", "reply lost", "not sent", "deleted"]),
        ),
        max_size=60,
    )
)
def test_two_replicas_never_lead_at_the_same_time(moves: list[tuple[str, float, float, str]]) -> None:
    """Terms do not overlap, for any order of calls, delays, lost replies and clock offsets.

    This includes deletions of the Lease only if each replica has seen it before, which is the case here.
    """
    replicas = {name: Replica(name, offset) for name, offset in (("a", 0.0), ("b", 1000.0), ("c", -77.0))}
    stored: LeaseRecord | None = LeaseRecord()
    time = 0.0
    for name, idle, delay, result in moves:
        time += idle
        replica = replicas[name]
        if result == "deleted":
            for other in replicas.values():
                other.observation = other.observation.look(stored, time + other.offset)
            stored = None
            continue
        replica.observation = replica.observation.look(stored, time + replica.offset)
        decision = decide(
            replica.observation, name, TIMING, now=time + replica.offset, wall=NOON + timedelta(seconds=time)
        )
        if isinstance(decision, Wait):
            replica.leads_until = float("-inf")
            continue
        sent = time
        time += min(delay, TIMING.renew_deadline)
        if result != "not sent":
            stored = decision.record
        if result == "acknowledged":
            replica.leads_until = sent + TIMING.renew_deadline
        assert sum(time < other.leads_until for other in replicas.values()) <= 1
