"""When the runs of pending reservations are read, and what follows from each read."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core.decide import Live
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.pending import Action, Resolution, parse_member, pending_member, resolve
from webhook.dedupe.core.record import Record, State, UnreadableRecordError

ADDRESS = DeliveryKey("shop", "nightly", "d-1").address
AT, LEASE = 1_700_000_000_000, 90_000
RECORD = Record(State.RESERVED, "a", str(uuid.UUID(int=1)), b"r" * 6, b"f" * 8, reserved_at=AT)


def read(live: Live, age: int, *, proved: bool = False, api_time: int = 0, record: Record = RECORD) -> Resolution:
    """Return what follows from a read at an age of the reservation in ms."""
    return resolve(record, live, proved=proved, began=AT + age, ended=AT + age, api_time=api_time, lease=LEASE)


@pytest.mark.parametrize("proved", [False, True])
def test_a_member_has_the_address_and_the_proof(*, proved: bool) -> None:
    """What is written into the pending set is read back."""
    assert parse_member(ADDRESS.bucket, pending_member(ADDRESS, proved=proved)) == (ADDRESS, proved)


@pytest.mark.parametrize("member", [b"", b"d" * 16, b"d" * 16 + b"2shop", b"d" * 16 + b"0\xff"])
def test_a_member_of_another_form_is_no_guess(member: bytes) -> None:
    """A member that cannot be decoded is an error."""
    with pytest.raises(UnreadableRecordError):
        parse_member(3, member)


@given(age=st.integers(-600_000, 600_000), proved=st.booleans())
def test_a_run_that_is_found_confirms(age: int, *, proved: bool) -> None:
    """However old the reservation is."""
    assert read(Live.PRESENT, age, proved=proved).action is Action.CONFIRM


@pytest.mark.parametrize(
    ("age", "action"), [(-1, Action.READ_AGAIN), (0, Action.PROVE), (2_000, Action.PROVE), (2_001, Action.READ_AGAIN)]
)
def test_only_an_early_absence_proves(age: int, action: Action) -> None:
    """A read up to two seconds after the reservation shows that the run was not stored and deleted before."""
    assert read(Live.ABSENT, age).action is action
    assert read(Live.ABSENT, age, proved=True).action is Action.READ_AGAIN


def test_a_read_shows_what_was_stored_when_it_began_and_proves_what_was_when_it_ended() -> None:
    """A list can take long: the run may have been stored after its first page, and deleted before its last one."""
    lasting = {"began": AT + LEASE - 1, "ended": AT + LEASE + 5_000, "api_time": 0, "lease": LEASE}
    assert resolve(RECORD, Live.ABSENT, proved=True, **lasting).action is Action.READ_AGAIN
    late = {"began": AT + 1_000, "ended": AT + 2_001, "api_time": 0, "lease": LEASE}
    assert resolve(RECORD, Live.ABSENT, proved=False, **late).action is Action.READ_AGAIN


@pytest.mark.parametrize(("proved", "action"), [(False, Action.LEAVE), (True, Action.FREE)])
def test_absence_decides_only_after_the_lease(*, proved: bool, action: Action) -> None:
    """Within the lease the create can still be stored; after it, absence frees what an early read has proved."""
    assert read(Live.ABSENT, LEASE - 1, proved=proved) == Resolution(Action.READ_AGAIN, AT + LEASE)
    assert read(Live.ABSENT, LEASE, proved=proved) == Resolution(action)


def test_the_lease_ends_by_the_clock_of_the_api_server_too() -> None:
    """A store whose clock has jumped ahead frees nothing before the API server's clock agrees."""
    record = replace(RECORD, created_at=AT // 1000)
    api_end = AT + LEASE + 7_000
    assert read(Live.ABSENT, 600_000, proved=True, api_time=api_end - 1, record=record).action is Action.READ_AGAIN
    assert read(Live.ABSENT, 600_000, proved=True, api_time=api_end, record=record).action is Action.FREE


@pytest.mark.parametrize("live", [Live.UNKNOWN, Live.FORBIDDEN, Live.UNSEEN])
@given(age=st.integers(-600_000, 600_000), proved=st.booleans())
def test_a_read_that_failed_decides_nothing(live: Live, age: int, *, proved: bool) -> None:
    """It is repeated for ever: only an absence that was seen can end the reads."""
    assert read(live, age, proved=proved).action is Action.READ_AGAIN


@pytest.mark.parametrize(
    ("age", "pause"),
    [(-5, 1_000), (0, 1_000), (1_000, 1_000), (1_001, 1_001), (7_000, 7_000), (60_000, 60_000), (60_001, 60_000)],
)
def test_the_pauses_double_up_to_a_minute(age: int, pause: int) -> None:
    """The next read is due after as long again as the reservation is old."""
    assert read(Live.UNKNOWN, age).at == AT + age + pause


@given(st.integers(0, LEASE - 1))
def test_the_last_read_is_due_when_the_lease_ends(age: int) -> None:
    """While the lease runs, the next read is never later than its end."""
    assert AT + age < read(Live.ABSENT, age).at <= AT + LEASE
