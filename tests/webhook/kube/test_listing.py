"""The size of pages, about the same number of bytes for objects of any size; and errors in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.kube.api import Reply
from webhook.kube.listing import (
    FIRST_PAGE_ITEMS,
    MAX_PAGE_ITEMS,
    PAGE_BYTES,
    Selection,
    error_of,
    next_page_items,
)


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


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/apis/orchestration.proompteng.ai/v1alpha1/orchestrationruns",
            "The CustomResourceDefinition orchestrationruns.orchestration.proompteng.ai is not installed",
        ),
        ("/apis/apps/v1/namespaces/a/deployments", "The API server does not serve /apis/apps/v1/namespaces/a/deploy"),
        ("/apis/batch.k8s.io/v9/jobs", "The API server does not serve /apis/batch.k8s.io/v9/jobs."),
        ("/api/v1/secrets", "The API server does not serve /api/v1/secrets."),
    ],
)
def test_a_collection_that_is_not_served_is_said_in_words(path: str, message: str) -> None:
    """A definition that is not installed is the usual reason; groups of Kubernetes itself have none."""
    for verb in ("list", "watch"):
        assert str(error_of(Reply(404, b"404 page not found"), verb, Selection(path))).startswith(message)
