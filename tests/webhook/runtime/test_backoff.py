"""Delays that grow up to a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_delay_is_between_half_and_all_of_the_doubled_delay(failures: int, jitter: float) -> None:
    """Each failure doubles the delay, and no delay exceeds the limit after any number of failures."""
    backoff = Backoff(first=0.2, limit=30.0)
    longest = min(30.0, 0.2 * 2 ** min(failures, 64))
    assert longest / 2 <= backoff.delay(failures, jitter) <= longest


@pytest.mark.parametrize(("first", "limit"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_impossible_delays_are_rejected(first: float, limit: float) -> None:
    """A first delay of zero, a negative one, and one above the limit are rejected."""
    with pytest.raises(ValueError, match="first delay"):
        Backoff(first, limit)


async def test_a_retry_waits_longer_each_time_and_starts_again_after_a_success() -> None:
    """`Retry` doubles its delay up to the limit, starts again after a success, and waits at least `at_least`."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    retry = Retry(Clock(sleep=sleep, jitter=lambda: 1.0), Backoff(first=1.0, limit=3.0))
    for at_least in (0.0, 0.0, 0.0, 10.0):
        await retry.wait(at_least=at_least)
    retry.succeeded()
    await retry.wait()
    assert waited == [1.0, 2.0, 3.0, 10.0, 1.0]
