"""Waits grow to a limit; pages stay small in bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.controller.core.pacing import FIRST_PAGE_ITEMS, MOST_PAGE_ITEMS, PAGE_BYTES, Backoff, next_page_items


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_wait_is_between_half_and_all_of_a_doubled_one(failures: int, chance: float) -> None:
    """It never passes the limit, however long failures go on."""
    backoff = Backoff(first=0.2, limit=30.0)
    longest = min(30.0, 0.2 * 2 ** min(failures, 64))
    assert longest / 2 <= backoff.delay(failures, chance) <= longest


@pytest.mark.parametrize(("first", "limit"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_waits_that_make_no_sense_are_refused(first: float, limit: float) -> None:
    """A wait of nothing would be a storm."""
    with pytest.raises(ValueError, match="first wait"):
        Backoff(first, limit)


@pytest.mark.parametrize("weight", [300, 4_000, 60_000, 256 * 1024, 3 * 2**20])
def test_pages_become_about_a_mebibyte(weight: int) -> None:
    """Light objects come by the hundred, heavy ones a few at a time, and none at all is never asked for."""
    limit = FIRST_PAGE_ITEMS
    for _ in range(10):
        limit = next_page_items(limit, items=limit, size=limit * weight)
        assert 1 <= limit <= MOST_PAGE_ITEMS
    assert limit == min(MOST_PAGE_ITEMS, max(1, PAGE_BYTES // weight))


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 10**9))
def test_a_page_is_at_most_doubled(limit: int, items: int, size: int) -> None:
    """Light objects may be followed by heavy ones."""
    assert 1 <= next_page_items(limit, items=items, size=size) <= 2 * limit
