"""The limit of Events per object, and the cache of written Events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webhook.kube.core.event_cache import EventCache, TokenBucket, WrittenEvent


def test_a_token_bucket_allows_a_burst_and_then_one_per_interval() -> None:
    """Each key has its own tokens, and unused time gives no more tokens than one burst."""
    token_bucket: TokenBucket[str] = TokenBucket(burst=3, seconds=10.0)
    assert [token_bucket.take("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert token_bucket.take("b", 0.0)
    assert [token_bucket.take("a", 10.0) for _ in range(2)] == [True, False]
    assert [token_bucket.take("a", 1000.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_token_bucket_limits_any_sequence(pauses: list[float]) -> None:
    """In any time, the number of allowed calls is at most one burst plus one per interval."""
    token_bucket: TokenBucket[str] = TokenBucket(burst=3, seconds=10.0)
    now, taken = 0.0, 0
    for pause in pauses:
        now += pause
        taken += token_bucket.take("a", now)
        assert taken <= 3 + now / 10.0 + 1e-6


def test_the_number_of_remembered_keys_is_limited() -> None:
    """If there are too many keys, the least recently used ones are forgotten."""
    token_bucket: TokenBucket[int] = TokenBucket(burst=1, seconds=1e9)
    event_cache: EventCache[int] = EventCache()
    for number in range(5000):
        assert token_bucket.take(number, 0.0)
        event_cache.remember(number, WrittenEvent(str(number), 1))
    assert event_cache.find(0) is None
    assert event_cache.find(4999) == WrittenEvent("4999", 1)
    event_cache.remember(4999, None)
    assert event_cache.find(4999) is None
    assert not token_bucket.take(4999, 0.0)
    assert token_bucket.take(0, 0.0)
