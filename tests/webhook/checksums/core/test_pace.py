"""When to write."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.checksums.core.pace import REVERTED_LIMIT, Pace, Timing

PACE = Pace(settle=1, ceiling=5, backoff=10, backoff_limit=100)
GAPS = st.lists(st.floats(0.001, 30), min_size=1, max_size=200)


def test_a_change_is_written_when_it_has_settled() -> None:
    """Without a change nothing is due."""
    assert Timing().due(PACE) is None
    assert Timing().changed(100).due(PACE) == 101


def test_changes_close_together_are_one() -> None:
    """Each one restarts the settle time."""
    assert Timing().changed(100).changed(100.9).due(PACE) == 101.9


def test_waiting_has_a_ceiling() -> None:
    """Continuous changes of an object cannot postpone a rollout for ever."""
    timing = Timing()
    for tenth in range(1000, 1060):
        timing = timing.changed(tenth / 10)
    assert timing.due(PACE) == 105


def test_a_write_that_others_undo_is_tried_again_with_growing_delays() -> None:
    """Also if further changes come, and if there is no change of contents to be written at all."""
    timing = Timing().changed(100)
    for seconds in (2, 4, 8):
        timing = timing.reverted(1000)
        assert timing.due(PACE) == 1000 + seconds
        assert timing.changed(1000).due(PACE) == 1000 + seconds
        assert timing.settled().due(PACE) == 1000 + seconds
        assert not timing.settled().is_forgettable(10_000, PACE)
    for _ in range(100):
        timing = timing.reverted(1000)
    assert timing.due(PACE) == 1000 + REVERTED_LIMIT
    assert timing.rolled(1000, PACE).due(PACE) is None
    assert timing.settled().accepted() == Timing(last_change=100)


def test_a_change_that_was_undone_is_not_due() -> None:
    """An object that has its old contents again rolls nothing."""
    assert Timing().changed(100).settled().due(PACE) is None


def test_rollouts_in_a_row_back_off() -> None:
    """10, 20, 40, 80 and then 100 seconds apart."""
    timing = Timing()
    now = 0.0
    waits = []
    for _ in range(7):
        timing = timing.changed(now)
        due = timing.due(PACE)
        assert due is not None
        waits.append(due - now)
        now = due
        timing = timing.rolled(now, PACE)
    assert waits == [1, 10, 20, 40, 80, 100, 100]


def test_after_a_quiet_time_the_backoff_ends() -> None:
    """Twice the backoff without a rollout, and the next one is not delayed."""
    timing = Timing().changed(0).rolled(1, PACE)
    assert not timing.is_forgettable(20, PACE)
    assert timing.is_forgettable(21, PACE)
    assert timing.changed(21).due(PACE) == 22
    assert timing.changed(21).rolled(22, PACE).streak == 0
    assert not timing.changed(21).is_forgettable(21, PACE)


@given(gaps=GAPS)
def test_continuous_changes_are_slowed_down_and_none_is_lost(gaps: list[float]) -> None:
    """For any changes: rollouts keep their distance, and no change waits longer than ceiling and backoff together."""
    timing, now, rolls = Timing(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        while (due := timing.due(PACE)) is not None and due <= now:
            assert timing.first_change is not None
            assert due - timing.first_change <= PACE.ceiling + PACE.backoff_limit
            timing = timing.rolled(due, PACE)
            rolls.append(due)
        timing = timing.changed(now)
    assert all(later - earlier > PACE.backoff - 1e-6 for earlier, later in pairwise(rolls))
    assert timing.due(PACE) is not None


def test_a_streak_of_any_length() -> None:
    """The delay is bounded."""
    assert Timing(first_change=0, last_roll=0, streak=10**9).due(PACE) == 100


@pytest.mark.parametrize("wrong", [{"settle": 2, "ceiling": 1}, {"settle": -1}, {"backoff": 2, "backoff_limit": 1}])
def test_times_that_contradict_each_other_are_rejected(wrong: dict[str, float]) -> None:
    """They would have no clear meaning."""
    with pytest.raises(ValueError, match="must not be above"):
        Pace(**wrong)
