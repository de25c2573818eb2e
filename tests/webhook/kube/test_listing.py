"""The size of pages: about the same number of bytes for objects of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.kube.listing import FIRST_PAGE_ITEMS, MAX_PAGE_ITEMS, PAGE_BYTES, next_page_items


@pytest.mark.parametrize("weight", [300, 4_000, 60_000, 256 * 1024, 3 * 2**20])
def test_pages_become_about_a_mebibyte(weight: int) -> None:
    """The limit converges to the number of objects in PAGE_BYTES, within 1 and MAX_PAGE_ITEMS."""
    limit = FIRST_PAGE_ITEMS
    for _ in range(10):
        limit = next_page_items(limit, items=limit, size=limit * weight)
        assert 1 <= limit <= MAX_PAGE_ITEMS
    assert limit == min(MAX_PAGE_ITEMS, max(1, PAGE_BYTES // weight))


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 10**9))
def test_a_page_is_at_most_doubled(limit: int, items: int, size: int) -> None:
    """The limit of the next page is at least 1 and at most twice the last limit, because large objects may follow."""
    assert 1 <= next_page_items(limit, items=items, size=size) <= 2 * limit
