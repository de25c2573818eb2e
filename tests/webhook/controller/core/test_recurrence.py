"""How many Events an object may cause, and which were written before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webhook.controller.core.recurrence import Allowance, Recurrences, Written


def test_a_burst_is_allowed_and_then_one_in_a_while() -> None:
    """Each object has its own allowance, and it does not grow beyond a burst."""
    allowance: Allowance[str] = Allowance(burst=3, seconds=10.0)
    assert [allowance.take("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take("b", 0.0)
    assert [allowance.take("a", 10.0) for _ in range(2)] == [True, False]
    assert [allowance.take("a", 1000.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 100), max_size=50))
def test_the_allowance_holds_for_every_rhythm(pauses: list[float]) -> None:
    """In any time, there are no more than a burst and one for each while."""
    allowance: Allowance[str] = Allowance(burst=3, seconds=10.0)
    now, taken = 0.0, 0
    for pause in pauses:
        now += pause
        taken += allowance.take("a", now)
        assert taken <= 3 + now / 10.0 + 1e-6


def test_the_memory_is_bounded() -> None:
    """Of many objects, those heard of last are remembered."""
    allowance: Allowance[int] = Allowance(burst=1, seconds=1e9)
    recurrences: Recurrences[int] = Recurrences()
    for number in range(5000):
        assert allowance.take(number, 0.0)
        recurrences.remember(number, Written(str(number), 1))
    assert recurrences.find(0) is None
    assert recurrences.find(4999) == Written("4999", 1)
    recurrences.remember(4999, None)
    assert recurrences.find(4999) is None
    assert not allowance.take(4999, 0.0)
    assert allowance.take(0, 0.0)
