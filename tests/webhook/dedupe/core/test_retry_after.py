"""When a client that was refused for now should try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core import retry_after

ATTEMPTS = 10


@pytest.mark.parametrize(("left", "pause"), [(-1, 5), (0, 5), (4, 5), (4.1, 6), (10, 11), (44, 45), (90, 45)])
def test_after_a_loss_twice_in_a_lease(left: float, pause: int) -> None:
    """The pause ends a second after the lease, and is half of it at most."""
    assert retry_after.for_lease(left, 90) == pause


@pytest.mark.parametrize(("left", "pause"), [(0, 5), (4.1, 6), (10, 11), (11, 12), (11.1, 12), (90, 12)])
def test_while_another_create_is_under_way_eight_times_in_a_lease(left: float, pause: int) -> None:
    """The pause ends a second after the lease, and is an eighth of it at most."""
    assert retry_after.for_reservation(left, 90) == pause


@pytest.mark.parametrize(("age", "pause"), [(0, 5), (5, 5), (5.1, 6), (299.5, 300), (300, 300), (4000, 300)])
def test_in_an_outage_as_long_again(age: float, pause: int) -> None:
    """At least five seconds, and at most five minutes."""
    assert retry_after.for_outage(age) == pause


@pytest.mark.parametrize(("seconds", "pause"), [(0.1, 2), (6.0, 7), (7.0, 8)])
def test_until_all_know_it(seconds: float, pause: int) -> None:
    """A second longer, because the notice is dated by another clock."""
    assert retry_after.for_notice(seconds) == pause


@given(st.floats(1, 3600))
def test_ten_attempts_cover_a_lease(lease: float) -> None:
    """Whoever comes right after a loss, or after another create, gets an answer at the tenth attempt at the latest."""
    for pause in (retry_after.for_lease, retry_after.for_reservation):
        at = 0.0
        for _ in range(ATTEMPTS):
            at += pause(lease - at, lease)
        assert at >= lease


@given(st.floats(0, 300))
def test_seven_attempts_cover_an_outage_of_five_minutes(outage: float) -> None:
    """Three are left for the lease that can follow."""
    at = 0.0
    for _ in range(7):
        at += retry_after.for_outage(at)
    assert at >= outage
