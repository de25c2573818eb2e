"""The rules of a work queue, and that they hold for any order of events."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from webhook.kube.core.schedule import Schedule, Settling
from webhook.runtime.backoff import Backoff

SETTLING = Settling(settle=0.5, ceiling=2.0)
BACKOFF = Backoff(first=1.0, limit=8.0)


def new_schedule() -> Schedule[str]:
    """Return a schedule of texts."""
    return Schedule(SETTLING, BACKOFF)


def test_an_empty_schedule_returns_no_key() -> None:
    """An empty schedule has no key now and no next time."""
    schedule = new_schedule()
    assert schedule.take(1e9) is None
    assert schedule.next_due() is None
    assert len(schedule) == 0


def test_a_change_settles() -> None:
    """Each further change delays the work, and all of them are one piece of work."""
    schedule = new_schedule()
    for now in (0.0, 0.3, 0.6):
        schedule.add("a", now)
    assert schedule.next_due() == 1.1
    assert schedule.take(1.0) is None
    assert schedule.take(1.1) == "a"
    schedule.done("a")
    assert len(schedule) == 0


def test_the_ceiling_limits_settling() -> None:
    """The ceiling counts from the first change that was not processed yet."""
    schedule = new_schedule()
    for step in range(20):
        schedule.add("a", step * 0.1)
    assert schedule.next_due() == 2.0
    assert schedule.take(2.0) == "a"


def test_without_settling_a_change_is_due_at_once() -> None:
    """Keys are returned at once, in the order of arrival."""
    schedule: Schedule[str] = Schedule()
    for key in ("b", "a", "c"):
        schedule.add(key, 0.0)
    assert [schedule.take(0.0) for _ in range(4)] == ["b", "a", "c", None]


def test_a_key_that_is_added_while_in_work_is_processed_again() -> None:
    """Such a key is returned once more, and only after `done`."""
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0.0)
    assert schedule.take(0.0) == "a"
    schedule.add("a", 1.0)
    schedule.add("a", 2.0)
    assert schedule.take(9.0) is None
    assert schedule.next_due() is None
    assert schedule.working == 1
    schedule.done("a")
    assert schedule.take(9.0) == "a"
    schedule.done("a")
    assert schedule.take(9.0) is None


def test_retries_wait_longer_until_failures_are_forgotten() -> None:
    """Retries wait 1, 2, 4, 8, 8 seconds, and start again after `forget`."""
    schedule = new_schedule()
    waits = [schedule.retry("a", 0.0, 1.0) for _ in range(5)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]
    schedule.forget("a")
    assert schedule.next_due() is None
    assert len(schedule) == 0
    assert schedule.retry("a", 0.0, 0.0) == 0.5


def test_a_change_does_not_wait_for_a_retry() -> None:
    """A change is due before a later retry, and replaces the retry."""
    schedule = new_schedule()
    for _ in range(4):
        schedule.retry("a", 0.0, 1.0)
    schedule.add("a", 0.0)
    assert schedule.take(0.5) == "a"
    schedule.forget("a")
    schedule.done("a")
    assert schedule.next_due() is None


def test_the_earliest_of_several_alarms_counts() -> None:
    """A key is due at its earliest alarm, also if it was processed before."""
    schedule = new_schedule()
    schedule.add_at("a", 60.0)
    schedule.add_at("a", 10.0)
    schedule.add_at("a", 90.0)
    schedule.add("a", 0.0)
    assert schedule.take(0.5) == "a"
    schedule.done("a")
    assert schedule.next_due() == 10.0
    assert schedule.take(10.0) == "a"
    schedule.done("a")
    assert schedule.next_due() is None


def test_done_without_take_is_an_error() -> None:
    """`done` raises KeyError for a key that no worker has."""
    schedule = new_schedule()
    schedule.add("a", 0.0)
    with pytest.raises(KeyError):
        schedule.done("a")
    with pytest.raises(KeyError):
        schedule.done("b")
    schedule.forget("b")


@pytest.mark.parametrize(("settle", "ceiling"), [(-1.0, 1.0), (2.0, 1.0)])
def test_invalid_settling_is_rejected(settle: float, ceiling: float) -> None:
    """A negative settle time, and one above the ceiling, are rejected."""
    with pytest.raises(ValueError, match="settle"):
        Settling(settle, ceiling)


KEYS = st.sampled_from("abcd")


class ScheduleMachine(RuleBasedStateMachine):
    """Calls the schedule in any order, and compares it with a simple model."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = new_schedule()
        self.now = 0.0
        self.working: set[str] = set()
        #: The first and the last change of a key that was not processed yet.
        self.changes: dict[str, tuple[float, float]] = {}
        self.alarms: dict[str, float] = {}
        self.retries: dict[str, float] = {}

    def due(self, key: str) -> float:
        """Return the time at which a key is due by the model."""
        first, last = self.changes.get(key, (float("inf"), float("inf")))
        settled = min(last + SETTLING.settle, first + SETTLING.ceiling)
        return min(settled, self.alarms.get(key, float("inf")), self.retries.get(key, float("inf")))

    @rule(seconds=st.floats(0, 3))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=KEYS)
    def change(self, key: str) -> None:
        self.schedule.add(key, self.now)
        self.changes[key] = (self.changes.get(key, (self.now, 0.0))[0], self.now)

    @rule(key=KEYS, seconds=st.floats(0, 10))
    def alarm(self, key: str, seconds: float) -> None:
        self.schedule.add_at(key, self.now + seconds)
        self.alarms[key] = min(self.alarms.get(key, float("inf")), self.now + seconds)

    @rule(key=KEYS, jitter=st.floats(0, 1))
    def fail(self, key: str, jitter: float) -> None:
        wait = self.schedule.retry(key, self.now, jitter)
        assert 0.5 <= wait <= 8.0
        self.retries[key] = self.now + wait

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.schedule.forget(key)
        self.retries.pop(key, None)

    @rule()
    def take(self) -> None:
        due = {key: self.due(key) for key in "abcd" if key not in self.working and self.due(key) <= self.now}
        key = self.schedule.take(self.now)
        if key is None:
            assert not due, "a due key was not returned"
            return
        assert key in due, "a key was returned to two workers, or too early"
        assert due[key] == min(due.values()), "a key was returned before one that was due earlier"
        self.working.add(key)
        self.changes.pop(key, None)
        self.retries.pop(key, None)
        if self.alarms.get(key, float("inf")) <= self.now:
            del self.alarms[key]

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.schedule.done(key)
        self.working.remove(key)

    @invariant()
    def the_next_time_is_exact(self) -> None:
        expected = min((self.due(key) for key in "abcd" if key not in self.working), default=float("inf"))
        assert self.schedule.next_due() == (None if expected == float("inf") else expected)
        assert self.schedule.working == len(self.working)

    @invariant()
    def no_other_keys_are_stored(self) -> None:
        assert len(self.schedule) <= 4

    def teardown(self) -> None:
        """Take all remaining keys, and compare them with the model."""
        for key_in_work in sorted(self.working):
            self.schedule.done(key_in_work)
        expected = {key for key in "abcd" if self.due(key) < float("inf")}
        taken = []
        while (key := self.schedule.take(self.now + 1000.0)) is not None:
            taken.append(key)
            self.schedule.forget(key)
            self.schedule.done(key)
        assert len(taken) == len(expected)
        assert set(taken) == expected


TestSchedule = ScheduleMachine.TestCase
